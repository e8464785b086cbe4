from pathlib import Path

import pytest

from hwq.arch.load import list_accelerators, load_accelerator
from hwq.errors import DataError, HwqError, SpecError, UsageError
from hwq.numerics.pe import PE_KINDS

PRESETS = list_accelerators()
TEXT = """\
name = "mine"
clock_mhz = 500
technology_nm = 22
[array]
rows = 8
columns = 8
[vector_unit]
lanes = 8
[sram.activation]
size_kib = 64
width_bits = 64
[sram.weight]
size_kib = 64
width_bits = 64
[sram.output]
size_kib = 64
width_bits = 256
banks = 2
[dram]
kind = "lpddr4"
bandwidth_gib_s = 12.8
"""


def load(tmp_path, old="", new="", text=TEXT):
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return load_accelerator(path)


def test_presets_are_listed():
    assert PRESETS == ("cloud_128x128", "edge_16x16", "edge_32x32")


@pytest.mark.parametrize("name", PRESETS)
def test_preset_loads_under_its_file_name_and_has_every_pe(name):
    accelerator = load_accelerator(name)
    assert accelerator.name == name
    assert accelerator.array.pe == tuple(PE_KINDS)
    assert accelerator.description


def test_a_file_loads_by_path_with_defaults(tmp_path):
    accelerator = load(tmp_path)
    assert load_accelerator(str(tmp_path / "mine.toml")) == accelerator
    assert (accelerator.timing, accelerator.array.dataflow) == ("rtl", "auto")
    assert accelerator.sram.output.bits_per_cycle == 512
    assert accelerator.sram.output.bank_kib == 32
    parameter = accelerator.sram.parameter
    assert (parameter.size_kib, parameter.width_bits, parameter.cell) == (64, 128, "lstp")


def test_the_parameter_buffer_is_set_like_any_other(tmp_path):
    table = "[sram.parameter]\nsize_kib = 32\nwidth_bits = 64\nbanks = 2\n[dram]"
    parameter = load(tmp_path, "[dram]", table).sram.parameter
    assert (parameter.bank_kib, parameter.bits_per_cycle, parameter.cell) == (16, 128, "hp")


def test_bandwidth_in_bits_per_cycle_is_exact(tmp_path):
    bits = load(tmp_path).dram_bits_per_cycle
    assert bits * 500_000_000 * 10 == 128 * 2**33


def test_it_is_frozen_and_hashable(tmp_path):
    accelerator = load(tmp_path)
    assert hash(accelerator) == hash(load(tmp_path))
    with pytest.raises(Exception, match="frozen"):
        accelerator.clock_mhz = 1


def test_unknown_name_gives_the_nearest_and_the_list():
    with pytest.raises(UsageError) as caught:
        load_accelerator("edge_32x23")
    assert str(caught.value) == (
        "unknown accelerator 'edge_32x23'; did you mean 'edge_32x32'?; known: cloud_128x128, "
        "edge_16x16, edge_32x32, or give the path of a .toml file"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows = 8", "row = 8", "unknown key 'array.row'; did you mean 'rows'?"),
        (
            "lanes = 8",
            "lanes = 8\nzzz = 1",
            "unknown key 'vector_unit.zzz'; known: lanes, pipes, units",
        ),
        (
            "lanes = 8",
            'lanes = 8\nunits = [{unit = "divider"}]',
            "vector_unit.units.0.unit must be one of epilogue, ",
        ),
        (
            "lanes = 8",
            'lanes = 8\nunits = [{unit = "add"}, {unit = "add", lanes = 2}]',
            "vector_unit.units must name every unit once, not add, add",
        ),
        (
            "lanes = 8",
            'lanes = 8\nunits = [{unit = "add", interval_cycles = 0}]',
            "vector_unit.units.0.interval_cycles must be at least 1, not 0",
        ),
        ("clock_mhz", "clock_mz", "unknown key 'clock_mz'; did you mean 'clock_mhz'?"),
        ("[sram.output]", "[sram.outputs]", "unknown key 'sram.outputs'; did you mean 'output'?"),
        ("rows = 8\n", "", "array.rows is missing"),
        ("rows = 8", "rows = -8", "array.rows must be at least 1, not -8"),
        ("rows = 8", 'rows = "8"', "array.rows must be a whole number, not '8'"),
        ("rows = 8", "rows = true", "array.rows must be a whole number, not True"),
        ("size_kib = 64", "size_kib = -1", "sram.activation.size_kib must be at least 1.0, not -1"),
        ("size_kib = 64", "size_kib = inf", "sram.activation.size_kib must be a finite number"),
        (
            "size_kib = 64",
            "size_kib = 8192",
            "sram.activation.size_kib / banks must be in 1..4096, not 8192",
        ),
        (
            "width_bits = 64",
            "width_bits = 512",
            "sram.activation.width_bits must be at most 256, not 512",
        ),
        (
            "banks = 2\n",
            "",
            "sram.output must deliver 512 bits a cycle to the array (banks x width_bits), not 256",
        ),
        ("technology_nm = 22", "technology_nm = 3", "technology_nm must be at least 7.0, not 3"),
        ('"lpddr4"', '"lpddr9"', "dram.kind must be 'ddr3', 'ddr4', 'lpddr4', 'lpddr5', 'hbm2' or"),
        (
            "columns = 8",
            'columns = 8\ndataflow = "row"',
            "array.dataflow must be 'output_stationary', ",
        ),
        (
            "columns = 8",
            'columns = 8\npe = ["times"]',
            "array.pe.0 must be one of multiply, shift, ",
        ),
        ("rows = 8", "rows = 70000", "array.rows must be at most 65536, not 70000"),
        ("rows = 8", f"rows = {10**100}", "array.rows must be at most 65536, not a number of more"),
        ("lanes = 8", "lanes = 10000000", "vector_unit.lanes must be at most 65536, not 10000000"),
        ("clock_mhz = 500", "clock_mhz = 1e-300", "clock_mhz must be at least 0.001, not 1e-300"),
        ("clock_mhz = 500", "clock_mhz = 1e300", "clock_mhz must be at most 100000.0, not 1e+300"),
        ("lanes = 8", "lanes = nan", "vector_unit.lanes must be a whole number, not nan"),
        ('name = "mine"', 'name = "a\\nb"', "name must be one line of printable characters"),
        (
            'name = "mine"',
            f'name = "{"a" * 200}"',
            "name must have at most 100 characters, not 'aaa",
        ),
        (
            "columns = 8",
            "columns = 8\npe = []",
            "array.pe must have at least 1 items, not []",
        ),
    ],
)
def test_a_bad_field_is_one_line_with_file_field_value_and_bound(tmp_path, old, new, message):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, old, new)
    text = str(caught.value)
    file = f"{tmp_path / 'mine.toml'}: "
    assert text.startswith(file)
    assert message in text.removeprefix(file)
    assert "\n" not in text


def test_broken_toml_names_file_and_place(tmp_path):
    with pytest.raises(DataError, match=r"mine\.toml: not valid TOML: .*line 5"):
        load(tmp_path, "rows = 8", "rows = = 8")


def test_a_number_of_thousands_of_digits_is_broken_toml(tmp_path):
    with pytest.raises(DataError, match=r"mine\.toml: not valid TOML: Exceeds the limit"):
        load(tmp_path, "rows = 8", f"rows = {'9' * 5000}")


def test_a_key_given_twice_is_broken_toml(tmp_path):
    with pytest.raises(DataError, match=r"mine\.toml: not valid TOML"):
        load(tmp_path, "rows = 8", "rows = 8\nrows = 9")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml: cannot be read \(No such file"):
        load_accelerator(tmp_path / "none.toml")
    with pytest.raises(HwqError, match="cannot be read"):
        load_accelerator("no/such/accelerator")


def test_a_binary_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"weights\.safetensors: not a text file"):
        load_accelerator(Path(path))
