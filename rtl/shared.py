"""Verilog of a component that holds many equal ones: each kind becomes one module of its own.

Amaranth writes a module for every instance. For an array of a thousand elements that is a thousand
equal modules, which every later tool has to read.
"""

import os

from amaranth.back import verilog
from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring


class SharedModules:
    """What `elaborate` gets for its platform when Verilog is written with shared modules.

    Parameters
    ----------
    prefix : str
        Of every module's name.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.texts: dict[str, str] = {}

    def instance(self, component: wiring.Component, name: str) -> Instance:
        """Return an instance of the module `name`; the first component of a name defines it."""
        module = f"{self._prefix}_{name}"
        if module not in self.texts:
            self.texts[module] = _convert(component, module, None)
        connections: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, port in component.signature.flatten(component):
            side = "i" if member.flow == wiring.In else "o"
            connections[f"{side}_{'__'.join(map(str, path))}"] = Value.cast(port)
        return Instance(module, **connections)


def share(platform: object, component: wiring.Component, name: str) -> Elaboratable:
    """Return `component`, or where Verilog is written an instance of the module all share."""
    if isinstance(platform, SharedModules):
        return platform.instance(component, name)
    return component


def emit_shared(component: wiring.Component, name: str) -> str:
    """Return the Verilog of `component` as module `name`, and of the modules that it shares.

    The ports are `clk`, `rst` (synchronous) and those of the component, nested names joined by two
    underscores.
    """
    platform = SharedModules(name)
    text = _convert(component, name, platform)
    header = f"// {type(component).__module__}.{type(component).__name__}\n"
    header += f"// {getattr(component, 'spec', '')!r}\n"
    return header + "\n".join([*platform.texts.values(), text])


def _convert(component: wiring.Component, name: str, platform: object) -> str:
    # Amaranth takes a `yosys` on the path first, whose version may be too old
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    text: str = verilog.convert(
        component, name=name, platform=platform, emit_src=False, strip_internal_attrs=True
    )
    return text
