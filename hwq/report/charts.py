"""Charts of a result as inline SVG: lengths are percentages, text keeps its size."""

import math
from collections.abc import Iterable
from typing import Final
from xml.etree.ElementTree import Element

from hwq.cost.result import LayerCost, SimulationResult, Totals
from hwq.report.elements import MICRO, add, legend, svg
from hwq.report.to_table import LayerGroup, group_layers

_CAUSES: Final = ("mac", "sram", "dram", "vector", "leakage")
_LABEL_FROM: Final = 10  # percent of a bar in which a label fits
_PLOT: Final = 160  # pixels from 0 to 100 % utilization
_STRIPS: Final = (("vector", _PLOT + 8), ("dram", _PLOT + 28))
_STRIP: Final = 14
_TIMELINE: Final = _STRIPS[-1][1] + _STRIP + 22


def energy_chart(parent: Element, result: SimulationResult) -> None:
    """Draw one bar of the energy, stacked by cause."""
    parts = {
        cause: math.fsum(getattr(layer.energy_pj, cause) for layer in result.layers) / 1e6
        for cause in _CAUSES
    }
    total = math.fsum(parts.values())
    shares = {cause: 100 * part / total if total else 0.0 for cause, part in parts.items()}
    said = [f"{name} {parts[name]:,.1f} {MICRO}J ({shares[name]:.1f}%)" for name in _CAUSES]
    chart = svg(parent, "Energy by cause", "; ".join(said), class_="share", height="44")
    start = 0.0
    for cause, text in zip(_CAUSES, said, strict=True):
        part = add(chart, "g", class_=cause)
        add(part, "title", text)
        add(part, "rect", x=_percent(start), width=_percent(shares[cause]), height="44")
        if shares[cause] >= _LABEL_FROM:
            middle = start + shares[cause] / 2
            add(part, "text", cause, x=_percent(middle), y="27")
        start += shares[cause]
    legend(parent, zip(_CAUSES, said, strict=True))


def timeline_chart(parent: Element, result: SimulationResult) -> None:
    """Draw utilization, vector work and stalls over the image's time."""
    add(
        parent,
        "p",
        "Utilization of the array in the order of execution; the area is the work done, the mean "
        f"{result.totals.utilization:.1%}. Below, exposed time of the vector unit, and stalls on "
        "DRAM at the end of the layer in which they occur, both at least a pixel wide.",
    )
    chart = svg(
        parent,
        "Utilization of the array over exposed time",
        f"{result.totals.latency_ms:.3f} ms, one step per layer; point at one for its name.",
        class_="timeline",
        height=str(_TIMELINE),
    )
    for percent in (0, 50, 100):
        y = str(_PLOT - percent * _PLOT // 100)
        add(chart, "line", x1="0", x2="100%", y1=y, y2=y)
        add(chart, "text", f"{percent}%", class_="last", x="-8", y=y, dy="4")
    for label, (_, top) in zip(("vector unit", "DRAM stalls"), _STRIPS, strict=True):
        add(chart, "text", label, class_="last", x="-8", y=str(top + 11))
    for time_ms in _ticks(result.totals.latency_ms):
        x = _percent(100 * time_ms / result.totals.latency_ms)
        add(chart, "line", x1=x, x2=x, y1="0", y2=str(_TIMELINE - 18))
        add(chart, "text", f"{time_ms:g} ms", class_="tick", x=x, y=str(_TIMELINE - 4))
    box = f"0 0 {result.totals.cycles} {_TIMELINE}"
    plot = add(chart, "svg", height=str(_TIMELINE), viewBox=box, preserveAspectRatio="none")
    _steps(plot, result.layers)


def _steps(plot: Element, layers: Iterable[LayerCost]) -> None:
    """Draw the layers; x is in cycles."""
    paths: dict[str, list[str]] = {"mac": [], "vector strip": [], "dram strip": []}
    tops, now = dict(_STRIPS), 0
    for layer in layers:
        end = now + layer.cycles
        if layer.utilization is not None:
            top = _PLOT * (1 - layer.utilization)
            paths["mac"].append(f"M{now} {_PLOT}V{top:.2f}H{end}V{_PLOT}Z")
        elif layer.cycles:
            paths["vector strip"].append(f"M{now} {tops['vector']}H{end}v{_STRIP}H{now}Z")
        if layer.stall_cycles:
            start = end - layer.stall_cycles
            paths["dram strip"].append(f"M{start} {tops['dram']}H{end}v{_STRIP}H{start}Z")
        now = end
    for class_, steps in paths.items():
        add(plot, "path", class_=class_, d="".join(steps))
    now = 0
    for layer in layers:
        if layer.cycles:
            width, height = str(layer.cycles), str(_TIMELINE - 22)
            box = add(plot, "rect", class_="layer", x=str(now), width=width, height=height)
            used = "" if layer.utilization is None else f", utilization {layer.utilization:.1%}"
            add(box, "title", f"{layer.name}: {_cycles(layer.cycles, layer.stall_cycles)}{used}")
        now += layer.cycles


def layer_chart(parent: Element, result: SimulationResult) -> None:
    """Draw a bar of exposed cycles per kind of layer."""
    said = "Layers that differ only in the number of their block, and in no figure, are added up. "
    add(parent, "p", f"{said}Vector work beside a matmul that takes longer is hidden: no time.")
    keys = (("mac", "array works"), ("vector", "vector unit works"), ("dram", "it waits for DRAM"))
    legend(parent, keys)
    groups = group_layers(result.layers)
    limit = _limit(max(sum(layer.cycles for layer in group.layers) for group in groups))
    table = add(add(parent, "div", class_="scroll"), "table")
    heads = add(add(table, "thead"), "tr")
    add(heads, "th", "layer", class_="text", scope="col")
    axis = add(add(heads, "th", class_="bar", scope="col"), "svg", height="16")
    add(axis, "text", "0", y="12")
    add(axis, "text", f"{limit:,} cycles", x="100%", y="12", class_="last")
    for name, (text, _) in _cells(groups[0], result.totals).items():
        add(heads, "th", name, class_=text, scope="col")
    body, block = add(table, "tbody"), ""
    for group in groups:
        prefix, star, inner = group.name.partition("*")
        if star and prefix != block:
            add(add(body, "tr"), "th", prefix + star, class_="block", scope="rowgroup")
        block = prefix if star else ""
        row = add(body, "tr")
        label, class_ = (inner.removeprefix("."), "inner") if star else (group.name, "text")
        add(row, "th", label, class_=class_, scope="row")
        _bar(add(row, "td", class_="bar"), group, limit)
        for class_, text in _cells(group, result.totals).values():
            add(row, "td", text, class_=class_)


def _bar(cell: Element, group: LayerGroup, limit: int) -> None:
    cycles = sum(layer.cycles for layer in group.layers)
    stalls = sum(layer.stall_cycles for layer in group.layers)
    chart = add(cell, "svg", height="18", role="img")
    add(chart, "title", f"{group.name}: {_cycles(cycles, stalls)}")
    for x in ("0", "50%", "100%"):
        add(chart, "line", x1=x, x2=x, y1="-3", y2="21")
    work = 100 * (cycles - stalls) / limit
    class_ = "mac" if group.layers[0].op == "matmul" else "vector"
    for kind, start, width in ((class_, 0.0, work), ("dram", work, 100 * stalls / limit)):
        if width:
            size = {"width": _percent(width), "height": "12"}
            add(chart, "rect", class_=kind, x=_percent(start), y="3", **size)


def _cells(group: LayerGroup, totals: Totals) -> dict[str, tuple[str, str]]:
    """The numbers of a row by their heading: class and text."""
    cycles = sum(layer.cycles for layer in group.layers)
    stalls = sum(layer.stall_cycles for layer in group.layers)
    used = [layer.utilization for layer in group.layers if layer.utilization is not None]
    energy_uj = math.fsum(layer.energy_pj.total for layer in group.layers) / 1e6
    return {
        "layers": ("wide", f"{len(group.layers)}"),
        "cycles": ("", f"{cycles:,}" if cycles else "hidden"),
        "time": ("wide", f"{cycles / totals.cycles:.1%}" if cycles else ""),
        "stalls": ("wide", f"{stalls:,}" if stalls else ""),
        "utilization": ("wide", f"{sum(used) / len(used):.0%}" if used else ""),
        f"energy, {MICRO}J": ("wide", f"{energy_uj:,.1f}"),
    }


def _cycles(cycles: int, stalls: int) -> str:
    return f"{cycles:,} cycles" + (f", {stalls:,} of them stalls" if stalls else "")


def _percent(value: float) -> str:
    return f"{value:.3f}%"


def _limit(value: int) -> int:
    """The smallest round number that is not below `value`."""
    power = 1
    while 10 * power < value:
        power *= 10
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def _ticks(end: float) -> list[float]:
    """Round numbers from 0 up to `end`, five to eleven of them."""
    power = math.floor(math.log10(end / 4))
    # the logarithm may round up to the next power: then half of that fits
    steps = [step * 10.0 ** (power - below) for below in (0, 1) for step in (5, 2, 1)]
    step = next(step for step in steps if 4 * step <= end)
    return [tick * step for tick in range(int(end / step) + 1)]
