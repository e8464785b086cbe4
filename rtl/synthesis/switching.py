"""Switching energy of a mapped netlist: toggles of its simulation times liberty pin capacitance.

Every change of a net between 0 and 1 takes 1/2 C V**2, where C sums the capacitances of the input
pins on the net, clock pins included. That leaves out wires, the cells' own nodes and leakage, so
only ratios between netlists of one library mean something. Operands are uniform and independent.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hwq.errors import HwqError
from hwq.rtl.synthesis.liberty import Cell, read_cells
from hwq.rtl.synthesis.tools import ToolMissing, cell_file, find_icarus, run_program

CYCLES: Final = 1000
_WARM_UP: Final = 32  # cycles before counting starts: pipelines fill
_VOLTAGE: Final = 1.8  # nom_voltage of the library
_PERIOD_NS: Final = 100  # longer than any path, so that every cycle settles


class NetlistDiffers(HwqError):
    """The netlist does not do what the Verilog it was made from does."""


@dataclass(frozen=True, slots=True)
class Switching:
    """Energy of a clock cycle.

    Parameters
    ----------
    zero_delay_pj : float
        With cells that switch at once: every net changes at most once in a cycle.
    glitch_pj : float
        With the library's cell delays, without wires: nets also change on the way.
    """

    zero_delay_pj: float
    glitch_pj: float


def switching(top: str, folder: Path, held: Mapping[str, str]) -> Switching:
    """Simulate `{top}_gates.v` beside `{top}.v` on random operands and price its toggles.

    Parameters
    ----------
    top : str
        Module.
    folder : Path
        What `hwq.rtl.synthesis.flows.synthesize` left.
    held : mapping of str to str
        Input ports that are not random: a Verilog expression of the cycle k.

    Raises
    ------
    NetlistDiffers
        If the netlist's outputs are not the original's, in any cycle.
    """
    if not find_icarus():
        raise ToolMissing("switching energy needs Icarus Verilog: apt install iverilog")
    netlist = json.loads((folder / f"{top}_gates.json").read_text(encoding="utf-8"))
    module = netlist["modules"][f"{top}_gates"]
    (folder / "bench.v").write_text(_bench(top, module["ports"], held), encoding="utf-8")
    pins = _pins(module["cells"], read_cells(cell_file("lib").read_text(encoding="utf-8")))
    energies = []
    for delays in ([], ["-gspecify"]):
        sources = ["bench.v", f"{top}.v", f"{top}_gates.v", str(cell_file("v"))]
        run_program(
            ["iverilog", "-g2012", *delays, "-o", "bench.vvp", *sources], folder, "iverilog"
        )
        said = run_program(["vvp", "bench.vvp"], folder, "vvp")
        if "SAME" not in said:
            raise NetlistDiffers(
                f"the osu018 netlist of {top} differs from its Verilog: {said.splitlines()[-1]}"
            )
        with (folder / "bench.vcd").open(encoding="utf-8") as lines:
            energies.append(_energy_pj(lines, pins) / CYCLES)
    return Switching(*energies)


def _pins(cells: Mapping[str, Any], library: Mapping[str, Cell]) -> dict[tuple[str, str], float]:
    """(instance, pin) -> pF of all input pins."""
    return {
        (instance, pin): load
        for instance, cell in cells.items()
        if cell["type"] in library
        for pin, load in library[cell["type"]].loads.items()
        if pin in cell["connections"]
    }


def _bench(top: str, ports: Mapping[str, Any], held: Mapping[str, str]) -> str:
    """Return a bench that runs both modules, compares them and dumps the netlist's nets."""
    declarations, stimulus, differ = [], [], []
    connections: dict[str, list[str]] = {top: [], f"{top}_gates": []}
    for name, port in ports.items():
        width = len(port["bits"])
        if port["direction"] == "output":
            for module, pins in connections.items():
                pins.append(f".{name}({module}_{name})")
                declarations.append(f"wire [{width - 1}:0] {module}_{name};")
            differ.append(f"({top}_{name} !== {top}_gates_{name})")
            continue
        for pins in connections.values():
            pins.append(f".{name}({name})")
        declarations.append(f"reg [{width - 1}:0] {name} = 0;")
        if name not in ("clk", "rst"):
            words = ", ".join(["$random(seed)"] * -(-width // 32))
            stimulus.append(f"{name} = {held.get(name, f'{{{words}}}')};")
    instances = [f"{module} u_{module} ({', '.join(p)});" for module, p in connections.items()]
    return "\n".join(
        [
            "`timescale 1ns/10ps",
            "module bench;",
            "integer seed = 1, k, bad = 0;",
            *declarations,
            *instances,
            f"always #{_PERIOD_NS / 2} clk = ~clk;",
            "initial begin",
            f"rst = 1; #{2.25 * _PERIOD_NS} rst = 0;",
            f"for (k = 0; k < {_WARM_UP + CYCLES}; k = k + 1) begin",
            f'if (k == {_WARM_UP}) begin $dumpfile("bench.vcd");',
            f"$dumpvars(2, u_{top}_gates); end",
            *stimulus,
            f"#{0.9 * _PERIOD_NS} if ({' || '.join(differ)}) bad = bad + 1;",
            f"#{0.1 * _PERIOD_NS};",
            "end",
            'if (bad == 0) $display("SAME"); else $display("%0d cycles differ", bad);',
            "$finish; end endmodule",
            "",
        ]
    )


def _energy_pj(lines: Iterable[str], pins: Mapping[tuple[str, str], float]) -> float:
    """Sum 1/2 C V**2 over all changes between 0 and 1 in a VCD of one netlist."""
    load: dict[str, float] = defaultdict(float)
    toggles: dict[str, int] = defaultdict(int)
    last: dict[str, str] = {}
    scope: list[str] = []
    for line in lines:
        value = line[0]
        if value in "01xz":
            net = line[1:-1]
            if {value, last.get(net)} == {"0", "1"}:
                toggles[net] += 1
            last[net] = value
        elif value == "$":
            words = line.split()
            if words[0] == "$scope":
                scope.append(words[2])
            elif words[0] == "$upscope":
                scope.pop()
            elif words[0] == "$var":
                load[words[3]] += pins.get((scope[-1], words[4]), 0.0)
    return sum(0.5 * load[net] * _VOLTAGE**2 * count for net, count in toggles.items())
