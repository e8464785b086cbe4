"""The result for a terminal: what was run, the layers, the totals, the fidelity."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from hwq.accuracy import Accuracy
from hwq.cost.result import (
    Guess,
    LayerCost,
    Picture,
    SimulationResult,
    Totals,
)

_DATAFLOW = {"output_stationary": "os", "weight_stationary": "ws", "input_stationary": "is"}
_COLUMNS = ("x", "shape", "bits", "flow", "cycles", "time", "stall", "util", "DRAM", "uJ")
_LEFT_OUT_FIRST = ("stall", "flow", "time", "util", "bits", "DRAM", "x")
_NAMED_AFTER_MATMUL = ("requantize", "rescale")
PICTURE_COLUMNS = ("float32", "fake-quant", "integer")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers that differ only in the number of their block: in no figure that is shown.

    Parameters
    ----------
    name : str
        With `*` for the number where there are several.
    layers : tuple of LayerCost
    """

    name: str
    layers: tuple[LayerCost, ...]


def group_layers(layers: Sequence[LayerCost]) -> list[LayerGroup]:
    """Put equal layers of different blocks together.

    Groups of the same numbered block stand together, and so do groups of the same name; otherwise
    they keep the order in which they first appear.
    """
    alike: dict[LayerCost, list[LayerCost]] = {}
    order: dict[str, int] = {}
    for position, layer in enumerate(layers):
        name = _NUMBER.sub("*", layer.name)
        order.setdefault(name, position)
        order.setdefault(_block(name), position)
        key = replace(layer.unmeasured(), name=name)
        alike.setdefault(key, []).append(layer)
    groups = [
        LayerGroup(_NUMBER.sub("*", rows_of_group[0].name), tuple(rows_of_group))
        for rows_of_group in alike.values()
    ]
    return sorted(groups, key=lambda group: (order[_block(group.name)], order[group.name]))


def _block(name: str) -> str:
    """`blocks.*` of `blocks.*.mlp.fc1`; a name without a number is its own block."""
    return name[: name.index("*") + 1] if "*" in name else name


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
        _heading(result),
        Text(),
        _LayerTable(groups, result.totals),
        Text(),
        _totals_table(result.totals, result.layers),
        Text(),
        _fidelity(result.fidelity),
    ]
    if result.picture is not None:
        parts += [Text(), _picture(result.picture)]
    parts += [Text(f"note: {note}", style="yellow") for note in result.run.notes]
    return Group(*parts)


def print_table(
    result: SimulationResult, console: Console | None = None, every_layer: bool = False
) -> None:
    """Print the result, by default to standard output."""
    (console or Console()).print(to_table(result, every_layer))


def _heading(result: SimulationResult) -> Text:
    run = result.run
    method = f"{run.method} on {run.base}" if run.base else run.method
    text = Text()
    text.append(f"{run.model}", style="bold")
    text.append(f" · {method} · {run.bits} · ")
    text.append(run.accelerator, style="bold")
    text.append(f" · dataflow {run.dataflow} · timing {run.timing}\n")
    if "cost" in result.findings:
        text.append(f"cost: {result.findings['cost']}\n", style="bold yellow")
    if run.checkpoint is not None:
        text.append(f"calibrated file: {run.checkpoint} · ", style="dim")
    text.append(f"weights: {run.weights} · seed {run.seed} · hwq {run.hwq_version}", style="dim")
    return text


class _LayerTable:
    """The table of layers, with as many of its columns as the terminal has room for."""

    def __init__(self, groups: Sequence[LayerGroup], totals: Totals) -> None:
        self._groups, self._totals = groups, totals

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(_COLUMNS)
        unlimited = options.update(max_width=1000)
        for leave in _LEFT_OUT_FIRST:
            if (
                Measurement.get(console, unlimited, self._table(columns)).maximum
                <= options.max_width
            ):
                break
            columns.remove(leave)
        yield self._table(columns)

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("layer", no_wrap=True)
        table.add_column("op", no_wrap=True)
        for heading in columns:
            table.add_column(heading, justify="right", no_wrap=True)
        block = ""
        for group in self._groups:
            prefix = _block(group.name) if "*" in group.name else ""
            if prefix and prefix != block:
                table.add_row(prefix, style="bold")
            block = prefix
            op, name = group.layers[0].op, group.name
            if op in _NAMED_AFTER_MATMUL:
                name = name.removesuffix(f".{op}")
            if prefix:
                name = f"  {name.removeprefix(prefix).removeprefix('.')}"
            cells = _cells(group, self._totals)
            style = "" if op == "matmul" else "dim"
            picked = (cells[heading] for heading in columns)
            table.add_row(name, op, *picked, style=style)
        return table


def _cells(group: LayerGroup, totals: Totals) -> dict[str, str]:
    """The cells of a row by their heading."""
    layers, first = group.layers, group.layers[0]
    cycles = sum(layer.cycles for layer in layers)
    stalls = sum(layer.stall_cycles for layer in layers)
    moved = sum(layer.dram_read_bytes + layer.dram_write_bytes for layer in layers)
    energy_uj = sum(layer.energy_pj.total for layer in layers) / 1e6
    used = [layer.utilization for layer in layers if layer.utilization is not None]
    return {
        "x": str(len(layers)) if len(layers) > 1 else "",
        "shape": _shape(first),
        "bits": f"{first.bits.a}" if first.bits.w is None else f"{first.bits.a}/{first.bits.w}",
        "flow": _flows(layers),
        "cycles": f"{cycles:,}" if cycles else "hidden",
        "time": f"{100 * cycles / totals.cycles:.1f}%" if cycles else "",
        "stall": f"{stalls:,}" if stalls else "",
        "util": f"{100 * sum(used) / len(used):.0f}%" if used else "",
        "DRAM": format_bytes(moved) if moved else "",
        "uJ": f"{energy_uj:,.1f}",
    }


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
        *("DRAM", format_bytes(totals.dram_bytes)),
    )
    table.add_row(
        *("latency", f"{totals.latency_ms:.3f} ms"),
        *("  mac", f"{parts['mac']:,.1f} uJ"),
        *("SRAM, peak", format_bytes(totals.peak_sram_bytes)),
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


def _fidelity(fidelity: Accuracy | None) -> RenderableType:
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


def picture_rows(picture: Picture) -> list[tuple[str, str, str]]:
    """Return the guesses of float32, fake-quant and integer, a row per rank."""
    columns = (picture.float32 or (), picture.fake_quant, picture.integer)
    ranks = zip_longest(*([_guess(guess) for guess in column] for column in columns), fillvalue="-")
    return [(first, second, third) for first, second, third in ranks]


def _guess(guess: Guess) -> str:
    return f"{guess.name or guess.index} {guess.probability:.1%}"


def _picture(picture: Picture) -> Table:
    table = Table(title=picture.file, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in PICTURE_COLUMNS:
        table.add_column(heading, overflow="fold")
    for row in picture_rows(picture):
        table.add_row(*(Text(cell) for cell in row))
    return table


def format_bytes(count: float) -> str:
    """Return a number of bytes in the decimal unit that suits it."""
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:g} B"
