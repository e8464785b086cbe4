"""From a program and an accelerator to cycles, traffic and energy, layer by layer."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial

from hwq.arch.accelerator import Accelerator, Array
from hwq.arch.area_table import accelerator_figures
from hwq.arch.kinds import TIMINGS, Timing
from hwq.compiler.program import Layer, MatmulLayer, Program, VectorLayer
from hwq.compiler.residency import Residency, groups, plan_residency
from hwq.compiler.schedule import Schedule, best_schedule, stream_cycles
from hwq.compiler.tiling import Capacities, TileProblem, capacities, granularity
from hwq.cost.energy import EnergyModel
from hwq.cost.result import Bits, LayerCost, ProgramCost, Totals, to_bytes
from hwq.cost.systolic import matmul_cycles, timing_correction, utilization
from hwq.cost.traffic import Traffic, matmul_traffic, vector_traffic
from hwq.cost.vector_unit import READ_CYCLES, busy_cycles, latency_cycles
from hwq.errors import SpecError, UsageError, require
from hwq.numerics.array import DATAFLOWS, Dataflow
from hwq.numerics.unit import ceil_div


def estimate(
    program: Program,
    accelerator: Accelerator,
    dataflow: str | None = None,
    timing: str | None = None,
) -> ProgramCost:
    """Cost of one image.

    Parameters
    ----------
    program : Program
    accelerator : Accelerator
    dataflow : str, optional
        Overrides the array's: one of `hwq.arch.kinds.DATAFLOWS`, or "auto" for the fastest of each
        layer.
    timing : str, optional
        Overrides the accelerator's: one of `hwq.arch.kinds.TIMINGS`.

    Raises
    ------
    UsageError
        For an unknown dataflow or timing, or a layer that the array cannot execute.
    SpecError
        If a layer's smallest tile does not fit the buffers.
    """
    dataflow = accelerator.array.dataflow if dataflow is None else dataflow
    timing = accelerator.timing if timing is None else timing
    _check_choice("dataflow", dataflow, (*DATAFLOWS, "auto"))
    _check_choice("timing", timing, TIMINGS)
    for layer in program.layers:
        if isinstance(layer, MatmulLayer):
            _check_fits_array(layer, accelerator)
    estimator = _Estimator(program, accelerator, dataflow, timing)
    layers = [cost for group in groups(program) for cost in estimator.group(group)]
    return ProgramCost(
        tuple(layers), _totals(layers, accelerator, estimator.peak_bits), dataflow, timing
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A matmul's schedule under one dataflow."""

    dataflow: Dataflow
    schedule: Schedule
    traffic: Traffic


class _Estimator:
    """Carries what every layer of one program shares."""

    def __init__(
        self, program: Program, accelerator: Accelerator, dataflow: str, timing: str
    ) -> None:
        self._program, self._accelerator = program, accelerator
        self._dataflows = tuple(d for d in DATAFLOWS if dataflow in (d, "auto"))
        self._timing = next(t for t in TIMINGS if t == timing)
        self._read_cycles = READ_CYCLES if timing == "rtl" else 0
        self._residency: Residency = plan_residency(program, accelerator)
        self._energy = EnergyModel(accelerator)
        self._rate = accelerator.dram_bits_per_cycle
        self.peak_bits = 0

    def group(self, positions: range) -> list[LayerCost]:
        """A matmul with what is fused to it, or one vector layer."""
        layers = [self._program.layers[position] for position in positions]
        resident = self._residency.resident_bits[positions[0]]
        first = layers[0]
        if isinstance(first, VectorLayer):
            return [self._vector(first, resident)]
        fused = [layer for layer in layers if isinstance(layer, VectorLayer)]
        return self._matmul_group(first, fused, resident)

    def _matmul_group(
        self, layer: MatmulLayer, fused: Sequence[VectorLayer], resident: int
    ) -> list[LayerCost]:
        traffics = [vector_traffic(follower, self._residency) for follower in fused]
        epilogue = sum(traffic.dram.read + traffic.dram.write for traffic in traffics)
        choice = self._fastest(layer, epilogue, resident)
        schedule = choice.schedule
        self._occupy(resident + schedule.buffer_bits)
        costs = [
            self._cost(
                layer, choice.traffic, schedule.cycles, schedule.compute_cycles, choice.dataflow
            )
        ]
        busy, tail, exposed = 0, self._read_cycles, 0
        for follower, traffic in zip(fused, traffics, strict=True):
            own = busy_cycles(follower, self._accelerator.vector_unit)
            busy += own
            if self._timing == "rtl":  # the last sums pass through what streams behind the array
                tail += latency_cycles(follower, self._accelerator.vector_unit)
            excess = max(tail, busy - schedule.cycles) - exposed
            exposed += excess
            costs.append(self._cost(follower, traffic, excess, own))
        return costs

    def _fastest(self, layer: MatmulLayer, fused_bits: int, resident: int) -> _Choice:
        """Fewest cycles; then fewest DRAM bits, fewest SRAM bits, order of `DATAFLOWS`."""
        choices = [self._choice(layer, name, fused_bits, resident) for name in self._dataflows]
        return min(
            choices,
            key=lambda choice: (
                choice.schedule.cycles,
                choice.schedule.dram_bits,
                choice.traffic.sram.read + choice.traffic.sram.write,
            ),
        )

    def _choice(
        self, layer: MatmulLayer, dataflow: Dataflow, fused_bits: int, resident: int
    ) -> _Choice:
        array, residency = self._accelerator.array, self._residency
        stays = residency.on_chip(layer.out)
        room = capacities(self._accelerator, resident)
        on_chip = (residency.on_chip(layer.a), residency.on_chip(layer.b))
        problem = TileProblem(
            layer.rows,
            layer.n,
            layer.k,
            layer.count,
            *granularity(array, dataflow),
            layer.a.bits,
            layer.b.bits,
            *on_chip,
            layer.acc_bits * layer.planes,
            fused_bits + (0 if stays else layer.out.total_bits),
            # what the layer does not use must not keep equal layers from sharing a schedule
            Capacities(
                0 if on_chip[0] else room.activation,
                0 if on_chip[1] else room.weight - residency.weight_bits,
                room.output,
            ),
            made_rows=int(layer.column_sums),
        )
        try:
            schedule = _schedule(problem, array, dataflow, self._timing, self._rate)
        except SpecError as error:
            raise SpecError(f"{layer.name}: {error}") from error
        traffic = matmul_traffic(layer, array, dataflow, schedule, residency)
        return _Choice(dataflow, schedule, traffic)

    def _vector(self, layer: VectorLayer, resident: int) -> LayerCost:
        traffic = vector_traffic(layer, self._residency)
        busy = busy_cycles(layer, self._accelerator.vector_unit) + self._read_cycles
        moved = traffic.dram
        cycles = stream_cycles(layer.rows, busy, moved.read, moved.write, self._rate)
        rows_in_flight = 2 * ceil_div(moved.read + moved.write, layer.rows)
        self._occupy(resident + min(rows_in_flight, moved.read + moved.write))
        return self._cost(layer, traffic, cycles, busy)

    def _occupy(self, bits: int) -> None:
        self.peak_bits = max(self.peak_bits, bits + self._residency.weight_bits)

    def _cost(
        self,
        layer: Layer,
        traffic: Traffic,
        cycles: int,
        compute_cycles: int,
        dataflow: Dataflow | None = None,
    ) -> LayerCost:
        energy = self._energy.layer_energy(layer, traffic, cycles)
        require(
            compute_cycles > 0 and energy.mac + energy.vector > 0,
            f"{layer.name}: {layer.op} has elements, and must take cycles and energy, not "
            f"{compute_cycles} cycles and {energy.mac + energy.vector} pJ of work",
        )
        matmul = layer if isinstance(layer, MatmulLayer) else None
        array, sram, dram = self._accelerator.array, traffic.sram, traffic.dram
        m, n = (layer.m, layer.n) if isinstance(layer, MatmulLayer) else (layer.rows, layer.length)
        return LayerCost(
            name=layer.name,
            op=layer.op,
            m=m,
            n=n,
            k=matmul.k if matmul else None,
            count=matmul.count if matmul else 1,
            pe=matmul.pe.kind.name if matmul else None,
            bits=_bits(layer),
            dataflow=dataflow,
            cycles=cycles,
            compute_cycles=compute_cycles,
            stall_cycles=max(0, cycles - compute_cycles),
            utilization=utilization(layer.macs, cycles, array.rows, array.cols) if matmul else None,
            macs=layer.macs,
            sram_read_bytes=to_bytes(sram.read),
            sram_write_bytes=to_bytes(sram.write),
            dram_read_bytes=to_bytes(dram.read),
            dram_write_bytes=to_bytes(dram.write),
            energy_pj=energy,
        )


@lru_cache(maxsize=4096)
def _schedule(
    problem: TileProblem, array: Array, dataflow: Dataflow, timing: Timing, rate: Fraction
) -> Schedule:
    """Search once for layers that are alike.

    The gateware runs every tile as a program of its own. SCALE-Sim never cuts the streamed
    dimension, so neither does its timing if the buffers allow.
    """
    cycles = partial(
        matmul_cycles,
        rows=array.rows,
        columns=array.cols,
        dataflow=dataflow,
        timing="rtl" if timing == "rtl" else "stall_free",
    )
    if timing == "scalesim":
        whole_stream = {
            "output_stationary": replace(problem, step_k=problem.k),
            "weight_stationary": replace(problem, step_m=problem.m),
            "input_stationary": replace(problem, step_n=problem.n),
        }[dataflow]
        with suppress(SpecError):
            return best_schedule(whole_stream, cycles, rate, timing_correction(timing))
    return best_schedule(problem, cycles, rate, timing_correction(timing))


def _totals(layers: Sequence[LayerCost], accelerator: Accelerator, peak_bits: int) -> Totals:
    cycles = sum(layer.cycles for layer in layers)
    macs = sum(layer.macs for layer in layers)
    latency_ms = cycles / (accelerator.clock_mhz * 1000)
    return Totals(
        cycles=cycles,
        latency_ms=latency_ms,
        throughput_ips=1000 / latency_ms,
        macs=macs,
        utilization=utilization(macs, cycles, accelerator.array.rows, accelerator.array.cols),
        dram_bytes=sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in layers),
        energy_uj=math.fsum(layer.energy_pj.total for layer in layers) / 1e6,
        area_mm2=accelerator_figures(accelerator).area_um2 / 1e6,
        peak_sram_bytes=to_bytes(peak_bits),
    )


def _bits(layer: Layer) -> Bits:
    if isinstance(layer, MatmulLayer):
        return Bits(layer.a.bits, layer.b.bits, layer.acc_bits)
    return Bits(layer.inputs[0].bits, None, None)


def _check_choice(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{what} must be one of {', '.join(known)}, not {value!r}")


def _check_fits_array(layer: MatmulLayer, accelerator: Accelerator) -> None:
    array, name = accelerator.array, accelerator.name
    if layer.pe.kind.name not in array.pe:
        raise UsageError(
            f"{layer.name}: needs a PE of kind {layer.pe.kind.name!r}; accelerator {name!r} has "
            f"{', '.join(array.pe)}"
        )
    for field, needed, given in (
        ("activation_bits", layer.a.bits, array.activation_bits),
        ("weight_bits", layer.b.bits, array.weight_bits),
        ("acc_bits", layer.acc_bits, array.acc_bits),
    ):
        if needed > given:
            raise UsageError(
                f"{layer.name}: needs {field} of {needed}; the array of accelerator {name!r} has "
                f"{given}"
            )
