"""The cost of a program: its plan, priced."""

from hwq.cost.estimate import estimate
from hwq.plan.make_plan import make_plan


def cost_of(program, accelerator, dataflow=None, timing=None):
    """Plan a program and price the plan."""
    return estimate(make_plan(program, accelerator, dataflow, timing), accelerator)
