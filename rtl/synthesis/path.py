"""The longest path between registers of a netlist of cells, by the library's tables.

No wires: what loads a cell are the pins that it drives. Where these are many, as on a net that a
register drives to a hundred others, a tree of buffers is in between if that is sooner; mapping does
not make it. A module is taken by itself, with a register at its ports and at those of the modules
and memories in it, as `hwq.rtl.synthesis.cut` takes it for the clock of an FPGA.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hwq.rtl.synthesis.liberty import Arc, Cell

REGISTER: Final = "DFFPOSX1"
BUFFER: Final = "BUFX4"
FAN_OUT: Final = 16
"""Buffers that one drives, and what it drives at a tree's end in pins of buffers."""
_CLOCK_NS: Final = 0.06
"""Transition of the clock: the shortest that the tables have."""
_OPPOSITE: Final = {"input": "output", "output": "input"}
Edges = list[tuple[float, float]]
"""When a net has fallen and risen, at the latest, and how long it takes to: ns."""
_NEVER: Final = (float("-inf"), 0.0)
_CLOCK: Final = [_NEVER, (0.0, _CLOCK_NS)]


@dataclass
class _Netlist:
    """What drives the nets, by number; constants never change.

    Parameters
    ----------
    gates : mapping of int to list of (int, Arc)
        Net -> the nets that its cell has arcs from. A register or a port drives all others.
    loads : mapping of int to float
        Net -> pF.
    ends : set of int
        Nets that a register takes.
    """

    gates: dict[int, list[tuple[int, Arc]]] = field(default_factory=dict)
    loads: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    ends: set[int] = field(default_factory=set)

    def in_order(self) -> Iterator[int]:
        """Yield what ends come from, every net behind all of its own."""
        done: set[int] = set()
        waiting = [(net, False) for net in self.ends]
        while waiting:
            net, is_next = waiting.pop()
            if is_next:
                yield net
            elif net not in done:
                done.add(net)
                waiting.append((net, True))
                waiting += [(source, False) for source, _ in self.gates.get(net, ())]


def path_ns(module: Mapping[str, Any], cells: Mapping[str, Cell]) -> float:
    """Return ns from one clock edge to the next that the longest path needs.

    The delay of a register and its setup are part of it. 0 of a module that moves nothing.

    Parameters
    ----------
    module : mapping
        A module of yosys's JSON whose cells are of the library, or modules, or memories.
    cells : mapping of str to Cell
        The library, whose REGISTER stands at the ports.
    """
    netlist = _netlist(module, cells)
    ((buffer,),) = cells[BUFFER].arcs.values()
    most = FAN_OUT * cells[BUFFER].loads[buffer.pin]
    launch, setups = cells[REGISTER].arcs["Q"][0], cells[REGISTER].setups["D"]
    edges: dict[int, Edges] = {}
    for net in netlist.in_order():
        arcs = [(edges[source], arc) for source, arc in netlist.gates.get(net, ())]
        if net not in netlist.gates:
            arcs = [(_CLOCK, launch)]
        load = netlist.loads[net]
        edges[net] = _driven(arcs, load)
        if load > most:
            tree = _driven(arcs, most)
            for _ in range(_levels(load, most)):
                tree = _driven([(tree, buffer)], most)
            edges[net] = min(edges[net], tree, key=max)
    times = [
        time + setups[edge].at(_CLOCK_NS, transition)
        for net in netlist.ends
        for edge, (time, transition) in enumerate(edges[net])
    ]
    return max([0.0, *times])


def _levels(load: float, most: float) -> int:
    """Return how many buffers, one behind another, make `most` pF of a load."""
    levels = 0
    while load > most:
        load, levels = load / FAN_OUT, levels + 1
    return levels


def _netlist(module: Mapping[str, Any], cells: Mapping[str, Cell]) -> _Netlist:
    netlist = _Netlist()
    for port in module["ports"].values():
        _add_port(netlist, port["bits"], port["direction"], cells[REGISTER])
    for instance in module["cells"].values():
        nets, cell = instance["connections"], cells.get(instance["type"])
        if cell is None:
            for pin, bits in nets.items():
                direction = _OPPOSITE[instance["port_directions"][pin]]
                _add_port(netlist, bits, direction, cells[REGISTER])
            continue
        for pin, load in cell.loads.items():
            netlist.loads[nets[pin][0]] += load
        netlist.ends |= {nets[pin][0] for pin in cell.setups} - set("01x")
        for pin, arcs in cell.arcs.items():
            if not cell.setups and pin in nets:
                sources = [(nets[arc.pin][0], arc) for arc in arcs]
                netlist.gates[nets[pin][0]] = [s for s in sources if isinstance(s[0], int)]
    return netlist


def _add_port(netlist: _Netlist, bits: list[int | str], direction: str, register: Cell) -> None:
    """Count a register behind what leaves; one in front of what comes needs no mention."""
    for bit in bits:
        if isinstance(bit, int) and direction == "output":
            netlist.ends.add(bit)
            netlist.loads[bit] += register.loads["D"]


def _driven(arcs: Iterable[tuple[Edges, Arc]], load: float) -> Edges:
    """Return the latest edges that arcs make of those of their sources."""
    edges = [_NEVER, _NEVER]
    for source, arc in arcs:
        for before, after in arc.senses:
            time, transition = source[before]
            time += arc.delays[after].at(load, transition)
            if time > edges[after][0]:
                edges[after] = (time, arc.transitions[after].at(load, transition))
    return edges
