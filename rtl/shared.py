"""Verilog of a component that holds many equal ones: each kind becomes one module of its own.

Amaranth writes a module for every instance. For an array of a thousand elements that is a thousand
equal modules, which every later tool has to read.
"""

from collections.abc import Callable, Mapping

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Value,
)
from amaranth.lib import wiring

from hwq.rtl.emit import verilog
from hwq.rtl.parameters import parameters


class SharedModules:
    """What `elaborate` gets for its platform when Verilog is written with shared modules.

    Parameters
    ----------
    prefix : str
        Beginning of every module's name.
    write : callable
        Returns the text of a module: `hwq.rtl.emit.verilog`, or `rtlil`.
    """

    def __init__(self, prefix: str, write: Callable[..., str] = verilog) -> None:
        self._prefix, self._write = prefix, write
        self._names: dict[tuple[type, str], str] = {}
        self.texts: list[str] = []

    def instance(self, component: wiring.Component) -> Instance:
        """Return an instance of the module of this class and its parameters."""
        key = type(component), parameters(component, digests=True)
        if key not in self._names:
            self._names[key] = f"{self._prefix}_{type(component).__name__}_{len(self._names)}"
            self.texts.append(self._write(component, self._names[key], ports=_ports(component)))
        connections: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, port in component.signature.flatten(component):
            side = "i" if member.flow == wiring.In else "o"
            connections[f"{side}_{'__'.join(map(str, path))}"] = Value.cast(port)
        return Instance(self._names[key], **connections)


def share(platform: object, component: wiring.Component) -> Elaboratable:
    """Return `component`, or where Verilog is written an instance of the module all share.

    All of one class and `parameters` do. They must have registers.
    """
    if isinstance(platform, SharedModules):
        return platform.instance(component)
    return component


def emit_shared(components: Mapping[str, wiring.Component], name: str) -> str:
    """Return the Verilog of a module `name` that holds the components side by side.

    Its ports are those of every component, `<component>__<port>`, nested names joined by two
    underscores, and `<component>_clk`, `<component>_rst` (synchronous): each has its own clock.
    """
    platform = SharedModules(name)
    m = Module()
    ports: dict[str, tuple[Value, None]] = {}
    for label, component in components.items():
        m.submodules[label] = DomainRenamer(label)(component)
        # domains that Amaranth adds by itself come in another order each time
        m.domains += (domain := ClockDomain(label))
        ports |= {f"{label}_clk": (domain.clk, None), f"{label}_rst": (domain.rst, None)}
        ports |= {f"{label}__{port}": value for port, value in _ports(component).items()}
    text = verilog(m, name, platform, ports)
    header = "".join(
        f"// {label}: {type(component).__module__}.{type(component).__name__} "
        f"{parameters(component, digests=True)}\n"
        for label, component in components.items()
    )
    return header + "\n".join([*platform.texts, text])


def _ports(component: wiring.Component) -> dict[str, tuple[Value, None]]:
    """Return every port's name and value; Amaranth finds the direction."""
    return {
        "__".join(map(str, path)): (Value.cast(port), None)
        for path, _, port in component.signature.flatten(component)
        if not isinstance(port, Const)  # of a stream that is always ready
    }


def emit_whole(component: wiring.Component, name: str, write: Callable[..., str] = verilog) -> str:
    """Return the text of a component as module `name`, with shared modules of its own.

    It is Verilog, or what else `write` makes (`hwq.rtl.emit.rtlil`).
    """
    platform = SharedModules(name, write)
    text = write(component, name, platform, _ports(component))
    return "\n".join([*platform.texts, text])
