"""Commands of a plan as what array and vector unit of an accelerator take."""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.lib import data

from hwq.compiler.program import Layer, MatmulLayer, VectorLayer
from hwq.errors import require
from hwq.numerics.activation import ActivationSpec
from hwq.numerics.epilogue import ADDEND_BITS
from hwq.plan.commands import Apply, Multiply
from hwq.plan.layout import Grid
from hwq.plan.window import Window
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.addresses import Axes, walk
from hwq.rtl.code_decoder import decoder_settings, is_signed
from hwq.rtl.encoder import encoder_settings
from hwq.rtl.vector_engine import Route

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

    def _axes(self, window: Window | None, *memories: str) -> Axes:
        """Return the axes of a window in one of these memories."""
        require(window is not None, "an operand must be stored")
        assert window is not None
        require(
            window.memory in memories,
            f"an operand must be in {' or '.join(memories)}, not {window.memory}",
        )
        return Axes(window, self._lanes)

    def product(self, command: Multiply, layer: MatmulLayer) -> Fields:
        """Return a tile of a product."""
        engine, lanes = self._gateware.product, self._lanes
        a, b = self._axes(command.a, "activation"), self._axes(command.b, "activation", "weight")
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
        single = layer.pe.planes == 1
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
            "a": _operand(shapes["a"].shape, a.base, a_loops, a.bits, is_signed(layer.pe)),
            "b": _operand(shapes["b"].shape, b.base + first, b_loops, b.bits, True),
            "computed": command.b.memory == "activation",
            "transposed": transposed,
            "single": single,
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
            fields |= {"encodes": 1, "encoder": encoder_settings(encoded[1].spec)}
        require("activates" not in fields or "encodes" in fields, "what is activated is encoded")
        if (added := takes("add")) is not None:
            computed = product.b.memory == "activation"
            require(not computed, "one port reads either a computed operand b or a residual")
            fields |= self._residual(*added)
        takes("concat")
        names = [self._layers[command.layer].name for command in left]
        require(not left, f"nothing streams {', '.join(names)}")
        *inner, last = passes
        stored = [self._layers[command.layer].name for command in inner if command.writes]
        require(not stored, f"{', '.join(stored)} must not be stored on the way")
        out = self._axes(last.writes, "activation")
        columns = out.words(2)
        rows, _ = last.size
        layout = pipe.command_shape["out"].shape
        return fields | {
            "rows": rows,
            "tiles": columns.words,
            "keep": columns.keep,
            "out": _operand(layout, out.base, [*out.loops(1), *columns.loops], out.bits),
        }

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
        return fields | {"first_parameter": self._parameter(tables[0]), "spread": spread}

    def _parameter(self, window: Window) -> int:
        """Return the word of the parameter memory in which a table begins."""
        require(window.memory == "parameter", f"a table must not be in {window.memory}")
        word, moving = self._lanes * self._grid.parameter_bits, window.spans[-1]
        require(window.bits == self._grid.parameter_bits, "a table of another width")
        require(
            window.base % word == 0 and moving.start % self._lanes == 0, "a table begins at a word"
        )
        return window.base // word + moving.start // self._lanes

    def _residual(self, command: Apply, layer: VectorLayer) -> Fields:
        stored = [(w, o) for w, o in zip(command.reads, layer.inputs, strict=True) if w]
        require(len(stored) == 1, "one term of a sum is stored")
        (window, operand), out = stored[0], layer.spec.out
        y = self._axes(window, "activation")
        layout = self._gateware.results.command_shape["y"].shape
        loops = [*y.loops(1), *y.words(2).loops]
        return {
            "adds": 1,
            "limits": {"lo": out.min, "hi": out.max},
            "y": _operand(layout, y.base, loops, y.bits, operand.signed),
        }

    def vector(self, command: Apply, layer: VectorLayer) -> Fields:
        """Return a pass by itself."""
        engine, spec = self._gateware.vector, layer.spec
        routes: Mapping[str, Route] = {
            "concat": Route.MOVE,
            "add": Route.ADD,
            "encode": Route.ENCODE,
            "softmax": Route.SOFTMAX,
            "layer_norm": Route.LAYER_NORM,
        }
        require(layer.op in routes, f"gateware has no {layer.op} of its own")
        route = routes[layer.op]
        _, length = command.size
        most = self._gateware.max_length
        require(
            length <= most or route not in (Route.SOFTMAX, Route.LAYER_NORM),
            f"rows must have at most {most} elements, not {length}",
        )
        out = self._axes(command.writes, "activation")
        columns = out.words(2)
        shapes = engine.command_shape
        fields: Fields = {
            "route": route,
            "words": columns.words,
            "keep": columns.keep,
            "out": _operand(
                shapes["out"].shape, out.base, [*columns.loops, *out.loops(1)], out.bits
            ),
        }
        tables = [w for w, o in zip(command.reads, layer.inputs, strict=True) if o.fields]
        plain = [(w, o) for w, o in zip(command.reads, layer.inputs, strict=True) if not o.fields]
        for name, (window, operand) in zip(("x", "y"), plain, strict=False):
            axes = self._axes(window, "activation")
            loops = [*axes.words(2).loops, *axes.loops(1)]
            fields[name] = _operand(shapes[name].shape, axes.base, loops, axes.bits, operand.signed)
        require(len(plain) == 1 + (route == Route.ADD), f"{len(plain)} operands are too many")
        if route == Route.ADD:
            fields["limits"] = {"lo": spec.out.min, "hi": spec.out.max}
        elif route == Route.ENCODE:
            fields["encoder"] = encoder_settings(spec)
        elif route == Route.SOFTMAX:
            fields["softmax"] = engine.softmax.settings_of(spec)
        elif route == Route.LAYER_NORM:
            fields["layer_norm"] = engine.norm.settings_of(spec.spec)
            require(len(tables) == 1 and tables[0] is not None, "a LayerNorm has gamma and beta")
            assert tables[0] is not None
            fields["first_parameter"] = self._parameter(tables[0])
        return fields


def _operand(
    layout: data.StructLayout,
    base: int,
    loops: Sequence[tuple[int, int]],
    bits: int,
    is_signed: bool = False,
) -> Fields:
    """Return the fields of `Buffer.operand_layout`."""
    return {"walk": walk(layout["walk"].shape, base, loops), "bits": bits, "signed": is_signed}
