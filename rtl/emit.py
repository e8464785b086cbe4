"""A unit as Verilog text: the same bytes for the same parameters and Amaranth."""

import os
from collections.abc import Mapping

from amaranth.back import rtlil as _rtlil
from amaranth.back import verilog as _verilog
from amaranth.hdl import Elaboratable, Value

from hwq.rtl.parameters import parameters
from hwq.rtl.pipeline import StreamUnit


def emit(unit: StreamUnit, name: str) -> str:
    """Return the Verilog of `unit` as module `name`, with its parameters in the header.

    Ports: `clk`, `rst` (synchronous), `i__payload`, `i__valid`, `i__ready`, `o__payload`,
    `o__valid`, `o__ready`.
    """
    header = [
        f"{type(unit).__module__}.{type(unit).__name__}",
        parameters(unit, digests=True),
        f"latency {unit.latency_cycles} cycles, a result every {unit.interval_cycles} cycles",
    ]
    return "".join(f"// {line}\n" for line in header) + verilog(unit, name)


def verilog(
    design: Elaboratable,
    name: str,
    platform: object = None,
    ports: Mapping[str, tuple[Value, None]] | None = None,
) -> str:
    """Return the Verilog of a design as module `name`.

    Parameters
    ----------
    design : Elaboratable
    name : str
    platform : object, optional
        What `elaborate` gets.
    ports : mapping, optional
        Name -> value and no direction; by default those of the component.
    """
    # Amaranth takes a `yosys` on the path first, whose version may be too old
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    text: str = _verilog.convert(
        design,
        name=name,
        platform=platform,
        ports=ports,
        emit_src=False,
        strip_internal_attrs=True,
    )
    return text


def rtlil(
    design: Elaboratable,
    name: str,
    platform: object = None,
    ports: Mapping[str, tuple[Value, None]] | None = None,
) -> str:
    """Return a design as yosys has it within, with the parameters of `verilog`.

    In Verilog a memory that is written bit by bit becomes a port for every bit, and its words are
    set one by one. Yosys reads for minutes what it reads here at once.
    """
    text: str = _rtlil.convert(design, name=name, platform=platform, ports=ports, emit_src=False)
    return text
