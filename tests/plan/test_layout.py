"""Layouts of tensors, against tensors that are stored row by row."""

from itertools import product

import numpy as np
import pytest

from hwq.arch.load import load_accelerator
from hwq.compiler.operand import Operand, Table
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.compiler.view import View
from hwq.errors import SpecError
from hwq.numerics.pe import MULTIPLY, PeSpec
from hwq.numerics.unit import Field
from hwq.numerics.units import UNITS
from hwq.plan.commands import home_addresses, memory_images
from hwq.plan.layout import Grid, Layout, stored_order
from hwq.plan.make_plan import make_plan
from hwq.plan.verify import verify
from tests.plan.machines import machine


def elements_of(view):
    """The element of a tensor, or its place in memory, at each index of a view."""
    found = np.full((), view.offset)
    for axis, count in enumerate(view.shape):
        found = found[..., np.newaxis] + view.places(axis, 0, count)
    return found


def rows_of(order):
    """The elements of a tensor, row by row as they are stored."""
    elements = elements_of(order)
    return elements.reshape(-1, elements.shape[-1])


def stored(order, grain):
    """The element at each place of a memory, -1 in the gaps: rows begin at multiples of `grain`."""
    rows = rows_of(order)
    length = rows.shape[1]
    memory = np.full((len(rows), -(-length // grain) * grain), -1)
    memory[:, :length] = rows
    return memory.ravel()


def test_a_quantum_is_the_shortest_run_of_whole_words_and_whole_beats():
    for lanes, beat, bits in product(range(1, 13), (8, 32, 48, 64, 256), range(1, 33)):
        quantum = next(n for n in range(lanes, lanes * beat + 1, lanes) if n * bits % beat == 0)
        assert Grid(lanes, beat).quantum(bits) == quantum


def test_words_of_parameters_are_whole_beats_and_hold_those_of_every_unit():
    widest = max(unit.parameter_bits for unit in UNITS.values())
    for lanes, beat in product(range(1, 40), (32, 64, 128, 256)):
        room = next(bits for bits in range(widest, widest + beat) if lanes * bits % beat == 0)
        grid = Grid(lanes, beat)
        assert grid.parameter_bits == room
        assert grid.quantum(room) == lanes


def test_only_constants_with_fields_are_parameters():
    grid, fields = Grid(4, 32), (Field("mult", 33),)
    assert grid.width(Operand("p", 8, 33, constant=True, fields=fields)) == grid.parameter_bits
    assert grid.width(Operand("p", 8, 33, fields=fields)) == 33  # made for each image
    assert grid.width(Operand("w", 8, 33, constant=True)) == 33


def test_the_grid_of_a_machine_has_its_lanes_and_the_words_of_its_weight_buffer():
    edge = load_accelerator("edge_16x16")
    assert Grid.of(edge) == (edge.vector_unit.lanes, edge.sram.weight.width_bits) == (16, 128)


ROWS = View.contiguous((6, 10))
IMAGE = View.contiguous((3, 4, 4))
PATCHES = IMAGE.reshape((3, 2, 2, 2, 2)).permute((1, 3, 0, 2, 4)).reshape((4, 12))
HEADS = ROWS.reshape((6, 2, 5)).permute((1, 0, 2))
TRANSPOSED = ROWS.permute((1, 0))

VIEWS = {
    "all": (ROWS, ROWS),
    "in one axis": (ROWS, View.contiguous((60,))),
    "in groups of rows": (ROWS, ROWS.reshape((3, 2, 10))),
    "two rows in one": (ROWS, ROWS.reshape((3, 20))),
    "some rows": (ROWS, ROWS.slice(0, 2, 5)),
    "some columns": (ROWS, ROWS.slice(1, 3, 9)),
    "a block": (ROWS, ROWS.slice(0, 1, 3).slice(1, 6, 10)),
    "one row": (ROWS, ROWS.select(0, 5)),
    "one column": (ROWS, ROWS.select(1, 9)),
    "the last element": (ROWS, View(59, ((),))),
    "every third of a row": (ROWS, View(0, (((6, 10),), ((4, 3),)))),
    "heads": (ROWS, HEADS),
    "one head": (ROWS, HEADS.select(0, 1)),
    "half rows": (ROWS, ROWS.reshape((12, 5))),
    "transposed": (ROWS, TRANSPOSED),
    "transposed heads": (ROWS, HEADS.permute((0, 2, 1))),
    "repeated": (ROWS, ROWS.select(0, 2).expand((7, 10))),
    "a stored transpose": (TRANSPOSED, TRANSPOSED),
    "a stored transpose, as it was": (TRANSPOSED, ROWS),
    "a stored transpose, some rows": (TRANSPOSED, ROWS.slice(0, 1, 4)),
    "patches": (PATCHES, PATCHES),
    "patches, one by one": (PATCHES, PATCHES.select(0, 2)),
    "patches, as an image": (PATCHES, IMAGE),
    "patches, as pixels": (PATCHES, View.contiguous((48,))),
    "one element": (View.contiguous((1, 1)), View(0, ((), ()))),
}


@pytest.mark.parametrize("grain", [1, 4, 7, 16])
@pytest.mark.parametrize(("order", "view"), VIEWS.values(), ids=VIEWS)
def test_a_view_leads_to_the_same_elements_in_memory(order, view, grain):
    memory, layout = stored(order, grain), Layout.of(order, grain)
    there = layout.view(view)
    assert layout.size == memory.size
    assert there.shape == view.shape
    assert there.last < memory.size
    np.testing.assert_array_equal(memory[elements_of(there)], elements_of(view))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View.contiguous((4, 15)), "4 elements 15 apart do not lie in nested strides"),
        (View.contiguous((15, 4)), "15 elements 4 apart do not lie in nested strides"),
        (View(0, (((3, 7),),)), "3 elements 7 apart do not lie in nested strides"),
        (View(0, (((7, 10),),)), "7 elements 10 apart do not lie in nested strides"),
        (View(0, (((12, 10),),)), "12 elements 10 apart do not lie in nested strides"),
        (View(8, (((4, 1),),)), "must not run into the next"),
        (View(5, (((2, 10),), ((6, 1),))), "must not run into the next"),
        (View(5, (((20, 1),),)), "must not run into the next"),
        (View(0, (((2, 6),), ((6, 1),))), "must not run into the next"),
        (View(40, (((3, 10),),)), "must not run into the next"),
        (View(60, ((),)), "must not run into the next"),
    ],
)
def test_a_view_across_rows_is_refused(view, message):
    with pytest.raises(SpecError, match=message):
        Layout.of(ROWS, 4).view(view)


def test_there_is_nothing_behind_a_single_element():
    with pytest.raises(SpecError, match="must not run into the next"):
        Layout.of(View.contiguous((1, 1)), 4).view(View(1, ((), ())))


def test_every_single_stride_leads_right_or_is_refused():
    rows, length = 3, 4
    order = View.contiguous((rows, length))
    memory, layout = stored(order, 3), Layout.of(order, 3)
    size = rows * length
    for offset, count, stride in product(range(size), range(1, size + 1), range(1, size + 1)):
        if offset + (count - 1) * stride >= size:
            continue
        view = View(offset, (((count, stride),) if count > 1 else (),))
        in_row = offset % length + (count - 1) * stride < length
        try:
            there = layout.view(view)
        except SpecError:
            assert not in_row and stride % length
            continue
        np.testing.assert_array_equal(memory[elements_of(there)], elements_of(view))


def operand(view, along=("rows", "length"), size=0, tensor="x"):
    return Operand(tensor, view.elements, 8, view=view, along=along, size=size)


def one_row(size):
    return np.arange(size).reshape(1, -1)


def test_what_is_written_lies_as_it_is_written():
    order = stored_order([operand(ROWS)], [operand(HEADS, ("count", "m", "k"))])
    np.testing.assert_array_equal(rows_of(order), np.arange(60).reshape(6, 10))


def test_what_is_written_whole_is_one_row():
    order = stored_order([operand(View.contiguous((60,)), ("all",))], [operand(ROWS)])
    np.testing.assert_array_equal(rows_of(order), one_row(60))
    half = operand(View.contiguous((30,)), ("all",), size=60)
    np.testing.assert_array_equal(rows_of(stored_order([half], [])), one_row(60))


def test_what_two_layers_write_has_the_rows_of_the_first():
    writers = [operand(ROWS.slice(0, 0, 1), size=60), operand(ROWS.slice(0, 1, 6), size=60)]
    np.testing.assert_array_equal(rows_of(stored_order(writers, [])), np.arange(60).reshape(6, 10))
    odd = [operand(View.contiguous((1, 7)), size=60)]
    np.testing.assert_array_equal(rows_of(stored_order(odd, [])), one_row(60))


def test_what_is_there_from_the_beginning_lies_as_it_is_read():
    b = operand(View(0, ((), *TRANSPOSED.axes)), ("count", "k", "n"))
    order = stored_order([], [b])
    np.testing.assert_array_equal(rows_of(order), np.arange(60).reshape(6, 10).T)
    order = stored_order([], [operand(PATCHES)])
    pixels = np.arange(48).reshape(3, 2, 2, 2, 2).transpose(1, 3, 0, 2, 4)
    np.testing.assert_array_equal(rows_of(order), pixels.reshape(4, 12))


def test_what_is_read_for_every_row_lies_once():
    parameters = operand(View.contiguous((10,)).expand((6, 10)))
    np.testing.assert_array_equal(rows_of(stored_order([], [parameters])), one_row(10))


def test_a_product_comes_before_other_readers():
    join = operand(ROWS, ("length", "all"))
    b = operand(View(0, ((), *TRANSPOSED.axes)), ("count", "k", "n"))
    for readers in ([join, b], [b, join]):
        order = stored_order([], readers)
        np.testing.assert_array_equal(rows_of(order), np.arange(60).reshape(6, 10).T)


@pytest.mark.parametrize(
    ("view", "size"),
    [
        (View(0, (((4, 2),), ((4, 1),))), 10),  # patches that overlap
        (View(0, (((4, 2),), ((4, 1),))), 16),
        (ROWS.slice(0, 0, 4), 60),  # a part
        (ROWS.slice(1, 0, 4), 60),
        (ROWS.slice(0, 2, 6), 60),  # not from the first element on
        (View.contiguous((1,)).expand((3, 1)), 1),  # nothing else comes
    ],
)
def test_what_is_not_read_exactly_once_has_no_rows(view, size):
    reader = Operand(
        "x", min(view.elements, size), 8, view=view, along=("rows", "length"), size=size
    )
    np.testing.assert_array_equal(rows_of(stored_order([], [reader])), one_row(size))


K, N = 70, 50


@pytest.mark.parametrize(
    ("kib", "memory", "pitch"),
    [((4, 1, 8), "dram", 64), ((4, 64, 8), "weight", 52)],  # 3 bits: 32 of them are whole beats
)
def test_constants_lie_as_they_are_read_and_come_back_from_their_homes(kib, memory, pitch):
    rng = np.random.default_rng(5)
    fields = Field("addend", 33), Field("mult", 16, signed=False)
    weight = rng.integers(-4, 4, (N, K)).astype(np.int8)
    table = Table(fields, (rng.integers(-(2**32), 2**32, N), rng.integers(0, 2**16, N)))
    transposed = View(0, ((), ((K, 1),), ((N, K),)))
    b = Operand("w", N * K, 3, True, "int8", view=transposed, along=("count", "k", "n"))
    acc = Operand("acc", 5 * N, 32)
    words = Operand("p", N, 49, True, fields=fields)
    layers = (
        MatmulLayer("fc", 5, N, K, 1, PeSpec(MULTIPLY, 8, 3), Operand("x", 5 * K, 8), b, acc),
        VectorLayer("r", "requantize", 5, N, (acc, words), Operand("y", 5 * N, 8), fused=True),
    )
    accelerator = machine(4, 4, kib)
    plan = make_plan(Program("p", layers), accelerator)
    verify(plan)
    contents = memory_images(plan, {"w": weight, "p": table})
    homes = {home.tensor: home for home in plan.homes}
    assert (homes["w"].memory, homes["p"].memory) == (memory, "dram")

    got = contents[memory].read(home_addresses(homes["w"]), 3, signed=True)
    np.testing.assert_array_equal(got, weight.ravel())
    got = contents["dram"].read_words(home_addresses(homes["p"]), fields)
    for values, part in zip(table.values, fields, strict=True):
        np.testing.assert_array_equal(got[part.name], values)

    rows = homes["w"].base + 3 * (pitch * np.arange(K)[:, np.newaxis] + np.arange(pitch))
    raw = contents[memory].read(rows, 3, signed=True)
    np.testing.assert_array_equal(raw[:, :N], weight.T)  # row by row of b[K][N]
    assert not raw[:-1, N:].any()
    room = Grid.of(accelerator).parameter_bits
    steps = home_addresses(homes["p"]) - homes["p"].base
    np.testing.assert_array_equal(steps, room * np.arange(N))


def test_what_heads_have_of_their_own_begins_at_words():
    heads = View(0, (((3, 1), (7, 0)), ((5, 0),)))
    reader = Operand("x", 3, 8, view=heads, along=("rows", "length"))
    layout = Layout.of(stored_order([], [reader]), 4)
    assert layout.view(heads) == View(0, (((3, 4), (7, 0)), ((5, 0),)))
    assert layout.size == 12
