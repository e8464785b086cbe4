"""What an integer network costs on an accelerator."""

from dataclasses import dataclass

from hwq.arch.accelerator import Accelerator
from hwq.compiler.emit_program import emit_program
from hwq.compiler.program import Program
from hwq.cost.estimate import estimate
from hwq.cost.result import ProgramCost
from hwq.graph.ir import Graph
from hwq.plan.make_plan import make_plan
from hwq.plan.plan import Plan


@dataclass(frozen=True, eq=False)
class Priced:
    """A network as an accelerator runs it, and what that costs.

    Parameters
    ----------
    program : Program
    plan : Plan
    cost : ProgramCost
    """

    program: Program
    plan: Plan
    cost: ProgramCost


def price(
    graph: Graph, accelerator: Accelerator, dataflow: str | None = None, timing: str | None = None
) -> Priced:
    """Plan an integer network and price the plan.

    Parameters
    ----------
    graph : Graph
        Of integers, as `hwq.api.lower` returns it.
    accelerator : Accelerator
    dataflow, timing : str, optional
        Override the accelerator's.

    Raises
    ------
    UsageError, SpecError
        If the accelerator cannot run the network.
    GraphError
        For an operation that has no place on the machine.
    """
    program = emit_program(graph)
    plan = make_plan(program, accelerator, dataflow, timing)
    return Priced(program, plan, estimate(plan, accelerator))
