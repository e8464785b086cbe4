"""A unit as a block diagram in text, drawn from the unit: ports, fields, widths, latency."""

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data

from hwq.rtl.pipeline import StreamUnit

_NONE = ""


def block_diagram(unit: StreamUnit, name: str) -> str:
    """Return the stream ports of `unit` on both sides of a block that tells its cycles.

    Examples
    --------
    >>> from hwq.numerics.log2 import Log2Spec
    >>> from hwq.rtl.log2 import Log2
    >>> print(block_diagram(Log2(Log2Spec()), "log2"))
                  ┌────────────────────────┐
    i payload u16 ►  log2                  ► payload u4 o
            valid ►  latency 3             ► valid
            ready ◄  a result each cycle   ◄ ready
                  └────────────────────────┘
    """
    left = [*_fields(unit.i.payload.shape()), "valid", "ready"]
    right = [*_fields(unit.o.payload.shape()), "valid", "ready"]
    inside = [name, f"latency {unit.latency_cycles}", _interval(unit)]
    inside += [] if unit.inputs_per_result == 1 else [f"{unit.inputs_per_result} words in"]
    inside += [] if unit.outputs_per_result == 1 else [f"{unit.outputs_per_result} words out"]
    height = max(len(left), len(right), len(inside))
    # the handshakes are the last lines of both sides
    left, right = _filled(left, height), _filled(right, height)
    inside += [_NONE] * (height - len(inside))
    pad = max(map(len, left)) + 2
    width = max(20, *map(len, inside)) + 4
    lines = [" " * (pad + 1) + "┌" + "─" * width + "┐"]
    for row, (i, text, o) in enumerate(zip(left, inside, right, strict=True)):
        port = "i " if row == 0 else "  "
        arrow_in, arrow_out = _arrow(i), _arrow(o)
        line = f"{(port + i).rjust(pad)} {arrow_in}  {text}".ljust(pad + width + 2)
        lines.append(f"{line}{arrow_out} {o}{' o' if row == 0 else ''}".rstrip())
    lines.append(" " * (pad + 1) + "└" + "─" * width + "┘")
    return "\n".join(lines)


def _interval(unit: StreamUnit) -> str:
    cycles = unit.interval_cycles
    return "a result each cycle" if cycles == 1 else f"a result in {cycles} cycles"


def _arrow(port: str) -> str:
    return "│" if port == _NONE else "◄" if port == "ready" else "►"


def _filled(ports: list[str], height: int) -> list[str]:
    return [*ports[:-2], *[_NONE] * (height - len(ports)), *ports[-2:]]


def _fields(payload: ShapeLike, name: str = "payload") -> list[str]:
    """Return "name s16" for each field, equal lanes in one line."""
    if isinstance(payload, data.ArrayLayout):
        return [f"{line} x {payload.length}" for line in _fields(payload.elem_shape, name)]
    if isinstance(payload, data.Layout):
        return [line for key, field in payload for line in _fields(field.shape, str(key))]
    shape = Shape.cast(payload)
    return [f"{name} {'s' if shape.signed else 'u'}{shape.width}"]
