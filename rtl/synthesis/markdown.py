"""Synthesis results as tables for a page: rows of the CSV in, Markdown out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Row = Mapping[str, str]
Designs = Mapping[str, Mapping[tuple[str, str], Row]]
"""Label -> (target, recipe) -> row."""

_FPGAS: Final = {"ice40": "iCE40", "ecp5": "ECP5", "xc7": "Xilinx 7"}
_COUNTS: Final = {
    "lut": "LUT",
    "flip_flops": "FF",
    "dsp": "DSP",
    "block_ram": "BRAM",
    "lut_ram": "LUT RAM",
}
_GATES: Final = ("default", "booth")
_CELLS: Final = ("default", "noalumacc", "booth", "area", "booth_area")

_ENERGIES: Final = ("zero_delay_pj", "glitch_pj")


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Return every table by its name; a design is a line, in the order of `rows`."""
    sections = {"tools": "\n".join(f"* {tool}" for tool in _tools(rows))}
    for block, title in (("unit", "unit"), ("pe", "PE, a x b")):
        designs = _designs(row for row in rows if row["block"] == block)
        for recipe in ("dsp", "no_dsp"):
            sections[f"{block}_{recipe}"] = _fpga(title, designs, recipe)
        sections[f"{block}_clock"] = _clock(title, designs)
        sections[f"{block}_cells"] = _cells(title, designs)
        if block == "pe":
            sections["pe_energy"] = _energy(title, designs)
        else:
            lines = [(name, f"`{_any(of)['parameters']}`") for name, of in designs.items()]
            sections["unit_parameters"] = table((title, "parameters"), lines, left=2)
    return sections


def table(titles: Sequence[str], lines: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table, its first `left` columns to the left and the others to the right."""
    rule = [*["---"] * left, *["---:"] * (len(titles) - left)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *lines))


def _designs(rows: Iterable[Row]) -> Designs:
    rows_by_unit: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows:
        rows_by_unit.setdefault(_label(row), {})[row["target"], row["recipe"]] = row
    return rows_by_unit


def _label(row: Row) -> str:
    """Name of a unit; kind and widths of a processing element."""
    if row["block"] == "unit":
        return row["name"]
    words = dict(word.split("=") for word in row["parameters"].split())
    return f"{row['name']} {words['a_bits']} x {words['b_bits']}"


def _any(of: Mapping[tuple[str, str], Row]) -> Row:
    return next(iter(of.values()))


def _tools(rows: Iterable[Row]) -> list[str]:
    return sorted({tool for row in rows for tool in row["tools"].split("; ")})


def _fpga(title: str, designs: Designs, recipe: str) -> str:
    """Counts of every FPGA in one cell; iCE40 has no LUT RAM."""
    columns = {
        target: [name for name in _COUNTS if (target, name) != ("ice40", "lut_ram")]
        for target in _FPGAS
    }
    titles = [
        f"{_FPGAS[target]}: {' / '.join(_COUNTS[name] for name in names)}"
        for target, names in columns.items()
    ]
    lines = [
        (
            label,
            *(
                " / ".join(of[target, recipe][name] for name in names)
                for target, names in columns.items()
            ),
        )
        for label, of in designs.items()
    ]
    return table((title, *titles), lines)


def _clock(title: str, designs: Designs) -> str:
    """The slowest first."""
    clocks = {label: of["ecp5", "dsp"]["fmax_mhz"] for label, of in designs.items()}
    lines = sorted(clocks.items(), key=lambda line: float(line[1]))
    return table((title, "MHz"), lines)


def _cells(title: str, designs: Designs) -> str:
    titles = (
        *(title, "memory bits", "FF"),
        *(f"gates, {recipe}" for recipe in _GATES),
        *(f"um2, {recipe}" for recipe in _CELLS),
    )
    lines = [
        (
            label,
            of["osu018", "default"]["memory_bits"],
            of["osu018", "default"]["flip_flops"],
            *(of["gates", recipe]["gates"] for recipe in _GATES),
            *(of["osu018", recipe]["area_um2"] for recipe in _CELLS),
        )
        for label, of in designs.items()
    ]
    return table(titles, lines)


def _energy(title: str, designs: Designs) -> str:
    """Picojoules without and with glitches in one cell."""
    lines = [
        (
            label,
            *(" / ".join(of["osu018", recipe][name] for name in _ENERGIES) for recipe in _CELLS),
        )
        for label, of in designs.items()
    ]
    return table((title, *_CELLS), lines)
