"""Passes of a plan as what the vector unit of an accelerator takes."""

from collections.abc import Callable
from typing import Any

from hwq.compiler.program import VectorLayer
from hwq.errors import require
from hwq.numerics.outlier_split import OutlierSplitSpec
from hwq.plan.commands import Apply
from hwq.plan.layout import Grid
from hwq.plan.window import Window
from hwq.rtl.addresses import operand_axes, operand_fields, pieces, table_word
from hwq.rtl.encoder import encoder_settings
from hwq.rtl.outlier_commands import (
    entry_loops,
    inliers,
    list_settings,
    room_of,
    split_fields,
)
from hwq.rtl.predictor_core import predictor_settings
from hwq.rtl.range_core import range_settings
from hwq.rtl.vector_command import Route
from hwq.rtl.vector_engine import VectorEngine

Fields = dict[str, Any]
_PIECE_BITS = 16


class VectorPasses:
    """Fields of the passes of one accelerator, which follow no product.

    Parameters
    ----------
    engine : VectorEngine
    grid : Grid
    most : int
        Elements of the longest row.
    """

    def __init__(self, engine: VectorEngine, grid: Grid, most: int) -> None:
        self._engine, self._grid, self._most = engine, grid, most
        self._shapes = engine.command_shape

    def fields(self, command: Apply, layer: VectorLayer) -> Fields:
        """Return the fields of a pass.

        Raises
        ------
        SpecError
            For what the unit cannot do.
        """
        passes: dict[str, Callable[[Apply, VectorLayer], Fields]] = {
            "concat": self._rows,
            "add": self._add,
            "encode": self._encode,
            "softmax": self._softmax,
            "layer_norm": self._layer_norm,
            "range_extract": self._ranges,
            "scale_predictor": self._predict,
            "rescale": self._rescale,
            "outlier_split": self._list,
        }
        require(layer.op in passes, f"gateware has no {layer.op} of its own")
        return passes[layer.op](command, layer)

    def _rows(self, command: Apply, layer: VectorLayer, operands: int = 1) -> Fields:
        """Rows in, rows out."""
        out = operand_axes(command.writes, self._grid.lanes, "activation")
        columns = out.words(2)
        fields: Fields = {
            "route": Route.MOVE,
            "words": columns.words,
            "keep": columns.keep,
            "out": self._operand("out", out.base, [*columns.loops, *out.loops(1)], out.bits),
        }
        plain = [
            (window, operand)
            for window, operand in zip(command.reads, layer.inputs, strict=True)
            if not operand.fields
        ]
        require(len(plain) == operands, f"{len(plain)} operands are too many")
        for name, (window, operand) in zip(("x", "y"), plain, strict=False):
            axes = operand_axes(window, self._grid.lanes, "activation")
            loops = [*axes.words(2).loops, *axes.loops(1)]
            fields[name] = self._operand(name, axes.base, loops, axes.bits, operand.signed)
        return fields

    def _operand(
        self,
        name: str,
        base: int,
        loops: list[tuple[int, int]],
        bits: int = _PIECE_BITS,
        is_signed: bool = False,
    ) -> Fields:
        return operand_fields(self._shapes[name].shape, base, loops, bits, is_signed)

    def _add(self, command: Apply, layer: VectorLayer) -> Fields:
        out = layer.spec.out
        settings = {"limits": {"lo": out.min, "hi": out.max}}
        return self._rows(command, layer, 2) | {"route": Route.ADD, "settings": settings}

    def _encode(self, command: Apply, layer: VectorLayer) -> Fields:
        if isinstance(layer.spec, OutlierSplitSpec):
            settings = {"encoder": encoder_settings(inliers(layer.spec))}
            fields = self._rows(command, layer) | self._split(command, layer)
            return fields | {"route": Route.ENCODE, "settings": settings}
        settings = {"encoder": encoder_settings(layer.spec)}
        fields = self._rows(command, layer) | {"route": Route.ENCODE, "settings": settings}
        word = encoder_word(command, layer, self._grid)
        return fields if word is None else fields | {"is_tabled": 1, "first_parameter": word}

    def _split(self, command: Apply, layer: VectorLayer) -> Fields:
        """What is an outlier, and where the multipliers of rows are."""
        tables = tables_of(command, layer)
        require(layer.inputs[0].signed, "tokens of outliers have a sign")
        fields: Fields = {"split": split_fields(layer.spec, bool(tables))}
        if tables:
            fields["first_parameter"] = table_word(tables[0], self._grid)
        return fields

    def _list(self, command: Apply, layer: VectorLayer) -> Fields:
        """Rows in, a list out."""
        lanes, (rows, _) = self._grid.lanes, command.size
        x = operand_axes(command.reads[0], lanes, "activation")
        out = operand_axes(command.writes, lanes, "activation")
        columns, room = x.words(2), room_of(out)
        loops = [*columns.loops, *x.loops(1)]
        settings = {"list": list_settings(layer.spec, room, rows * columns.words)}
        return self._split(command, layer) | {
            "route": Route.LIST,
            "words": columns.words,
            "keep": columns.keep,
            "x": self._operand("x", x.base, loops, x.bits, True),
            "out": self._operand("out", out.base, entry_loops(room, lanes)),
            "settings": settings,
        }

    def _softmax(self, command: Apply, layer: VectorLayer) -> Fields:
        self._check_row(command)
        settings = {"softmax": self._engine.softmax.settings_of(layer.spec)}
        return self._rows(command, layer) | {"route": Route.SOFTMAX, "settings": settings}

    def _layer_norm(self, command: Apply, layer: VectorLayer) -> Fields:
        self._check_row(command)
        tables = tables_of(command, layer)
        require(len(tables) == 1, "a LayerNorm has gamma and beta")
        return self._rows(command, layer) | {
            "route": Route.LAYER_NORM,
            "settings": {"layer_norm": self._engine.norm.settings_of(layer.spec.spec)},
            "first_parameter": table_word(tables[0], self._grid),
        }

    def _check_row(self, command: Apply) -> None:
        length = command.size[1]
        require(length <= self._most, f"rows must have at most {self._most} elements, not {length}")

    def _ranges(self, command: Apply, layer: VectorLayer) -> Fields:
        """All tokens of a word of channels, then the next word."""
        lanes, (tokens, channels) = self._grid.lanes, command.size
        require(tokens == layer.spec.tokens, f"all {layer.spec.tokens} tokens must be there")
        require(channels % lanes == 0, f"{channels} channels are no whole words of {lanes}")
        x = operand_axes(command.reads[0], lanes, "activation")
        out = operand_axes(self._pieces(command.writes), lanes, "activation")
        words = out.words(0)
        return {
            "route": Route.RANGES,
            "words": words.words,
            "keep": words.keep,
            "x": self._operand("x", x.base, [*x.loops(1), *x.words(2).loops]),
            "out": self._operand("out", out.base, words.loops),
            "settings": {"ranges": range_settings(layer.spec)},
        }

    def _predict(self, command: Apply, layer: VectorLayer) -> Fields:
        lanes = self._grid.lanes
        ranges, parameters = command.reads
        x = operand_axes(self._pieces(ranges), lanes, "activation")
        y = operand_axes(parameters, lanes, "activation")
        out = operand_axes(self._pieces(command.writes), lanes, "activation")
        # four pieces a scale
        loops = [(lanes // 4, 0), *out.words(0).loops]
        return {
            "route": Route.PREDICT,
            "x": self._operand("x", x.base, x.words(0).loops),
            "y": self._operand("y", y.base, y.words(0).loops),
            "out": self._operand("out", out.base, loops),
            "settings": {"predictor": predictor_settings(layer.spec, lanes)},
        }

    def _rescale(self, command: Apply, layer: VectorLayer) -> Fields:
        """A scale, which is read beside every word of the table."""
        lanes, factor, out = self._grid.lanes, layer.spec.factor, command.writes
        require(factor is not None, "what is rescaled is a table")
        scale, table, *corrections = command.reads
        assert scale is not None and out is not None
        # scales lie in words of so many, from that of the first one on
        word, slot = divmod(factor.index, lanes // 4)
        first = scale.base - factor.index * scale.bits + word * lanes * _PIECE_BITS
        require(first % lanes == 0, "a scale must be in a word of lanes")
        elements = out.spans[-1].count
        words = -(-elements // lanes)
        settings = {
            "is_scale": factor.kind == "scale",
            "corrects": bool(corrections),
            "slot": slot,
        }
        fields: Fields = {
            "route": Route.RESCALE,
            "words": words,
            "keep": (1 << (elements - 1) % lanes + 1) - 1,
            "first_parameter": table_word(table, self._grid),
            "x": self._operand("x", first // lanes, [(words, 0)]),
            "out": self._operand("out", table_word(out, self._grid), [(words, 1)]),
            "settings": {"rescale": settings},
        }
        if corrections:
            fields["second_parameter"] = table_word(corrections[0], self._grid)
        return fields

    @staticmethod
    def _pieces(window: Window | None) -> Window:
        """Return a window of wide elements in pieces that the buffer takes."""
        require(window is not None, "an operand must be stored")
        assert window is not None
        return pieces(window, _PIECE_BITS)


def tables_of(command: Apply, layer: VectorLayer) -> list[Window | None]:
    """Return the windows of what a pass has in the parameter memory."""
    reads = zip(command.reads, layer.inputs, strict=True)
    return [window for window, operand in reads if operand.is_table]


def encoder_word(command: Apply, layer: VectorLayer, grid: Grid) -> int | None:
    """Return the word that has the multiplier of an encoder, if it is rescaled for an image."""
    tables = tables_of(command, layer)
    if not tables:
        return None
    (window,) = tables
    moves = window is not None and any(stride for span in window.spans for _, stride in span.axis)
    require(not moves, "an encoder has one multiplier for all")
    return table_word(window, grid)
