"""One module without those in it, and the clock that it reaches.

What the modules in it would drive becomes an input, what they read an output. So a path that
leaves a module ends at its edge, and a clock can be measured of any module.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hwq.rtl.synthesis.flows import Flow
from hwq.rtl.synthesis.place import placed_mhz
from hwq.rtl.synthesis.tools import YOSYS, run_wheel

_OPPOSITE: Final = {"input": "output", "output": "input"}
Module = Mapping[str, Any]
"""A module of yosys's JSON."""
_NAME: Final = "part"
_CLOCKED: Final = f"{_NAME}_clocked"
_CHAINS: Final = 64  # of registers; yosys cannot go down a chain of ten thousand
_MOST_BITS: Final = 15_000
"""Ports of a part whose clock is measured: each takes up to two registers, of 83,640."""


def part_mhz(
    flow: Flow, modules: Mapping[str, Module], name: str, seeds: tuple[int, ...]
) -> float | None:
    """Return the clock of a module without those in it, between registers at all its ports.

    Nothing, if those registers would be the larger part of a device.

    Parameters
    ----------
    flow : Flow
        Flow for ECP5.
    modules : mapping
        What `hwq.rtl.synthesis.whole.parts` left.
    name : str
        The module.
    seeds : tuple of int
        Seeds of the placer; the median counts.
    """
    part = cut(modules[name], modules)
    if sum(len(port["bits"]) for port in part["ports"].values()) > _MOST_BITS:
        return None
    with TemporaryDirectory(prefix="hwq_synth_") as place:
        folder = Path(place)
        (folder / f"{_NAME}.json").write_text(
            json.dumps({"modules": {_NAME: part}}), encoding="utf-8"
        )
        (folder / f"{_NAME}.v").write_text(between_chains(_NAME, part["ports"]), encoding="utf-8")
        commands = (
            f"read_json {_NAME}.json; read_verilog {_NAME}.v; hierarchy -top {_CLOCKED}; proc",
            flow.script.format(top=_CLOCKED),
        )
        run_wheel(YOSYS, ["-q", "-p", "; ".join(commands)], folder)
        return placed_mhz(_CLOCKED, folder, seeds)


def cut(module: Module, modules: Mapping[str, Module]) -> dict[str, Any]:
    """Return a module with ports for its memories and for those of `modules` that it holds.

    Ports get new names, p0, p1 and so on, except the clock, which has none beside it.
    """
    clock = module["ports"]["clk"]["bits"] if "clk" in module["ports"] else []
    ports = [(port["direction"], port["bits"]) for port in module["ports"].values()]
    kept = {}
    for name, cell in module["cells"].items():
        if cell["type"] not in modules and not cell["type"].startswith("$mem"):
            kept[name] = cell
            continue
        for pin, bits in cell["connections"].items():
            ports.append((_OPPOSITE[cell["port_directions"][pin]], bits))
    named = {"clk": {"direction": "input", "bits": clock}} if clock else {}
    for direction, bits in ports:
        # a clock is no path; a bit that is constant has a letter
        moving = [bit for bit in bits if isinstance(bit, int) and bit not in clock]
        if moving:
            named[f"p{len(named)}"] = {"direction": direction, "bits": moving}
    return {"ports": named, "cells": kept, "netnames": {}}


def between_chains(top: str, ports: Mapping[str, Any]) -> str:
    """Return a module `{top}_clocked` of few pins: `top` with a register at every port.

    Registers of inputs are filled one from another; those of outputs are added to sums that move
    along. So a part may have more ports than a device has pins, and all of it stays.
    """
    names = {
        side: [n for n, port in ports.items() if n != "clk" and port["direction"] == side]
        for side in ("input", "output")
    }
    joined = {side: ", ".join(f"{side}_{name}" for name in names[side]) for side in names}
    bits = {side: sum(len(ports[name]["bits"]) for name in names[side]) for side in names}
    pins = min(_CHAINS, bits["output"])
    declared = [
        f"wire [{len(ports[name]['bits']) - 1}:0] {side}_{name};"
        for side in names
        for name in names[side]
    ]
    connected = [f".{name}({side}_{name})" for side in names for name in names[side]]
    clock = [".clk(clk)"] if "clk" in ports else []
    return "\n".join(
        [
            f"module {top}_clocked(input clk, input [{_CHAINS - 1}:0] into,",
            f"output [{pins - 1}:0] out);",
            f"reg [{bits['input'] - 1}:0] given; reg [{bits['output'] - 1}:0] taken, sums;",
            *declared,
            f"assign {{{joined['input']}}} = given;",
            f"assign out = sums[{bits['output'] - 1} -: {pins}];",
            f"{top} inside({', '.join(clock + connected)});",
            "always @(posedge clk) begin",
            f"given <= {{given, into}}; taken <= {{{joined['output']}}};",
            f"sums <= (sums << {_CHAINS}) ^ taken; end",
            "endmodule\n",
        ]
    )
