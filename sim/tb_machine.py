"""The bench of a machine; runs inside the simulator, which `hwq.sim.machine.run` starts.

It fills the memories, starts the program, and records what leaves the array and what every command
stores; what that should be is compared outside.
"""

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

JOB = json.loads(Path(os.environ["HWQ_SIM_JOB"]).read_text())
FOUND = Path(os.environ["HWQ_SIM_FOUND"])


@cocotb.test()
async def runs_its_program(dut: Any) -> None:
    """Write, start, watch."""
    edge = RisingEdge(dut.machine_clk)
    Clock(dut.machine_clk, 10, unit="ns").start()
    dut.machine_rst.value = 1
    dut.machine__start.value = 0
    ports = ("a_write", "b_write", "vector_write", "parameter_write", "command_write")
    for port in ports:
        getattr(dut, f"machine__{port}__enable").value = 0
    await edge
    dut.machine_rst.value = 0
    for port in ports:
        address, word, enable = (
            getattr(dut, f"machine__{port}__{name}") for name in ("address", "data", "enable")
        )
        enable.value = 1
        for place, value in JOB[port]:
            address.value, word.value = place, value
            await edge
        enable.value = 0
    dut.machine__start.value = 1
    await edge
    dut.machine__start.value = 0
    found: dict[str, Any] = {"commands": []}
    written: list[list[int]] = []
    sums: list[list[int]] = []
    for _ in range(JOB["limit"]):
        await edge
        if dut.machine__sums__valid.value:
            sums.append([int(dut.machine__sums__address.value), int(dut.machine__sums__sums.value)])
        if dut.machine__written__valid.value:
            fields = (
                dut.machine__written__to_operand,
                dut.machine__written__address,
                dut.machine__written__data,
            )
            written.append([int(field.value) for field in fields])
        if dut.machine__done.value:
            cycles = int(dut.machine__command_cycles.value)
            found["commands"].append({"cycles": cycles, "written": written, "sums": sums})
            written, sums = [], []
            if len(found["commands"]) == JOB["commands"]:
                break
    else:
        raise AssertionError(f"no end after {JOB['limit']} cycles, in {len(found['commands'])}")
    await edge
    assert not dut.machine__busy.value, "the machine must stop behind its last command"
    found["cycles"] = int(dut.machine__cycles.value)
    FOUND.write_text(json.dumps(found))
