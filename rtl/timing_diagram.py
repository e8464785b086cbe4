"""What an array does in every cycle of a program, drawn from a run of its controller."""

from collections.abc import Iterator
from itertools import cycle
from string import ascii_lowercase
from typing import Any

from amaranth.sim import Simulator

from hwq.numerics.array import ArraySpec
from hwq.rtl.array_controller import controller
from hwq.rtl.array_program import program_layout

_IDLE = "."


def timing_diagram(spec: ArraySpec, m: int, k: int, n: int) -> str:
    """Return a line per activity with a letter per cycle, which tells the fold.

    A word of results leaves rows + columns + 1 cycles after the controller sends its tag; the last
    one ends the program.

    Parameters
    ----------
    spec : ArraySpec
    m, k, n : int
        The product.
    """
    control = controller(spec)
    stationary = spec.dataflow != "output_stationary"
    drawn: dict[str, list[str]] = {"block read": []} if stationary else {}
    drawn |= {"stream read": [], "sums leave": [], "busy": []}
    folds = {name: _letters() for name in ("block", "stream", "sums")}
    now = dict.fromkeys(folds, _IDLE)
    waiting = [(_IDLE, False)] * (spec.rows + spec.columns + 1)

    def letter(name: str, begins: int, on: int) -> str:
        if begins:
            now[name] = next(folds[name])
        return now[name] if on else _IDLE

    async def bench(ctx: Any) -> None:
        ctx.set(control.product, program_layout(spec).const(spec.program(m, k, n)))
        ctx.set(control.start, 1)
        seen = 0
        while not seen or ctx.get(control.busy):
            left, last = waiting.pop(0)
            ctx.set(control.finished, last)
            begin, tag = ctx.get(control.begin), ctx.get(control.tag)
            if stationary:
                block = letter("block", ctx.get(control.load_begin), ctx.get(control.load))
                drawn["block read"].append(block)
                stream = sums = letter("stream", begin, tag.valid)
            else:
                stream = letter("stream", begin, ctx.get(control.top_count) > 0)
                sums = letter("sums", ctx.get(control.take), tag.valid)
            drawn["stream read"].append(stream)
            drawn["sums leave"].append(left)
            drawn["busy"].append("#" if seen else "s")
            waiting.append((sums, bool(tag.valid and tag.last)))
            await ctx.tick()
            ctx.set(control.start, 0)
            seen += 1
        drawn["busy"].append(f" {ctx.get(control.cycles)} cycles")

    simulator = Simulator(control)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return "\n".join(f"{name:12}{''.join(cells)}" for name, cells in drawn.items())


def _letters() -> Iterator[str]:
    return cycle(ascii_lowercase)
