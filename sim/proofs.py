"""Proofs that a unit equals an independent statement of its formula, whatever both sides stall.

A miter holds the unit and a queue of the inputs that it has taken. Whenever an output is offered,
it must be what the formula says of the oldest input. Valid, ready and payload of both sides are
free in every cycle. The formula is written for the proof, from the unit's documentation: a table
of thresholds made with exact integers, or arithmetic wide enough for every product.

`bounded` asks for no failure within so many cycles after reset. `unbounded` asks for none ever: it
needs the invariants that tie a unit's registers to the queue, proves them along, and concludes by
induction.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from amaranth.hdl import Shape

from hwq.rtl.emit import emit
from hwq.rtl.pipeline import StreamUnit
from hwq.rtl.synthesis.tools import YOSYS, ToolFailed, run_wheel

TOP = "miter"
_PORTS = ("i__payload", "i__valid", "i__ready", "o__payload", "o__valid", "o__ready")


class ProofFailed(AssertionError):
    """A counterexample exists, or the induction does not close; the message shows the trace."""


@dataclass(frozen=True)
class Proof:
    """A unit and what it is claimed to compute.

    Parameters
    ----------
    unit : StreamUnit
        One output for each input.
    formula : str
        Verilog: the body of a function `formula(x)`, with locals declared first.
    invariants : tuple of str
        Verilog conditions over the unit's registers, for `unbounded`. `input_of(n)` is the n-th
        oldest input in the unit; `formula` may be used.
    registers : mapping of str to str
        Registers that the invariants name: path with dots -> Verilog range, "signed [7:0]". In an
        invariant the dots are underscores.
    helpers : str
        Verilog functions that the invariants use.
    carried : mapping of str to (str, str)
        What the queue carries beside each input, for the invariants: name -> Verilog range, and
        the expression of `i__payload` that enters. `<name>_of(n)` is the n-th oldest.
    """

    unit: StreamUnit
    formula: str
    invariants: tuple[str, ...] = ()
    registers: Mapping[str, str] = field(default_factory=dict)
    helpers: str = ""
    carried: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def bounded(proof: Proof, name: str, cycles: int, verilog: str | None = None) -> float:
    """Prove the claim for the first `cycles` cycles after reset; return the seconds it took.

    Parameters
    ----------
    proof : Proof
    name : str
        Module of the unit.
    cycles : int
        Depth.
    verilog : str, optional
        The unit's Verilog, if it is not to be emitted.

    Raises
    ------
    ProofFailed
        With a counterexample.
    """
    command = f"sat -tempinduct-baseonly -seq 0 -maxsteps {cycles}"
    return _run(proof, name, command, verilog, inductive=False)


def unbounded(proof: Proof, name: str, verilog: str | None = None) -> float:
    """Prove the claim for all time, by induction over one cycle; return the seconds it took.

    Raises
    ------
    ProofFailed
        With a counterexample, or a cycle that the invariants do not close.
    """
    return _run(proof, name, "sat -tempinduct -seq 0 -maxsteps 1", verilog, inductive=True)


def _run(proof: Proof, name: str, command: str, verilog: str | None, inductive: bool) -> float:
    registers = proof.registers if inductive else {}
    script = [
        f"read_verilog {name}.v",
        f"hierarchy -top {name}; proc; flatten; opt_clean",
        *(f"expose {name}/w:{path}" for path in registers),
        "read_verilog -formal miter.v",
        f"hierarchy -top {TOP}; proc; flatten; opt_expr; opt_merge; opt_clean; async2sync",
        "chformal -lower; opt_clean",
        f"{command} -prove-asserts -show-ports -verify {TOP}",
    ]
    with TemporaryDirectory(prefix="hwq_proof_") as place:
        folder = Path(place)
        (folder / f"{name}.v").write_text(verilog or emit(proof.unit, name), encoding="utf-8")
        (folder / "miter.v").write_text(miter(proof, name, inductive), encoding="utf-8")
        (folder / "proof.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        start = time.perf_counter()
        try:
            run_wheel(YOSYS, ["-q", "-l", "proof.log", "proof.ys"], folder)
        except ToolFailed as failure:
            trace = _trace((folder / "proof.log").read_text(encoding="utf-8"))
            if not trace:
                raise
            raise ProofFailed(f"{name}: {trace}") from failure
        _check_all_were_proven(
            (folder / "proof.log").read_text(encoding="utf-8"), len(claims(proof, inductive))
        )
        return time.perf_counter() - start


def _check_all_were_proven(log: str, wanted: int) -> None:
    """Raise ProofFailed if a claim never reached the solver: simplification may lose one."""
    proved = len(set(re.findall(r"Import proof for assert: (.*) when", log)))
    if proved != wanted:
        raise ProofFailed(f"{wanted} claims were made, but the solver saw {proved}")


def _trace(log: str) -> str:
    """Return the counterexample at the end of a log, or nothing."""
    trace = re.search(r"(Time Signal Name.*?)\n\n", log.replace("\r", ""), re.DOTALL)
    return f"the claim does not hold:\n  {trace.group(1)}" if trace else ""


def claims(proof: Proof, inductive: bool) -> list[str]:
    """Return what must hold in every cycle, in Verilog."""
    return [
        "!o__valid || (count != 0 && o__payload == formula(input_0))",
        f"!push || pop || count < {proof.unit.latency_cycles}",  # no more than its registers hold
        "!waiting || (o__valid && o__payload == offered)",  # what is offered stays
        "!o__ready || i__ready",  # a stream whose receiver is ready is never blocked
        *(proof.invariants if inductive else ()),
    ]


def miter(proof: Proof, name: str, inductive: bool) -> str:
    """Return the Verilog of the unit beside the queue, with what must hold."""
    unit = proof.unit
    x, y = (Shape.cast(port.payload.shape()) for port in (unit.i, unit.o))
    depth = unit.latency_cycles
    xs, ys = (f"{'signed ' if s.signed else ''}[{s.width - 1}:0]" for s in (x, y))
    registers = proof.registers if inductive else {}
    carried = {"input": (xs, "i__payload"), **(proof.carried if inductive else {})}
    links = [f".{port}({port})" for port in _PORTS] + [".clk(clk)", ".rst(1'b0)"]
    links += [f".\\{path} ({_flat(path)})" for path in registers]
    return "\n".join(
        [
            f"module {TOP}(input clk, input i__valid, input o__ready, input {xs} i__payload,",
            f"  output i__ready, output o__valid, output {ys} o__payload);",
            *(f"wire {shape} {_flat(path)};" for path, shape in registers.items()),
            f"{name} unit ({', '.join(links)});",
            f"reg [{depth.bit_length()}:0] count = 0; reg waiting = 0; reg {ys} offered = 0;",
            "wire push = i__valid && i__ready, pop = o__valid && o__ready;",
            f"function {ys} formula(input {xs} x); {proof.formula} endfunction",
            proof.helpers if inductive else "",
            *(_queue(what, shape, entry, depth) for what, (shape, entry) in carried.items()),
            "always @(posedge clk) begin",
            "count <= count + push - pop; waiting <= o__valid && !o__ready; offered <= o__payload;",
            "end",
            *(f"always @* assert ({claim});" for claim in claims(proof, inductive)),
            "endmodule",
            "",
        ]
    )


def _queue(what: str, shape: str, entry: str, depth: int) -> str:
    """Return a queue that `entry` joins with every input and leaves with every output."""
    places = range(depth)
    moved = " ".join(f"next_{what}_{k} = next_{what}_{k + 1};" for k in places[:-1])
    return "\n".join(
        [
            *(f"reg {shape} {what}_{k} = 0, next_{what}_{k};" for k in places),
            f"wire {shape} {what}_in = {entry};",
            f"function {shape} {what}_of(input [{depth.bit_length()}:0] n); begin",
            f"  {what}_of = {what}_{depth - 1};",
            *(f"  if (n == {k}) {what}_of = {what}_{k};" for k in places[:-1]),
            "end endfunction",
            "always @* begin",
            *(f"  next_{what}_{k} = {what}_{k};" for k in places),
            f"  if (pop) begin {moved} end",
            *(f"  if (push && count - pop == {k}) next_{what}_{k} = {what}_in;" for k in places),
            "end",
            "always @(posedge clk) begin",
            *(f"  {what}_{k} <= next_{what}_{k};" for k in places),
            "end",
        ]
    )


def _flat(path: str) -> str:
    return path.replace(".", "_")
