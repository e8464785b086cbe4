"""A unit as Verilog text: the same bytes for the same parameters and Amaranth."""

import os

from amaranth.back import verilog as _verilog
from amaranth.lib import wiring

from hwq.rtl.pipeline import StreamUnit


def emit(unit: StreamUnit, name: str) -> str:
    """Return the Verilog of `unit` as module `name`, with its parameters in the header.

    Ports: `clk`, `rst` (synchronous), `i__payload`, `i__valid`, `i__ready`, `o__payload`,
    `o__valid`, `o__ready`.
    """
    header = [
        f"{type(unit).__module__}.{type(unit).__name__}",
        repr(getattr(unit, "spec", "")),
        f"latency {unit.latency_cycles} cycles, a result every {unit.interval_cycles} cycles",
    ]
    return "".join(f"// {line}\n" for line in header) + verilog(unit, name)


def verilog(component: wiring.Component, name: str) -> str:
    """Return the Verilog of any component as module `name`."""
    # Amaranth takes a `yosys` on the path first, whose version may be too old
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    text: str = _verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return text
