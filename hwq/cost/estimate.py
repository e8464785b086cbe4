"""What a plan costs: cycles, traffic and energy, layer by layer."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hwq.arch.accelerator import Accelerator
from hwq.arch.area_table import accelerator_figures
from hwq.arch.systolic import utilization
from hwq.cost.energy import EnergyModel
from hwq.cost.result import Bits, LayerCost, ProgramCost, Totals, to_bytes
from hwq.cost.traffic import Traffic, pass_traffic, product_traffic
from hwq.errors import require
from hwq.plan.plan import Group, Plan, Step
from hwq.plan.slots import kinds
from hwq.plan.timing import Timer


def estimate(plan: Plan, accelerator: Accelerator) -> ProgramCost:
    """Cost of one image.

    Parameters
    ----------
    plan : Plan
        From `hwq.plan.make_plan.make_plan`.
    accelerator : Accelerator
        What it was planned for.

    Raises
    ------
    SpecError
        If a layer costs no time or energy, which a table must have missed.
    """
    clocks = _clock(plan, accelerator)
    energy = EnergyModel(accelerator)
    layers = [
        cost
        for group in plan.groups
        for step in group.steps
        for cost in _step_costs(group, step, clocks[id(step)], accelerator, energy)
    ]
    return ProgramCost(
        tuple(layers), _totals(layers, accelerator, _peak_bits(plan)), plan.dataflow, plan.timing
    )


class _Clock:
    """Cycles and DRAM bits of one step.

    Parameters
    ----------
    step : Step
    """

    def __init__(self, step: Step) -> None:
        count = len(step.passes) + (step.product is not None)
        self.exposed = [0] * count
        """Cycles of each layer, which sum to the step's."""
        self.busy = [0] * count
        """Cycles for which each layer's resource works."""
        self.moved: dict[str, int] = defaultdict(int)
        """Port -> bits."""


def _clock(plan: Plan, accelerator: Accelerator) -> dict[int, _Clock]:
    """Sum over the kinds of slots; a step is known by its identity."""
    timer = Timer(accelerator, plan.timing)
    clocks = {id(step): _Clock(step) for group in plan.groups for step in group.steps}
    for slot, number in kinds(plan):
        clock, step = clocks[id(slot.owner)], slot.owner
        for move in slot.stores + slot.loads:
            clocks[id(move.tile.step)].moved[move.port.name] += number * move.bits
        cycles, later = timer.slot_cycles(slot), 0
        if slot.tile is not None:
            work = timer.work(slot.tile)
            first = 0 if step.product is None else 1
            if first:
                clock.busy[0] += number * work.array
            for index, (exposed, busy) in enumerate(zip(work.exposed, work.busy, strict=True)):
                clock.busy[first + index] += number * busy
                if first + index:
                    clock.exposed[first + index] += number * exposed
                    later += exposed
        clock.exposed[0] += number * (cycles - later)
    return clocks


def _step_costs(
    group: Group, step: Step, clock: _Clock, accelerator: Accelerator, energy: EnergyModel
) -> list[LayerCost]:
    array, product = accelerator.array, step.product
    costs = []
    if product is not None:
        macs = group.times * step.m * step.n * step.k
        traffic = product_traffic(group, step, product, array, clock.moved)
        a, b = step.inputs[:2]
        rows = step.m + product.column_sums * step.tiles[0]
        work = energy.product_pj(product.pe, group.times * rows * step.n * step.k)
        costs.append(
            _cost(
                (product.name, "matmul"),
                (step.m, step.n, step.k, group.times),
                Bits(a.bits, b.bits, product.pe.acc_bits),
                (clock.exposed[0], clock.busy[0]),
                traffic,
                energy,
                mac=work,
                macs=macs,
                pe=product.pe.kind.name,
                dataflow=product.dataflow,
                utilization=utilization(macs, clock.exposed[0], array.rows, array.columns),
            )
        )
    for index, passed in enumerate(step.passes, start=len(costs)):
        traffic = pass_traffic(group, step, passed, clock.moved)
        costs.append(
            _cost(
                (passed.name, passed.op),
                (passed.rows, passed.length, None, 1),
                Bits(passed.bits, None, None),
                (clock.exposed[index], clock.busy[index]),
                traffic,
                energy,
                vector=energy.pass_pj(passed),
            )
        )
    return costs


def _cost(
    what: tuple[str, str],
    shape: tuple[int, int, int | None, int],
    bits: Bits,
    cycles: tuple[int, int],
    traffic: Traffic,
    energy: EnergyModel,
    **work: Any,
) -> LayerCost:
    (name, op), (m, n, k, count), (exposed, busy) = what, shape, cycles
    mac, vector = work.pop("mac", 0.0), work.pop("vector", 0.0)
    require(
        busy > 0 and mac + vector > 0,
        f"{name}: {op} has elements, and must take cycles and energy, not {busy} cycles and "
        f"{mac + vector} pJ of work",
    )
    sram, dram = traffic.sram, traffic.dram
    fields = {"macs": 0, "pe": None, "dataflow": None, "utilization": None} | work
    return LayerCost(
        name=name,
        op=op,
        m=m,
        n=n,
        k=k,
        count=count,
        bits=bits,
        cycles=exposed,
        compute_cycles=busy,
        stall_cycles=max(0, exposed - busy),
        sram_read_bytes=to_bytes(sram.read),
        sram_write_bytes=to_bytes(sram.write),
        dram_read_bytes=to_bytes(dram.read),
        dram_write_bytes=to_bytes(dram.write),
        energy_pj=energy.total(mac, vector, traffic, exposed),
        **fields,
    )


def _totals(layers: Sequence[LayerCost], accelerator: Accelerator, peak_bits: int) -> Totals:
    cycles = sum(layer.cycles for layer in layers)
    macs = sum(layer.macs for layer in layers)
    latency_ms = cycles / (accelerator.clock_mhz * 1000)
    return Totals(
        cycles=cycles,
        latency_ms=latency_ms,
        throughput_ips=1000 / latency_ms,
        macs=macs,
        utilization=utilization(macs, cycles, accelerator.array.rows, accelerator.array.columns),
        dram_bytes=sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in layers),
        energy_uj=math.fsum(layer.energy_pj.total for layer in layers) / 1e6,
        area_mm2=accelerator_figures(accelerator).area_um2 / 1e6,
        peak_sram_bytes=to_bytes(peak_bits),
    )


def _peak_bits(plan: Plan) -> int:
    """Most bits that hold something on chip during a step: tensors, blocks, sums."""
    spans: dict[tuple[str, int], list[int]] = {}
    blocks = [0] * len(plan.groups)
    for index, group in enumerate(plan.groups):
        for step in group.steps:
            bits_of_step = sum(len(p.stage.bases) * p.stage.bits for p in step.ports if p.stage)
            if step.product is not None:
                bits_of_step += step.product.tile_sums_bits(step.tile_m, step.tile_n)
            blocks[index] = max(blocks[index], bits_of_step)
            for port in step.ports:
                if port.memory == "activation":
                    bits = (port.view.last + 1) * port.bits
                    first, _, most = spans.get((port.tensor, port.base), [index, index, 0])
                    spans[port.tensor, port.base] = [first, index, max(most, bits)]
    homes = [home for home in plan.homes if home.memory == "weight"]
    constant = sum((home.view.last + 1) * home.bits for home in homes)
    return constant + max(
        block + sum(bits for first, last, bits in spans.values() if first <= index <= last)
        for index, block in enumerate(blocks)
    )
