"""Delays of a library, and the longest path of a netlist, are those of the tables by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[sim]'")

from hwq.rtl.synthesis.designs import designs
from hwq.rtl.synthesis.flows import flows, synthesize
from hwq.rtl.synthesis.liberty import Table, read, read_cells
from hwq.rtl.synthesis.path import path_ns
from hwq.rtl.synthesis.place import between_registers
from hwq.rtl.synthesis.tools import YOSYS, cell_file, find_cells, wheel_version

_AXES = 'index_1 ("0, 1"); index_2 ("0, 1");'


def _table(kind: str, base: float, per_pf: float, per_ns: float) -> str:
    corners = [base, base + per_ns, base + per_pf, base + per_pf + per_ns]
    values = '"{}, {}", \\\n "{}, {}"'.format(*corners)
    return f"{kind}(t) {{ {_AXES} values ( \\\n {values}); }}"


def _timing(pin: str, attributes: str, fall: float, rise: float) -> str:
    tables = [
        _table("cell_fall", fall, 2.0, 0.0),
        _table("cell_rise", rise, 2.0, 0.5),
        _table("fall_transition", 0.1, 0.0, 0.0),
        _table("rise_transition", 0.2, 0.0, 0.0),
    ]
    return f'timing() {{ related_pin : "{pin}"; {attributes} {" ".join(tables)} }}'


_LIBRARY = f"""library(l) {{ /* a comment { {} } */
  cell (DFFPOSX1) {{
    pin(CLK) {{ direction : input; capacitance : 0.5; clock : true; }}
    pin(D) {{ direction : input; capacitance : 0.125;
      timing() {{ related_pin : "CLK"; timing_type : setup_rising;
        {_table("rise_constraint", 0.3, 0.0, 1.0)} {_table("fall_constraint", 0.4, 0.0, 1.0)} }}
    }}
    pin(Q) {{ direction : output; capacitance : 0;
      {_timing("CLK", "timing_type : rising_edge;", 1.0, 1.0)} }}
  }}
  cell (BUFX4) {{
    pin(A) {{ direction : input; capacitance : 0.125; }}
    pin(Y) {{ direction : output;
      {_timing("A", "timing_sense : positive_unate;", 0.03, 0.04)} }}
  }}
  cell (NOT) {{
    pin(A) {{ direction : input; capacitance : 0.25; rise_capacitance : 9; }}
    pin(Y) {{ direction : output; function : "(!A)";
      {_timing("A", "timing_sense : negative_unate;", 0.01, 0.02)} }}
  }}
}}"""


def _register(d: Any, q: Any) -> dict[str, Any]:
    return {"type": "DFFPOSX1", "connections": {"CLK": [0], "D": [d], "Q": [q]}}


def _inverter(a: Any, y: Any) -> dict[str, Any]:
    return {"type": "NOT", "connections": {"A": [a], "Y": [y]}}


def test_a_table_is_linear_between_its_values_and_beyond() -> None:
    table = Table([0, 1], [0, 2, 4], [[0, 2, 10], [1, 3, 11]])
    assert [table.at(*place) for place in ((0, 0), (1, 4), (0.5, 1), (2, 2), (0, 5), (0, -1))] == [
        *(0, 11, 1.5, 4, 14, -1)
    ]


def test_loads_are_those_of_input_pins() -> None:
    cells = read_cells(_LIBRARY)
    assert {name: cell.loads for name, cell in cells.items()} == {
        "DFFPOSX1": {"CLK": 0.5, "D": 0.125},
        "BUFX4": {"A": 0.125},
        "NOT": {"A": 0.25},
    }
    assert read(_LIBRARY).kind == "library"


def test_a_path_is_register_gates_and_setup() -> None:
    cells = read_cells(_LIBRARY)
    module = {
        "ports": {"clk": {"direction": "input", "bits": [0]}},
        # 2 -> 3 -> 4 -> register; 3 also drives a register; a constant moves nothing
        "cells": {
            "first": _register(4, 2),
            "a": _inverter(2, 3),
            "b": _inverter(3, 4),
            "second": _register(3, 5),
            "fixed": _inverter("1", 6),
            "third": _register(6, 7),
        },
    }
    # Q falls after 1 + 2 * 0.25 in 0.1; a rises 0.02 + 2 * 0.375 + 0.5 * 0.1 later in 0.2; b falls
    # 0.01 + 2 * 0.125 later in 0.1; setup of a fall 0.4 + 0.1
    falls = 1.5 + 0.82 + 0.26 + 0.5
    # Q rises 0.03 (of the clock's 0.06) later in 0.2; a falls in 0.1; b rises 0.02 + 0.25 + 0.05
    rises = 1.53 + 0.76 + 0.32 + 0.3 + 0.2
    assert path_ns(module, cells) == pytest.approx(max(falls, rises))
    # without the last register the second one takes the rise of a, 0.3 + 0.2 before the clock
    del module["cells"]["first"]
    assert path_ns(module, cells) == pytest.approx(1.5 + 0.82 + 0.5)


def test_ports_of_modules_and_memories_have_registers() -> None:
    cells = read_cells(_LIBRARY)
    inner = {
        "type": "another",
        "connections": {"x": [3, "0"], "y": [4]},
        "port_directions": {"x": "input", "y": "output"},
    }
    module = {
        "ports": {
            "i": {"direction": "input", "bits": [2]},
            "o": {"direction": "output", "bits": [5, "1"]},
        },
        "cells": {"a": _inverter(2, 3), "b": _inverter(4, 5), "c": inner},
    }
    # a register drives 0.25, an inverter the 0.125 of a register
    falls = 1.5 + (0.02 + 0.25 + 0.05) + (0.3 + 0.2)
    assert path_ns(module, cells) == pytest.approx(falls)
    assert path_ns({"ports": {}, "cells": {}}, cells) == 0


@pytest.mark.parametrize(
    ("count", "levels"), [(16, 0), (17, 1), (32, 1), (33, 1), (256, 1), (257, 2)]
)
def test_many_loads_have_a_tree_of_buffers_if_that_is_sooner(count: int, levels: int) -> None:
    cells = read_cells(_LIBRARY)
    registers = {f"r{k}": _register(2, 3 + k) for k in range(count)}
    ports = {"i": {"direction": "input", "bits": [2]}}
    plain, tree = 2.0 * count / 8, 2.0 * 16 / 8 + levels * (0.04 + 2.0 * 16 / 8 + 0.1)
    path = path_ns({"ports": ports, "cells": registers}, cells)
    assert path == pytest.approx(1.03 + min(plain, tree) + (0.3 + 0.2))


@pytest.mark.skipif(find_cells() is None, reason="no osu018 cells: apt install qflow-tech-osu018")
@pytest.mark.skipif(not wheel_version(YOSYS), reason="no Yosys: pip install 'hwq[synth]'")
def test_the_path_of_a_unit_is_what_opensta_says(tmp_path: Path) -> None:
    """`sta` of OpenSTA 2.0.17 says 5.818 ns; it takes the loads of falls for themselves."""
    (design,), (flow,) = designs(["requantize"]), flows(["osu018"], ["default"])
    synthesize(flow, design.name, design.verilog(), tmp_path)
    ports = _module(tmp_path, design.name)["ports"]
    top = f"{design.name}_clocked"
    synthesize(flow, top, design.verilog() + between_registers(design.name, ports), tmp_path)
    cells = read_cells(cell_file("lib").read_text(encoding="utf-8"))
    assert path_ns(_module(tmp_path, top), cells) == pytest.approx(5.818, rel=0.01)


def _module(folder: Path, name: str) -> dict[str, Any]:
    text = (folder / f"{name}_gates.json").read_text(encoding="utf-8")
    return json.loads(text)["modules"][f"{name}_gates"]
