import json
import math
import os
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hwq.cost.result import Energy
from hwq.errors import DataError
from hwq.report.charts import _ticks
from hwq.report.to_html import to_html, write_html
from hwq.report.to_json import to_json
from hwq.report.to_table import group_layers

VOID = {"meta"}
HOSTILE = "<script>alert('1')</script>&\"x\" --><svg onload=a>"


class Page(HTMLParser):
    """The page as [tag, attributes, own text, path] of each element; refuses unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        path = [element[0] for element in self._open]
        element = [tag, dict(attributes), "", path]
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if self._open:
            self._open[-1][2] += data

    def tags(self, name):
        return [element for element in self.elements if element[0] == name]

    def texts(self, name):
        return [element[2] for element in self.tags(name)]

    def table(self, number):
        """Rows of cells, (attributes, text), of one table."""
        rows, tables = [], -1
        for tag, attributes, text, path in self.elements:
            tables += tag == "table"
            if tables == number and "table" in path:
                if tag == "tr":
                    rows.append([])
                elif tag == "button":
                    rows[-1][-1] = (rows[-1][-1][0], text)
                elif tag in ("td", "th"):
                    rows[-1].append((attributes, text))
        return rows


def value(cell):
    attributes, text = cell
    return float(attributes.get("data-value", text.replace(",", "")))


def columns(result):
    """Every layer's table: the cells by their heading."""
    heads, *rows = Page(to_html(result)).table(1)
    return {head[1]: [row[i] for row in rows] for i, head in enumerate(heads)}


def flat(layer):
    found = {}
    for key, item in layer.items():
        inner = item.items() if isinstance(item, dict) else [(None, item)]
        found |= {key if name is None else f"{key}.{name}": part for name, part in inner}
    return found


def test_every_layer_and_every_field_of_the_json_is_in_the_table(result):
    layers = [flat(layer) for layer in json.loads(to_json(result))["layers"]]
    found = columns(result)
    assert list(found) == ["#", *layers[0]]
    for position, layer in enumerate(layers):
        for name, expected in layer.items():
            cell = found[name][position]
            if expected is None or isinstance(expected, str):
                assert cell[1] == (expected or "")
            else:
                assert value(cell) == expected


def test_the_table_sums_to_the_totals(result):
    found, totals = columns(result), result.totals
    assert sum(map(value, found["cycles"])) == totals.cycles
    assert sum(map(value, found["macs"])) == totals.macs
    moved = map(value, found["dram_read_bytes"] + found["dram_write_bytes"])
    assert sum(moved) == totals.dram_bytes
    energy = sum(map(value, found["energy_pj.total"])) / 1e6
    assert energy == pytest.approx(totals.energy_uj, rel=1e-12)


def test_bars_are_the_groups_and_sum_to_the_totals(result):
    rows = [row for row in Page(to_html(result)).table(0)[1:] if len(row) > 1]
    groups = group_layers(result.layers)
    assert [f"blocks.*.{row[0][1]}" for row in rows] == [group.name for group in groups]
    assert [int(row[2][1]) for row in rows] == [len(group.layers) for group in groups]
    shown = [row[3][1] for row in rows]
    assert "hidden" in shown
    cycles = sum(value(({}, text)) for text in shown if text != "hidden")
    assert cycles == result.totals.cycles


def test_lengths_of_bars_are_the_cycles(result):
    page = Page(to_html(result))
    drawn = sum(
        float(attributes["width"].rstrip("%"))
        for tag, attributes, _, path in page.elements
        if tag == "rect" and "table" in path
    )
    (axis,) = (text for text in page.texts("text") if text.endswith(" cycles"))
    limit = int(axis.split()[0].replace(",", ""))
    assert drawn / 100 * limit == pytest.approx(result.totals.cycles, rel=1e-3)


def test_energy_bar_is_whole_and_its_legend_sums_to_the_total(result):
    energy = {"mac": 1e6, "sram": 2e6, "dram": 1.5e9, "vector": 3e6, "leakage": 4e6}
    spent = Energy(**energy, total=sum(energy.values()))
    layers = tuple(replace(layer, energy_pj=spent) for layer in result.layers)
    page = Page(to_html(replace(result, layers=layers)))
    bars = [
        (float(attributes["x"].rstrip("%")), float(attributes["width"].rstrip("%")))
        for tag, attributes, _, path in page.elements
        if tag == "rect" and path[-1] == "g"
    ]
    widths = [100 * part / spent.total for part in energy.values()]
    assert [width for _, width in bars] == pytest.approx(widths, abs=1e-3)
    assert [x for x, _ in bars] == pytest.approx([sum(widths[:i]) for i in range(5)], abs=1e-3)
    (said,) = (text for text in page.texts("desc") if "leakage" in text)
    parts = dict(re.findall(r"(\w+) ([\d,.]+) \N{MICRO SIGN}J", said))
    shown = {cause: float(text.replace(",", "")) for cause, text in parts.items()}
    assert shown == {cause: part * len(layers) / 1e6 for cause, part in energy.items()}


def test_timeline_has_a_step_per_exposed_layer_in_order(result):
    page = Page(to_html(result))
    steps = [
        (int(attributes["x"]), int(attributes["width"]))
        for tag, attributes, *_ in page.elements
        if tag == "rect" and attributes.get("class") == "layer"
    ]
    assert [width for _, width in steps] == [x.cycles for x in result.layers if x.cycles]
    assert [x for x, _ in steps] == [sum(w for _, w in steps[:i]) for i in range(len(steps))]
    (box,) = (a["viewbox"] for _, a, *_ in page.tags("svg") if "viewbox" in a)
    assert box.split()[2] == str(result.totals.cycles)


def test_totals_and_run_are_shown(result):
    text = " ".join(Page(to_html(result)).texts("dd"))
    totals = result.totals
    for shown in (
        f"{totals.cycles:,}",
        f"{totals.macs:,}",
        f"{totals.latency_ms:,.3f} ms",
        f"{totals.energy_uj:,.1f} \N{MICRO SIGN}J",
        f"{totals.utilization:.1%}",
        "stall_free",
        "0.1.0",
    ):
        assert shown in text
    assert "weights are random" in Page(to_html(result)).texts("li")


def test_accuracy_is_shown_or_said_to_be_missing(result, measured):
    assert "accuracy: not measured" in Page(to_html(result)).texts("strong")
    page = Page(to_html(measured))
    assert not page.tags("strong")
    assert {"650", "81.54%", "81.00%", "80.92%", "97.50%", "99.25%"} <= set(page.texts("dd"))
    assert "no noise" in page.texts("dd")
    partly = replace(measured, fidelity=replace(measured.fidelity, top1_fp32=None))
    assert "not measured" in Page(to_html(partly)).texts("dd")


@pytest.mark.parametrize(
    ("weights", "digest", "expected"),
    [
        ("random", None, []),
        ("pretrained", None, ["--pretrained"]),
        ("my net.safetensors", "ab" * 32, ["--weights", "my net.safetensors"]),
        ("random", "ab" * 32, ["--weights", "random"]),
    ],
)
def test_the_command_says_what_was_asked_for(result, weights, digest, expected):
    run = replace(result.run, weights=weights, weights_sha256=digest)
    (command,) = Page(to_html(replace(result, run=run))).texts("code")
    words = "python -m hwq.simulate --model tiny --method scalepredictor --base minmax --bits w4a4"
    words += " --accelerator edge_16x16 --dataflow auto --timing stall_free --seed 0"
    assert shlex.split(command) == words.split() + expected


def test_the_command_measures_what_was_measured(measured):
    run = replace(measured.run, images=650, base=None)
    (command,) = Page(to_html(replace(measured, run=run))).texts("code")
    assert command.endswith(" --calib CALIB --data DATA --limit 650")
    assert "--base" not in command


def test_findings_of_the_method_are_shown(result):
    assert "Findings of the method" not in to_html(result)
    many = {HOSTILE: [0.25] * 50}
    found = {"base": HOSTILE, "gain": 0.125, "taps": ["a", "b"], "layers": many, "none": math.inf}
    page = Page(to_html(replace(result, findings=found)))
    assert [HOSTILE, "0.125", '["a", "b"]', "null"] == [
        text for text in page.texts("dd") if text in (HOSTILE, "0.125", '["a", "b"]', "null")
    ]
    assert page.texts("summary") == ["layers"]
    assert [json.loads(text) for text in page.texts("pre") if text] == [many]
    assert len(page.tags("script")) == 1


@pytest.mark.parametrize("field", ["model", "method", "base", "accelerator", "weights", "notes"])
def test_text_from_outside_stays_text(result, field):
    hostile = (HOSTILE,) if field == "notes" else HOSTILE
    page = to_html(replace(result, run=replace(result.run, **{field: hostile})))
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert [e[:2] for e in Page(page).tags("script")] == [["script", {}]]
    assert any(HOSTILE in text for _, _, text, _ in Page(page).elements)


def test_names_of_layers_stay_text(result):
    layer = replace(result.layers[0], name=HOSTILE)
    page = to_html(replace(result, layers=(layer, *result.layers[1:])))
    assert HOSTILE not in page
    assert Page(page).table(1)[1][1][1] == HOSTILE
    assert len(Page(page).tags("script")) == 1


def test_nothing_comes_from_outside(result, measured):
    for page in (to_html(result), to_html(measured)):
        assert not re.search(r"http|src=|href|url\(|@import|fetch\(|<link|//", page)


def test_charts_have_titles_and_descriptions(result):
    page = Page(to_html(result))
    images = [e for e in page.tags("svg") if e[1].get("role") == "img"]
    titles = [e for e in page.tags("title") if e[3][-1] == "svg"]
    assert len(images) == len(titles) > 2
    assert all(title[2] for title in titles)
    assert len([text for text in page.texts("desc") if text]) == 2


def test_both_colour_schemes_have_every_colour(result):
    (style,) = Page(to_html(result)).texts("style")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert "prefers-color-scheme: dark" in style
    used = set(re.findall(r"var\((--[\w-]+)\)", style)) - {"--fill", "--on"}
    for scheme in (light, dark):
        assert used <= set(re.findall(r"(--[\w-]+):", scheme))


def test_the_page_is_the_same_every_time(result):
    assert to_html(result) == to_html(replace(result))


def test_a_file_name_that_is_no_text_can_be_written(tmp_path, result):
    run = replace(result.run, weights=os.fsdecode(b"net\xff.safetensors"))
    write_html(replace(result, run=run), tmp_path / "page.html")
    assert "net\\udcff.safetensors" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_it_writes_whole_or_not_at_all(tmp_path, result):
    path = tmp_path / "page.html"
    write_html(result, path)
    assert path.read_text(encoding="utf-8") == to_html(result)
    with pytest.raises(DataError, match="cannot be written"):
        write_html(result, Path(tmp_path))
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize(
    "end", [4.0, 3.9999999999999996, 40.0, 39.99999999999999, 0.3999999999999999, 1e-9, 3e7, 7.3]
)
def test_ticks_of_any_latency(end):
    """Just below 4 * 10^k the logarithm rounds up to the next power."""
    ticks = _ticks(end)
    assert ticks[0] == 0 and ticks[-1] <= end * (1 + 1e-12) and 5 <= len(ticks) <= 11
