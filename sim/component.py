"""Any components as one simulator program."""

from collections.abc import Mapping

from amaranth.hdl import Value
from amaranth.lib import wiring

from hwq.rtl.shared import emit_shared
from hwq.sim.bank import PUBLIC, TOP, Bank, build_text

ALONE = "one"
"""Label of a component that is emitted by itself."""


def build_components(
    simulator: str,
    components: Mapping[str, wiring.Component],
    texts: Mapping[str, str] | None = None,
) -> Bank:
    """Compile components into one simulator program, each with its own clock.

    A bench finds port `x.y` of component `name` as `name__x__y`, its clock as `name_clk`.

    Parameters
    ----------
    simulator : str
        From `hwq.sim.tools.find_simulator`.
    components : mapping of str to Component
        Name in the program -> component.
    texts : mapping of str to str, optional
        Name -> Verilog to use instead of what the component emits: a module of this name, as
        `emit_shared` writes it of this component only, labelled ALONE.
    """
    ports: list[str] = []
    parts: list[str] = []
    pins: list[str] = []
    for name, component in components.items():
        of_component = {f"{name}_clk": ("input", 1), f"{name}_rst": ("input", 1)}
        for path, member, port in component.signature.flatten(component):
            direction = "input" if member.flow == wiring.In else "output"
            of_component[f"{name}__{'__'.join(map(str, path))}"] = direction, len(Value.cast(port))
        ports += [
            f"{way} [{bits - 1}:0] {port} {PUBLIC}" for port, (way, bits) in of_component.items()
        ]
        pins += [f".{port}({port})" for port in of_component]
        connections = ", ".join(
            f".{ALONE}{port.removeprefix(name)}({port})" for port in of_component
        )
        parts.append(f"  {name} u_{name} ({connections});")
    top = [f"module {TOP} (", ",\n".join(ports), ");"]
    if texts is None:
        texts = {"components": emit_shared(components, "components")}
        parts = [f"  components all ({', '.join(pins)});"]
    return build_text(simulator, "\n".join([*texts.values(), *top, *parts, "endmodule", ""]))
