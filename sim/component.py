"""Any components as one simulator program."""

from collections.abc import Mapping

from amaranth.hdl import Value
from amaranth.lib import wiring

from hwq.rtl.shared import emit_shared
from hwq.sim.bank import PUBLIC, TOP, Bank, build_text


def build_components(simulator: str, components: Mapping[str, wiring.Component]) -> Bank:
    """Compile components into one simulator program, each with its own clock.

    A bench finds port `x.y` of component `name` as `name__x__y`, its clock as `name_clk`.

    Parameters
    ----------
    simulator : str
        From `hwq.sim.tools.find_simulator`.
    components : mapping of str to Component
        Name in the program -> component.
    """
    ports: list[str] = []
    names: list[str] = []
    for name, component in components.items():
        found = {f"{name}_clk": ("input", 1), f"{name}_rst": ("input", 1)}
        for path, member, port in component.signature.flatten(component):
            direction = "input" if member.flow == wiring.In else "output"
            found[f"{name}__{'__'.join(map(str, path))}"] = direction, len(Value.cast(port))
        ports += [f"{way} [{bits - 1}:0] {port} {PUBLIC}" for port, (way, bits) in found.items()]
        names += found
    connections = ", ".join(f".{name}({name})" for name in names)
    top = [f"module {TOP} (", ",\n".join(ports), ");", f"  components all ({connections});"]
    text = [emit_shared(components, "components"), *top, "endmodule", ""]
    return build_text(simulator, "\n".join(text))
