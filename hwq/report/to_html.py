"""The result as one HTML file: figures, charts and every layer, with nothing to fetch.

The page is built as a tree and escaped where the tree is written down. Charts are SVG that
stretches with the page: lengths are percentages or a stretched view box, text keeps its size.
"""

import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce
from importlib.resources import files
from operator import getitem
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, tostring

from hwq.accuracy import Accuracy
from hwq.cost.result import Picture, RunInfo, SimulationResult, Totals
from hwq.files import write_text
from hwq.report.charts import energy_chart, layer_chart, timeline_chart
from hwq.report.elements import DOT, MICRO, SQUARED, add, figures, section
from hwq.report.to_json import load_schema
from hwq.report.to_table import PICTURE_COLUMNS, format_bytes, picture_rows

_FOLDED_FROM: Final = 100  # characters


def to_html(result: SimulationResult) -> str:
    """Return the result as an HTML page that refers to nothing outside itself."""
    run, totals = result.run, result.totals
    page = Element("html", lang="en")
    head = add(page, "head")
    add(head, "meta", charset="utf-8")
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", f"{run.model} on {run.accelerator}")
    add(head, "style", _asset("page.css"))
    body = add(page, "body")
    _header(body, run, result.findings.get("cost"))
    figures(section(body, "Totals, one image"), _totals(totals))
    _fidelity(section(body, "Fidelity"), result.fidelity)
    if result.picture is not None:
        _picture(section(body, "One picture"), result.picture)
    energy_chart(section(body, "Energy by cause"), result)
    timeline_chart(section(body, "Utilization and stalls over time"), result)
    layer_chart(section(body, "Exposed cycles by layer"), result)
    _every_layer(section(body, "Every layer"), result)
    if result.findings:
        _findings(section(body, "Findings of the method"), result.to_dict()["findings"])
    _reproduce(section(body, "How to reproduce"), run)
    add(body, "script", _asset("page.js"))
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


def _header(body: Element, run: RunInfo, cost: str | None) -> None:
    header = add(body, "header")
    add(header, "h1", f"{run.model} on {run.accelerator}")
    method = f"{run.method} on {run.base}" if run.base else run.method
    parts = [method, run.bits, f"dataflow {run.dataflow}", f"timing {run.timing}"]
    if run.checkpoint is not None:
        parts.append(f"calibrated file: {run.checkpoint}")
    add(header, "p", f" {DOT} ".join((*parts, f"weights: {run.weights}")))
    if cost is not None:
        add(add(header, "p"), "strong", f"cost: {cost}")
    if run.notes:
        notes = add(header, "ul", class_="notes")
        for note in run.notes:
            add(notes, "li", note)


def _totals(totals: Totals) -> Iterator[tuple[str, str]]:
    yield "latency", f"{totals.latency_ms:,.3f} ms"
    yield "throughput", f"{totals.throughput_ips:,.1f} images/s"
    yield "cycles", f"{totals.cycles:,}"
    yield "MACs", f"{totals.macs:,}"
    yield "utilization", f"{totals.utilization:.1%}"
    yield "energy", f"{totals.energy_uj:,.1f} {MICRO}J"
    yield "DRAM traffic", format_bytes(totals.dram_bytes)
    yield "SRAM, peak", format_bytes(totals.peak_sram_bytes)
    yield "area", f"{totals.area_mm2:.2f} mm{SQUARED}"


def _asset(name: str) -> str:
    return (files("hwq.report") / name).read_text(encoding="utf-8")


def _fidelity(parent: Element, fidelity: Accuracy | None) -> None:
    if fidelity is None:
        add(parent, "strong", "accuracy: not measured")
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
    figures(parent, [("images", f"{fidelity.images:,}"), *measured])


def _picture(parent: Element, picture: Picture) -> None:
    add(parent, "p", f"The likeliest classes of {picture.file}.")
    table = add(parent, "table")
    heads = add(add(table, "thead"), "tr")
    for heading in PICTURE_COLUMNS:
        add(heads, "th", heading, scope="col", class_="text")
    body = add(table, "tbody")
    for row in picture_rows(picture):
        cells = add(body, "tr")
        for cell in row:
            add(cells, "td", cell, class_="text")


def _measured(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    return "no noise" if value == math.inf else f"{value:.2f}{unit}"


def _every_layer(parent: Element, result: SimulationResult) -> None:
    said = "In the order of execution, with the fields of the JSON result. A heading sorts; "
    add(parent, "p", f"{said}point at it for its meaning. Empty: does not apply, or not counted.")
    table = add(add(parent, "div", class_="scroll"), "table", class_="all")
    heads = add(add(table, "thead"), "tr")
    columns = list(_columns())
    _head(heads, "#", {"description": "Position."})
    for path, field in columns:
        _head(heads, ".".join(path), field)
    body = add(table, "tbody")
    for position, layer in enumerate(result.to_dict()["layers"], start=1):
        row = add(body, "tr")
        add(row, "td", str(position))
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
    head = add(row, "th", scope="col", class_=class_, title=field["description"])
    add(head, "button", name, type="button")


def _cell(row: Element, value: Any, tag: str) -> None:
    if isinstance(value, str):
        add(row, tag, value, class_="text")
    elif isinstance(value, float):
        text = f"{value:,.4f}" if abs(value) < 10 else f"{value:,.1f}"
        add(row, tag, text, data_value=repr(value))
    else:
        add(row, tag, "" if value is None else f"{value:,}")


def _findings(parent: Element, findings: dict[str, Any]) -> None:
    """Show what a method says of itself; what is long is folded away, as JSON."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in findings.items()
    }
    long = [name for name, text in texts.items() if len(text) > _FOLDED_FROM]
    figures(parent, ((name, texts[name]) for name in texts if name not in long), "fields")
    for name in long:
        folded = add(parent, "details")
        add(folded, "summary", name)
        add(folded, "pre", json.dumps(findings[name], ensure_ascii=False, indent=2))


def _reproduce(parent: Element, run: RunInfo) -> None:
    add(add(parent, "pre"), "code", _command(run))
    said = "A result does not record where files lie, nor options of the method: add --option and "
    add(parent, "p", f"{said}paths as they were; capitals stand for folders.")
    fields = asdict(run).items()
    known = ((name, value) for name, value in fields if value is not None and name != "notes")
    figures(parent, ((name, str(value)) for name, value in known), "fields")


def _command(run: RunInfo) -> str:
    """Return the command for a shell, with everything that the result knows."""
    words = ["python", "-m", "hwq.simulate"]
    if run.checkpoint is not None:
        words += ["--checkpoint", run.checkpoint]
    if run.weights != run.checkpoint:
        words += ["--model", run.model]
    if run.checkpoint is None:
        words += ["--method", run.method, *([] if run.base is None else ["--base", run.base])]
        words += ["--bits", run.bits]
    words += ["--accelerator", run.accelerator, "--dataflow", run.dataflow, "--timing", run.timing]
    words += ["--seed", str(run.seed)] if run.checkpoint is None else []
    if run.weights == "pretrained" and run.weights_sha256 is None:
        words += ["--pretrained"]
    elif (run.weights != "random" or run.weights_sha256 is not None) and "--model" in words:
        words += ["--weights", run.weights]
    if run.images:
        words += [] if run.checkpoint is not None else ["--calib", "CALIB"]
        words += ["--data", "DATA", "--limit", str(run.images)]
    return shlex.join(words)
