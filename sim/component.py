"""Any Amaranth component as the top module of a simulator program."""

import os

from amaranth.back import verilog
from amaranth.hdl import Value
from amaranth.lib import wiring

from hwq.sim.bank import PUBLIC, TOP, Bank, build_text


def build_component(simulator: str, component: wiring.Component) -> Bank:
    """Compile a component whose ports the bench drives and reads by name: `a_write__enable`."""
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    inner = f"{TOP}_inner"
    text = verilog.convert(component, name=inner, emit_src=False, strip_internal_attrs=True)
    ports = [f"input clk {PUBLIC}", f"input rst {PUBLIC}"]
    names = ["clk", "rst"]
    for path, member, value in component.signature.flatten(component):
        name = "__".join(str(part) for part in path)
        direction = "input" if member.flow == wiring.In else "output"
        ports.append(f"{direction} [{len(Value.cast(value)) - 1}:0] {name} {PUBLIC}")
        names.append(name)
    connections = ", ".join(f".{name}({name})" for name in names)
    wrapper = [f"module {TOP} (", ",\n".join(ports), ");", f"  {inner} inner ({connections});"]
    return build_text(simulator, "\n".join([text, *wrapper, "endmodule", ""]))
