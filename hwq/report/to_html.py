"""The result as one HTML file: figures, charts and every layer, with nothing to fetch.

The page is built as a tree and escaped where the tree is written down. Charts are SVG that
stretches with the page: lengths are percentages or a stretched view box, text keeps its size.
"""

import json
import math
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from hwq.cost.result import Fidelity, LayerCost, RunInfo, SimulationResult, Totals
from hwq.report.to_json import load_schema
from hwq.report.to_table import LayerGroup, group_layers
from hwq.report.write_text import write_text

_CAUSES: Final = ("mac", "sram", "dram", "vector", "leakage")
_MICRO, _SQUARED, _DOT = "\N{MICRO SIGN}", "\N{SUPERSCRIPT TWO}", "\N{MIDDLE DOT}"
_LABEL_FROM: Final = 10  # percent of a bar in which a label fits
_FOLDED_FROM: Final = 100  # characters
_PLOT: Final = 160  # pixels from 0 to 100 % utilization
_STRIPS: Final = (("vector", _PLOT + 8), ("dram", _PLOT + 28))
_STRIP: Final = 14
_TIMELINE: Final = _STRIPS[-1][1] + _STRIP + 22

_STYLE: Final = """
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --ink: #1b1f24; --dim: #59616c;
  --line: #dde2e8; --mark: #fff2cc; --mac: #0a63a8; --sram: #c88800; --dram: #c23b00;
  --vector: #12a07a; --leakage: #30363f; --on-mac: #fff; --on-dram: #fff; --on-leakage: #fff }
@media (prefers-color-scheme: dark) { :root { --page: #0e1114; --card: #16191d; --ink: #e4e8ed;
  --dim: #9aa4b0; --line: #2e353d; --mark: #3b3216; --mac: #4a9ae8; --sram: #f0c04a;
  --dram: #e8602c; --vector: #14916c; --leakage: #d9dde3; --on-mac: #000; --on-dram: #000;
  --on-leakage: #000 } }
* { box-sizing: border-box; print-color-adjust: exact }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem; background: var(--page);
  color: var(--ink); font: 0.9375rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25 }
h2 { margin: 0 0 0.5rem; font-size: 1.05rem }
p { margin: 0.25rem 0 0.75rem; max-width: 50rem }
p, dt, thead th { color: var(--dim) }
section { margin-top: 1rem; padding: 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px }
.notes { margin: 0.75rem 0 0; padding: 0.5rem 1rem 0.5rem 2rem; background: var(--mark);
  border-radius: 8px }
dl { display: grid; margin: 0; gap: 0.2rem 1rem; grid-template-columns: max-content 1fr }
dd { margin: 0 }
.figures { gap: 0.75rem 1rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)) }
.figures div { display: flex; flex-direction: column; justify-content: space-between }
.figures dd { font-size: 1.25rem; font-variant-numeric: tabular-nums }
pre { margin: 0 0 0.75rem; padding: 0.75rem; white-space: pre-wrap; background: var(--page);
  border-radius: 6px }
.mac { --fill: var(--mac); --on: var(--on-mac) } .sram { --fill: var(--sram); --on: #000 }
.dram { --fill: var(--dram); --on: var(--on-dram) } .vector { --fill: var(--vector); --on: #000 }
.leakage { --fill: var(--leakage); --on: var(--on-leakage) }
svg { display: block; width: 100%; overflow: visible; font-size: 12px; fill: var(--dim) }
svg line { stroke: var(--line) } rect, path { fill: var(--fill) }
.share rect { stroke: var(--card); stroke-width: 2 }
.share text { fill: var(--on); text-anchor: middle; font-weight: 600; pointer-events: none }
.timeline { margin-left: 5.5rem; width: calc(100% - 6.5rem) }
.tick { text-anchor: middle } .last { text-anchor: end }
.strip { stroke: var(--fill); vector-effect: non-scaling-stroke }
.layer { fill: transparent } .layer:hover { fill: var(--ink); fill-opacity: 0.3 }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.5rem; margin: 0.5rem 0; padding: 0;
  list-style: none; font-variant-numeric: tabular-nums }
.key { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.5em; border-radius: 2px;
  background: var(--fill) }
.scroll { overflow: auto; max-height: 85vh }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 0.1rem 0.5rem; text-align: right; white-space: nowrap; font-weight: 400 }
tbody th, .text { text-align: left }
.bar { width: 45%; min-width: 9rem }
tr > :first-child { padding-left: 0 } tr > .inner { padding-left: 1rem }
.block { font-weight: 600 }
.all { font-size: 0.8125rem } .all td, .all th { border-bottom: 1px solid var(--line) }
.all thead th { position: sticky; top: 0; z-index: 2; background: var(--card) }
.all tbody th { position: sticky; left: 0; z-index: 1; background: var(--card) }
button { all: unset; cursor: pointer } button:focus-visible { outline: 2px solid var(--mac) }
[aria-sort=ascending] button::after { content: " \\2191" }
[aria-sort=descending] button::after { content: " \\2193" }
@media (max-width: 48rem) { .wide { display: none }
  th, td { padding: 0.1rem 0.25rem; font-size: 0.8125rem } .bar { min-width: 7.5rem } }
@media print { .scroll { max-height: none } }
"""

_SCRIPT: Final = """
for (const table of document.querySelectorAll("table.all")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.replaceAll(",", "");
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const compare = (one, two) => {
      const a = value(one, column), b = value(two, column);
      if (a === "" || b === "") return (a === "") - (b === "");
      return (down ? -1 : 1) * (a - b || a.localeCompare(b));
    };
    body.append(...[...body.rows].sort(compare));
  }));
}
"""


def to_html(result: SimulationResult) -> str:
    """Return the result as an HTML page that refers to nothing outside itself."""
    run, totals = result.run, result.totals
    page = Element("html", lang="en")
    head = _add(page, "head")
    _add(head, "meta", charset="utf-8")
    _add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _add(head, "title", f"{run.model} on {run.accelerator}")
    _add(head, "style", _STYLE)
    body = _add(page, "body")
    _header(body, run)
    _figures(_section(body, "Totals, one image"), _totals(totals))
    _fidelity(_section(body, "Fidelity"), result.fidelity)
    _energy(_section(body, "Energy by cause"), result)
    _timeline(_section(body, "Utilization and stalls over time"), result)
    _bars(_section(body, "Exposed cycles by layer"), result)
    _every_layer(_section(body, "Every layer"), result)
    if result.findings:
        _findings(_section(body, "Findings of the method"), result.to_dict()["findings"])
    _reproduce(_section(body, "How to reproduce"), run)
    _add(body, "script", _SCRIPT)
    text = tostring(page, encoding="unicode", method="html")
    # a file name may hold bytes that are no text
    return f"<!doctype html>\n{text}\n".encode(errors="backslashreplace").decode()


def write_html(result: SimulationResult, path: str | Path) -> None:
    """Write the page to `path`, whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    write_text(path, to_html(result))


def _add(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    """Append an element; `data_value="1"` becomes `data-value="1"`, `class_` becomes `class`."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    child = SubElement(parent, tag, names)
    child.text = text
    child.tail = "\n" if tag in ("tr", "section", "path", "rect", "li", "dd") else None
    return child


def _section(body: Element, heading: str) -> Element:
    section = _add(body, "section")
    _add(section, "h2", heading)
    return section


def _svg(parent: Element, title: str, description: str, /, **attributes: str) -> Element:
    svg = _add(parent, "svg", role="img", **attributes)
    _add(svg, "title", title)
    _add(svg, "desc", description)
    return svg


def _figures(parent: Element, figures: Iterable[tuple[str, str]], class_: str = "figures") -> None:
    items = _add(parent, "dl", class_=class_)
    for term, value in figures:
        item = _add(items, "div") if class_ == "figures" else items
        _add(item, "dt", term)
        _add(item, "dd", value)


def _legend(parent: Element, entries: Iterable[tuple[str, str]]) -> None:
    legend = _add(parent, "ul", class_="legend")
    for class_, text in entries:
        entry = _add(legend, "li")
        _add(entry, "span", class_=f"key {class_}").tail = text


def _header(body: Element, run: RunInfo) -> None:
    header = _add(body, "header")
    _add(header, "h1", f"{run.model} on {run.accelerator}")
    method = f"{run.method} on {run.base}" if run.base else run.method
    parts = (method, run.bits, f"dataflow {run.dataflow}", f"timing {run.timing}")
    _add(header, "p", f" {_DOT} ".join((*parts, f"weights: {run.weights}")))
    if run.notes:
        notes = _add(header, "ul", class_="notes")
        for note in run.notes:
            _add(notes, "li", note)


def _totals(totals: Totals) -> Iterator[tuple[str, str]]:
    yield "latency", f"{totals.latency_ms:,.3f} ms"
    yield "throughput", f"{totals.throughput_ips:,.1f} images/s"
    yield "cycles", f"{totals.cycles:,}"
    yield "MACs", f"{totals.macs:,}"
    yield "utilization", f"{totals.utilization:.1%}"
    yield "energy", f"{totals.energy_uj:,.1f} {_MICRO}J"
    yield "DRAM traffic", _bytes(totals.dram_bytes)
    yield "SRAM, peak", _bytes(totals.peak_sram_bytes)
    yield "area", f"{totals.area_mm2:.2f} mm{_SQUARED}"


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:g} B"


def _fidelity(section: Element, fidelity: Fidelity | None) -> None:
    if fidelity is None:
        _add(section, "strong", "accuracy: not measured")
        return
    rows = (
        ("top-1, float32", fidelity.top1_fp32, "%"),
        ("top-1, fake-quant", fidelity.top1_fake_quant, "%"),
        ("top-1, integer", fidelity.top1_integer, "%"),
        ("agreement with float32", fidelity.agreement_fp32, "%"),
        ("agreement with fake-quant", fidelity.agreement_fake_quant, "%"),
        ("logits, SQNR", fidelity.logit_sqnr_db, " dB"),
    )
    measured = [(label, _measured(value, unit)) for label, value, unit in rows]
    _figures(section, [("images", f"{fidelity.images:,}"), *measured])


def _measured(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return "no noise" if value == math.inf else f"{value:.2f}{unit}"


def _energy(section: Element, result: SimulationResult) -> None:
    parts = {
        cause: math.fsum(getattr(layer.energy_pj, cause) for layer in result.layers) / 1e6
        for cause in _CAUSES
    }
    total = math.fsum(parts.values())
    shares = {cause: 100 * part / total if total else 0.0 for cause, part in parts.items()}
    said = [f"{name} {parts[name]:,.1f} {_MICRO}J ({shares[name]:.1f}%)" for name in _CAUSES]
    svg = _svg(section, "Energy by cause", "; ".join(said), class_="share", height="44")
    start = 0.0
    for cause, text in zip(_CAUSES, said, strict=True):
        part = _add(svg, "g", class_=cause)
        _add(part, "title", text)
        _add(part, "rect", x=_percent(start), width=_percent(shares[cause]), height="44")
        if shares[cause] >= _LABEL_FROM:
            middle = start + shares[cause] / 2
            _add(part, "text", cause, x=_percent(middle), y="27")
        start += shares[cause]
    _legend(section, zip(_CAUSES, said, strict=True))


def _timeline(section: Element, result: SimulationResult) -> None:
    _add(
        section,
        "p",
        "Utilization of the array in the order of execution; the area is the work done, the mean "
        f"{result.totals.utilization:.1%}. Below, exposed time of the vector unit, and stalls on "
        "DRAM at the end of the layer in which they occur, both at least a pixel wide.",
    )
    svg = _svg(
        section,
        "Utilization of the array over exposed time",
        f"{result.totals.latency_ms:.3f} ms, one step per layer; point at one for its name.",
        class_="timeline",
        height=str(_TIMELINE),
    )
    for percent in (0, 50, 100):
        y = str(_PLOT - percent * _PLOT // 100)
        _add(svg, "line", x1="0", x2="100%", y1=y, y2=y)
        _add(svg, "text", f"{percent}%", class_="last", x="-8", y=y, dy="4")
    for label, (_, top) in zip(("vector unit", "DRAM stalls"), _STRIPS, strict=True):
        _add(svg, "text", label, class_="last", x="-8", y=str(top + 11))
    for time_ms in _ticks(result.totals.latency_ms):
        x = _percent(100 * time_ms / result.totals.latency_ms)
        _add(svg, "line", x1=x, x2=x, y1="0", y2=str(_TIMELINE - 18))
        _add(svg, "text", f"{time_ms:g} ms", class_="tick", x=x, y=str(_TIMELINE - 4))
    box = f"0 0 {result.totals.cycles} {_TIMELINE}"
    plot = _add(svg, "svg", height=str(_TIMELINE), viewBox=box, preserveAspectRatio="none")
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
        _add(plot, "path", class_=class_, d="".join(steps))
    now = 0
    for layer in layers:
        if layer.cycles:
            width, height = str(layer.cycles), str(_TIMELINE - 22)
            box = _add(plot, "rect", class_="layer", x=str(now), width=width, height=height)
            used = "" if layer.utilization is None else f", utilization {layer.utilization:.1%}"
            _add(box, "title", f"{layer.name}: {_cycles(layer.cycles, layer.stall_cycles)}{used}")
        now += layer.cycles


def _bars(section: Element, result: SimulationResult) -> None:
    said = "Layers that differ only in the number of their block are added up. "
    _add(section, "p", f"{said}Vector work beside a matmul that takes longer is hidden: no time.")
    keys = (("mac", "array works"), ("vector", "vector unit works"), ("dram", "it waits for DRAM"))
    _legend(section, keys)
    groups = group_layers(result.layers)
    limit = _limit(max(sum(layer.cycles for layer in group.layers) for group in groups))
    table = _add(_add(section, "div", class_="scroll"), "table")
    heads = _add(_add(table, "thead"), "tr")
    _add(heads, "th", "layer", class_="text", scope="col")
    axis = _add(_add(heads, "th", class_="bar", scope="col"), "svg", height="16")
    _add(axis, "text", "0", y="12")
    _add(axis, "text", f"{limit:,} cycles", x="100%", y="12", class_="last")
    for name, (text, _) in _cells(groups[0], result.totals).items():
        _add(heads, "th", name, class_=text, scope="col")
    body, block = _add(table, "tbody"), ""
    for group in groups:
        prefix, star, inner = group.name.partition("*")
        if star and prefix != block:
            _add(_add(body, "tr"), "th", prefix + star, class_="block", scope="rowgroup")
        block = prefix if star else ""
        row = _add(body, "tr")
        label, class_ = (inner.removeprefix("."), "inner") if star else (group.name, "text")
        _add(row, "th", label, class_=class_, scope="row")
        _bar(_add(row, "td", class_="bar"), group, limit)
        for class_, text in _cells(group, result.totals).values():
            _add(row, "td", text, class_=class_)


def _bar(cell: Element, group: LayerGroup, limit: int) -> None:
    cycles = sum(layer.cycles for layer in group.layers)
    stalls = sum(layer.stall_cycles for layer in group.layers)
    svg = _add(cell, "svg", height="18", role="img")
    _add(svg, "title", f"{group.name}: {_cycles(cycles, stalls)}")
    for x in ("0", "50%", "100%"):
        _add(svg, "line", x1=x, x2=x, y1="-3", y2="21")
    work = 100 * (cycles - stalls) / limit
    class_ = "mac" if group.layers[0].op == "matmul" else "vector"
    for kind, start, width in ((class_, 0.0, work), ("dram", work, 100 * stalls / limit)):
        if width:
            size = {"width": _percent(width), "height": "12"}
            _add(svg, "rect", class_=kind, x=_percent(start), y="3", **size)


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
        f"energy, {_MICRO}J": ("wide", f"{energy_uj:,.1f}"),
    }


def _cycles(cycles: int, stalls: int) -> str:
    return f"{cycles:,} cycles" + (f", {stalls:,} of them stalls" if stalls else "")


def _every_layer(section: Element, result: SimulationResult) -> None:
    said = "In the order of execution, with the fields of the JSON result. A heading sorts; "
    _add(section, "p", f"{said}point at it for its meaning. Empty: does not apply, or not counted.")
    table = _add(_add(section, "div", class_="scroll"), "table", class_="all")
    heads = _add(_add(table, "thead"), "tr")
    columns = list(_columns())
    _head(heads, "#", {"description": "Position."})
    for path, field in columns:
        _head(heads, ".".join(path), field)
    body = _add(table, "tbody")
    for position, layer in enumerate(result.to_dict()["layers"], start=1):
        row = _add(body, "tr")
        _add(row, "td", str(position))
        for path, _ in columns:
            _cell(row, reduce(getitem, path, layer), "th" if path == ("name",) else "td")


def _columns() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Path and schema of each field of a layer."""
    for name, field in load_schema()["$defs"]["layer"]["properties"].items():
        if "properties" not in field:
            yield (name,), field
        for part, inner in field.get("properties", {}).items():
            yield (name, part), inner


def _head(row: Element, name: str, field: dict[str, Any]) -> None:
    class_ = "text" if "string" in field.get("type", "") else "number"
    head = _add(row, "th", scope="col", class_=class_, title=field["description"])
    _add(head, "button", name, type="button")


def _cell(row: Element, value: Any, tag: str) -> None:
    if isinstance(value, str):
        _add(row, tag, value, class_="text")
    elif isinstance(value, float):
        text = f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"
        _add(row, tag, text, data_value=repr(value))
    else:
        _add(row, tag, "" if value is None else f"{value:,}")


def _findings(section: Element, findings: dict[str, Any]) -> None:
    """Show what a method says of itself; what is long is folded away, as JSON."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in findings.items()
    }
    long = [name for name, text in texts.items() if len(text) > _FOLDED_FROM]
    _figures(section, ((name, texts[name]) for name in texts if name not in long), "fields")
    for name in long:
        folded = _add(section, "details")
        _add(folded, "summary", name)
        _add(folded, "pre", json.dumps(findings[name], ensure_ascii=False, indent=2))


def _reproduce(section: Element, run: RunInfo) -> None:
    _add(_add(section, "pre"), "code", _command(run))
    said = "A result does not record where files lie, nor options of the method: add --option and "
    _add(section, "p", f"{said}paths as they were; capitals stand for folders.")
    fields = asdict(run).items()
    known = ((name, value) for name, value in fields if value is not None and name != "notes")
    _figures(section, ((name, str(value)) for name, value in known), "fields")


def _command(run: RunInfo) -> str:
    """Return the command for a shell, with everything that the result knows."""
    words = ["python", "-m", "hwq.simulate", "--model", run.model, "--method", run.method]
    if run.base is not None:
        words += ["--base", run.base]
    words += ["--bits", run.bits, "--accelerator", run.accelerator, "--dataflow", run.dataflow]
    words += ["--timing", run.timing, "--seed", str(run.seed)]
    if run.weights == "pretrained" and run.weights_sha256 is None:
        words += ["--pretrained"]
    elif run.weights != "random" or run.weights_sha256 is not None:
        words += ["--weights", run.weights]
    if run.images:
        words += ["--calib", "CALIB", "--data", "DATA", "--limit", str(run.images)]
    return shlex.join(words)


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
    power = 10.0 ** math.floor(math.log10(end / 4))
    step = next(step * power for step in (5, 2, 1) if 4 * step * power <= end)
    return [tick * step for tick in range(int(end / step) + 1)]
