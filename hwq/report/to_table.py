"""The result for a terminal: what was run, the layers, the totals, the fidelity."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hwq.cost.result import Fidelity, LayerCost, RunInfo, SimulationResult, Totals

_DATAFLOW = {"output_stationary": "os", "weight_stationary": "ws", "input_stationary": "is"}
_COLUMNS = ("x", "shape", "bits", "flow", "cycles", "time", "stall", "util", "DRAM", "uJ")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers that differ only in the number of their block.

    Parameters
    ----------
    name : str
        With `*` for the number where there are several.
    layers : tuple of LayerCost
    """

    name: str
    layers: tuple[LayerCost, ...]


def group_layers(layers: Sequence[LayerCost]) -> list[LayerGroup]:
    """Put equal layers of different blocks together, in the order in which they first appear."""
    found: dict[object, list[LayerCost]] = {}
    for layer in layers:
        stem = _NUMBER.sub("*", layer.name)
        key = (stem, layer.op, layer.m, layer.n, layer.k, layer.count, layer.pe, layer.bits)
        found.setdefault(key, []).append(layer)
    return [
        LayerGroup(_NUMBER.sub("*", own[0].name) if len(own) > 1 else own[0].name, tuple(own))
        for own in found.values()
    ]


def to_table(result: SimulationResult, every_layer: bool = False) -> RenderableType:
    """Return something that a rich console prints.

    Parameters
    ----------
    result : SimulationResult
    every_layer : bool
        One row per layer instead of one per kind of layer.
    """
    groups = (
        [LayerGroup(layer.name, (layer,)) for layer in result.layers]
        if every_layer
        else group_layers(result.layers)
    )
    parts: list[RenderableType] = [
        _heading(result.run),
        Text(),
        _layer_table(groups, result.totals),
        Text(),
        _totals_table(result.totals, result.layers),
        Text(),
        _fidelity(result.fidelity),
    ]
    parts += [Text(f"note: {note}", style="yellow") for note in result.run.notes]
    return Group(*parts)


def print_table(
    result: SimulationResult, console: Console | None = None, every_layer: bool = False
) -> None:
    """Print the result, by default to standard output."""
    (console or Console()).print(to_table(result, every_layer))


def _heading(run: RunInfo) -> Text:
    method = f"{run.method} on {run.base}" if run.base else run.method
    text = Text()
    text.append(f"{run.model}", style="bold")
    text.append(f" · {method} · {run.bits} · ")
    text.append(run.accelerator, style="bold")
    text.append(f" · dataflow {run.dataflow} · timing {run.timing}\n")
    text.append(f"weights: {run.weights} · seed {run.seed} · hwq {run.hwq_version}", style="dim")
    return text


def _layer_table(groups: Sequence[LayerGroup], totals: Totals) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("op")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        table.add_row(*_row(group, totals), style="" if group.layers[0].op == "matmul" else "dim")
    return table


def _row(group: LayerGroup, totals: Totals) -> Iterable[str]:
    first = group.layers[0]
    cycles = sum(layer.cycles for layer in group.layers)
    stalls = sum(layer.stall_cycles for layer in group.layers)
    moved = sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in group.layers)
    energy_uj = sum(layer.energy_pj.total for layer in group.layers) / 1e6
    macs = sum(layer.macs for layer in group.layers)
    share = 100 * cycles / totals.cycles
    mean = [layer.utilization for layer in group.layers if layer.utilization is not None]
    return (
        group.name.removesuffix(f".{first.op}"),
        first.op,
        str(len(group.layers)) if len(group.layers) > 1 else "",
        _shape(first),
        f"{first.bits.a}" if first.bits.w is None else f"{first.bits.a}/{first.bits.w}",
        _flows(group.layers),
        f"{cycles:,}" if cycles else "hidden",
        f"{share:.1f}%" if cycles else "",
        f"{stalls:,}" if stalls else "",
        f"{100 * sum(mean) / len(mean):.0f}%" if macs and mean else "",
        _bytes(moved) if moved else "",
        f"{energy_uj:,.1f}",
    )


def _shape(layer: LayerCost) -> str:
    if layer.k is None:
        return f"{layer.m}x{layer.n}"
    shape = f"{layer.m}x{layer.n}x{layer.k}"
    return f"{layer.count}·{shape}" if layer.count > 1 else shape


def _flows(layers: Iterable[LayerCost]) -> str:
    names = (_DATAFLOW.get(layer.dataflow or "", "") for layer in layers)
    return "/".join(dict.fromkeys(names))


def _totals_table(totals: Totals, layers: Sequence[LayerCost]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for _ in range(3):
        table.add_column(style="bold")
        table.add_column(justify="right")
    parts = {
        name: sum(getattr(layer.energy_pj, name) for layer in layers) / 1e6
        for name in ("mac", "sram", "dram", "vector", "leakage")
    }
    table.add_row(
        *("cycles", f"{totals.cycles:,}"),
        *("energy", f"{totals.energy_uj:,.1f} uJ"),
        *("DRAM", _bytes(totals.dram_bytes)),
    )
    table.add_row(
        *("latency", f"{totals.latency_ms:.3f} ms"),
        *("  mac", f"{parts['mac']:,.1f} uJ"),
        *("SRAM, peak", _bytes(totals.peak_sram_bytes)),
    )
    table.add_row(
        *("throughput", f"{totals.throughput_ips:.1f} images/s"),
        *("  sram", f"{parts['sram']:,.1f} uJ"),
        *("area", f"{totals.area_mm2:.2f} mm2"),
    )
    table.add_row(
        *("MACs", f"{totals.macs:,}"),
        *("  dram", f"{parts['dram']:,.1f} uJ"),
        *("", ""),
    )
    table.add_row(
        *("utilization", f"{100 * totals.utilization:.1f}%"),
        *("  vector", f"{parts['vector']:,.1f} uJ"),
        *("", ""),
    )
    table.add_row(*("", ""), *("  leakage", f"{parts['leakage']:,.1f} uJ"), *("", ""))
    return table


def _fidelity(fidelity: Fidelity | None) -> RenderableType:
    if fidelity is None:
        return Text("accuracy: not measured", style="bold yellow")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("images", f"{fidelity.images:,}")
    for label, value, unit in (
        ("top-1, float32", fidelity.top1_fp32, "%"),
        ("top-1, fake-quant", fidelity.top1_fake_quant, "%"),
        ("top-1, integer", fidelity.top1_integer, "%"),
        ("agreement with float32", fidelity.agreement_fp32, "%"),
        ("agreement with fake-quant", fidelity.agreement_fake_quant, "%"),
        ("logits, SQNR", fidelity.logit_sqnr_db, " dB"),
    ):
        table.add_row(label, "not measured" if value is None else f"{value:.2f}{unit}")
    return table


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:g} B"
