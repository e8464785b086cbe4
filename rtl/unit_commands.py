"""Commands of a plan as what an array, and what streams behind it, take."""

from collections.abc import Sequence
from typing import Any

from hwq.compiler.program import Layer, MatmulLayer, VectorLayer
from hwq.errors import require
from hwq.numerics.activation import ActivationSpec
from hwq.numerics.epilogue import ADDEND_BITS
from hwq.plan.commands import Apply, Multiply
from hwq.plan.layout import Grid
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.addresses import operand_axes, operand_fields, table_word
from hwq.rtl.code_decoder import decoder_settings, is_signed
from hwq.rtl.encoder import encoder_settings
from hwq.rtl.outlier_commands import joiner_fields
from hwq.rtl.vector_passes import encoder_word

Fields = dict[str, Any]


class UnitCommands:
    """Fields of the commands of one accelerator.

    Every method raises `SpecError` for what its units cannot do.

    Parameters
    ----------
    gateware : AcceleratorGateware
    layers : sequence of Layer
        In the order in which commands number them.
    """

    def __init__(self, gateware: AcceleratorGateware, layers: Sequence[Layer]) -> None:
        self._gateware, self._layers = gateware, layers
        self._lanes = gateware.machine.vector_unit.lanes
        self._grid = Grid.of(gateware.machine)

    def product(self, command: Multiply, layer: MatmulLayer, joined: bool) -> Fields:
        """Return a tile of a product; what is `joined` has the room of a second plane."""
        engine, lanes = self._gateware.product, self._lanes
        a, b = (
            operand_axes(command.a, lanes, "activation"),
            operand_axes(command.b, lanes, "activation", "weight"),
        )
        _, m, k = (span.count for span in command.a.spans)
        n = command.b.spans[2].count
        transposed = b.is_row(1) and not b.is_row(2)
        tiles_n = -(-n // lanes)
        a_loops = [*a.loops(1), *a.words(2).loops, (tiles_n, 0)]
        if transposed:
            inner, outer, first = b.tiles(2, down=False)
            b_loops = [*inner, *b.words(1).loops, *outer]
        else:
            inner, outer, first = b.tiles(1, down=True)
            b_loops = [*inner, *outer, *b.words(2).loops]
        single = layer.pe.planes == 1 and not joined
        room = engine.core.spec.result_depth // (1 if single else 2)
        stream = m + layer.column_sums
        require(stream * tiles_n <= room, f"sums must have {room} words, not {stream * tiles_n}")
        shapes = engine.command_shape
        return {
            "program": {
                **dict(zip(("rows", "columns", "stream"), (k, n, stream), strict=True)),
                "result_stride": stream,
                "accumulate": not command.first,
                "complete": command.complete,
            },
            "a": operand_fields(shapes["a"].shape, a.base, a_loops, a.bits, is_signed(layer.pe)),
            "b": operand_fields(shapes["b"].shape, b.base + first, b_loops, b.bits, True),
            "computed": command.b.memory == "activation",
            "transposed": transposed,
            "single": single,
            "joined": joined,
            "ones": layer.column_sums,
            "decoder": decoder_settings(layer.pe),
        }

    def results(self, product: Multiply, matmul: MatmulLayer, passes: Sequence[Apply]) -> Fields:
        """Return what streams behind a product, in the order of the pipe, the last stored."""
        pipe, left = self._gateware.results, list(passes)
        fields: Fields = {}
        require(product.writes is None, "sums must not be stored")

        def takes(*ops: str) -> tuple[Apply, VectorLayer] | None:
            if not left:
                return None
            layer = self._layers[left[0].layer]
            assert isinstance(layer, VectorLayer)
            return (left.pop(0), layer) if layer.op in ops else None

        if (joined := takes("outlier_join")) is not None:
            factors = table_word(joined[0].reads[-1], self._grid)
            fields |= {"joins": 1, "first_factor": factors}
        scaled = takes("requantize")
        require(scaled is not None, "sums must be rescaled")
        assert scaled is not None
        fields |= self._epilogue(*scaled, matmul)
        if matmul.column_sums:
            most = abs(matmul.offset) * matmul.k << (matmul.pe.b_bits - 1 + scaled[1].spec.guard)
            require(most < 1 << (ADDEND_BITS - 2), f"offset x sums must not reach {most}")
            fields |= {"ones": 1, "offset": matmul.offset}
        if (activated := takes("activation")) is not None:
            spec = activated[1].spec
            require(
                isinstance(spec, ActivationSpec) and spec.function == self._gateware.function,
                f"the activation must be {self._gateware.function}, not {spec.function}",
            )
            fields |= {"activates": 1, "activation": pipe.activations[0].settings_of(spec)}
        if (encoded := takes("encode")) is not None:
            require(encoded[1].unit != "outlier_split", "only a pass by itself leaves outliers out")
            fields |= {"encodes": 1, "encoder": encoder_settings(encoded[1].spec)}
            word = encoder_word(*encoded, self._grid)
            fields |= {} if word is None else {"is_tabled": 1, "encoder_parameter": word}
        require("activates" not in fields or "encodes" in fields, "what is activated is encoded")
        if (added := takes("add")) is not None:
            computed = product.b.memory == "activation"
            require(not computed, "one port reads either a computed operand b or a residual")
            require(joined is None, "one port reads either a list of outliers or a residual")
            fields |= self._residual(*added)
        takes("concat")
        names = [self._layers[command.layer].name for command in left]
        require(not left, f"nothing streams {', '.join(names)}")
        *inner, last = passes
        stored = [self._layers[command.layer].name for command in inner if command.writes]
        require(not stored, f"{', '.join(stored)} must not be stored on the way")
        out = operand_axes(last.writes, self._lanes, "activation")
        columns = out.words(2)
        rows, _ = last.size
        layout = pipe.command_shape["out"].shape
        return fields | {
            "rows": rows,
            "tiles": columns.words,
            "keep": columns.keep,
            "out": operand_fields(layout, out.base, [*out.loops(1), *columns.loops], out.bits),
        }

    def joiner(
        self, product: Multiply, matmul: MatmulLayer, passes: Sequence[Apply]
    ) -> Fields | None:
        """Return what adds up outliers beside a product, if they are joined to it."""
        if not passes or self._layers[passes[0].layer].op != "outlier_join":
            return None
        entries = operand_axes(passes[0].reads[1], self._lanes, "activation")
        require(product.first and product.b.memory == "weight", "outliers join a whole product")
        return joiner_fields(self._gateware.joiner, product, matmul, entries)

    def _epilogue(self, command: Apply, layer: VectorLayer, matmul: MatmulLayer) -> Fields:
        spec, pipe = layer.spec, self._gateware.results
        weights = tuple(weight << spec.guard for weight in matmul.plane_weights)
        fields: Fields = {"epilogue": pipe.epilogues[0].settings_of(weights, spec.lo, spec.hi)}
        tables = [window for window in command.reads if window is not None]
        if not tables:
            values = {name: int(v.ravel()[0]) for name, v in spec.parameters().items()}
            return fields | {"shared": 1, "scaling": values}
        require(len(tables) == 1, "an epilogue has one table of parameters")
        # one for all channels of a head
        spread = not any(stride for _, stride in tables[0].spans[-1].axis)
        return fields | {"first_parameter": table_word(tables[0], self._grid), "spread": spread}

    def _residual(self, command: Apply, layer: VectorLayer) -> Fields:
        stored = [(w, o) for w, o in zip(command.reads, layer.inputs, strict=True) if w]
        require(len(stored) == 1, "one term of a sum is stored")
        (window, operand), out = stored[0], layer.spec.out
        y = operand_axes(window, self._lanes, "activation")
        layout = self._gateware.results.command_shape["y"].shape
        loops = [*y.loops(1), *y.words(2).loops]
        return {
            "adds": 1,
            "limits": {"lo": out.min, "hi": out.max},
            "y": operand_fields(layout, y.base, loops, y.bits, operand.signed),
        }
