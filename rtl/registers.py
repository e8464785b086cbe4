"""A page about an accelerator's ports, records of commands and buffers, from its layouts."""

from collections.abc import Iterator, Sequence
from enum import EnumMeta
from typing import Any, Final

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data, wiring

from hwq.plan.timing import FETCH_CYCLES, TRANSFER_WORDS, WORK_WORDS
from hwq.rtl.accelerator import ELEMENT_BITS, AcceleratorGateware
from hwq.rtl.affine import PARAMETERS
from hwq.rtl.epilogue import SCALING
from hwq.rtl.field_meanings import meaning
from hwq.rtl.sequencer import WORD_BITS

PORT_MEANINGS: Final = {
    "clk": "clock; everything happens at its rising edge",
    "rst": "reset, active high, synchronous",
    "start": "begins a run with the first record, while `busy` is low",
    "busy": "a run goes on; when it falls, the results are in the DRAM",
    "slot": "slots that have begun in this run",
    "work__address": "word of the memory of work records that is asked for",
    "work__word": "that word, in the cycle after its address",
    "transfers__address": "word of the memory of transfer records that is asked for",
    "transfers__word": "that word, in the cycle after its address",
    "request__payload": "a beat that is asked for, or stored; see below",
    "request__valid": "there is a request; it stays, unchanged, until it is taken",
    "request__ready": "the DRAM takes the request in this cycle",
    "response__payload": "a beat that was asked for",
    "response__valid": "there is a beat; it is always taken, in this cycle",
}
_PROTOCOL: Final = """
Hold `rst` high for a cycle or more, then `start` high for one cycle. Both memories of commands are
read like a synchronous memory without an enable: the word of this cycle's address is there in the
next cycle. They may be written while `busy` is low.

The DRAM takes a request in every cycle in which `request__valid` and `request__ready` are high. A
load is answered by one beat, later than its request by one cycle or any number of cycles; answers
come in the order of the requests, at most one a cycle, and cannot be held back. A store is not
answered; a load that is taken in a later cycle must see it. Addresses count beats.
"""
_RECORDS: Final = """
A run is a list of slots. In a slot one unit computes, while the DMA makes the slot's transfers one
after another; the next slot begins when both are done. There is a work record for every slot,
{work} words of {bits} bits, and a transfer record for every transfer, {transfer} words, both in
order of time from word 0 on; bit b of a record is bit b % {bits} of its word b / {bits}. What a
record's unit does not use is 0. The next record is fetched in as many cycles as it has words, and
{fetch} more, while the one before is at work.

`base`, and `count` and `stride` of loops, give addresses: `base` plus, for each loop, a number of
strides that is below its count. Loop 0 is the innermost. Results come in the same order.
"""
_BUFFERS: Final = """
A granule is {lanes} bits: one bit of each lane. Addresses of the activation and the weight buffer
count granules; granule g begins at bit {lanes} * g. A lane word, {lanes} neighbouring elements of
any number of bits, the first one lowest, begins at any granule. A beat is {beat} bits, which is
{ratio} granules, so a transfer's addresses of these buffers are multiples of {ratio}.

Addresses of the parameter memory in a transfer are (word << {shift}) + beat of the word; a word is
{parameter_beats} beats, {room} bits a lane. In the low bits of a lane's room are, for a product,
{scaling}; for a layer normalisation {affine} (the first bit of each, its bits, s with a sign).
"""


def leaves(shape: ShapeLike, prefix: str = "", low: int = 0) -> Iterator[tuple[str, int, Any]]:
    """Yield name, lowest bit and shape of every field of a layout that has no fields of its own."""
    if not isinstance(shape, data.Layout):
        yield prefix, low, shape
        return
    for key, member in shape:
        name = f"{prefix}[{key}]" if isinstance(key, int) else f"{prefix}.{key}".lstrip(".")
        yield from leaves(member.shape, name, low + member.offset)


def registers_page(gateware: AcceleratorGateware) -> str:
    """Return the page, in Markdown."""
    parts = [
        f"# accelerator {gateware.machine.name}: ports, records, buffers\n",
        "## Ports\n",
        _ports(gateware),
        _PROTOCOL,
        "`request__payload`:\n",
        _table(("field", "first bit", "bits"), _request(gateware)),
        "\n## Records",
        _RECORDS.format(
            work=WORK_WORDS, transfer=TRANSFER_WORDS, bits=WORD_BITS, fetch=FETCH_CYCLES
        ),
        f"### work: {gateware.work_layout.size} bits in {WORK_WORDS} words\n",
        _record(gateware.work_layout),
        f"\n### transfers: {gateware.transfer_layout.size} bits in {TRANSFER_WORDS} words\n",
        _record(gateware.transfer_layout),
        "\n## Buffers\n",
        _buffers(gateware),
    ]
    return "\n".join(parts)


def port_list(gateware: AcceleratorGateware) -> list[tuple[str, str, int]]:
    """Return name, direction and bits of every port, clock and reset included."""
    ports = [("clk", "input", 1), ("rst", "input", 1)]
    for path, member, port in gateware.signature.flatten(gateware):
        name = "__".join(map(str, path))
        if name in PORT_MEANINGS:  # not the response's ready, which is constant
            side = "input" if member.flow == wiring.In else "output"
            ports.append((name, side, Shape.cast(port.shape()).width))
    return ports


def _ports(gateware: AcceleratorGateware) -> str:
    rows = [
        (f"`{name}`", side, bits, PORT_MEANINGS[name]) for name, side, bits in port_list(gateware)
    ]
    return _table(("port", "direction", "bits", "meaning"), rows)


def _request(gateware: AcceleratorGateware) -> list[tuple[Any, ...]]:
    layout = gateware.signature.members["request"].signature.members["payload"].shape
    return [(f"`{name}`", low, Shape.cast(shape).width) for name, low, shape in leaves(layout)]


def _record(layout: data.StructLayout) -> str:
    rows = []
    for name, low, shape in leaves(layout):
        plain = Shape.cast(shape)
        text = meaning(name)
        if isinstance(shape, EnumMeta):
            choices: Any = shape
            text += ": " + ", ".join(f"{one.value} {one.name.lower()}" for one in choices)
        rows.append((f"`{name}`", low, plain.width, "yes" if plain.signed else "", text))
    return _table(("field", "first bit", "bits", "signed", "meaning"), rows)


def _buffers(gateware: AcceleratorGateware) -> str:
    activation, weight, parameters = gateware.activation, gateware.weight, gateware.parameters
    lanes, core = activation.lanes, gateware.product.core.spec
    rows = [
        ("activation", activation.depth, activation.word_bits, f"elements of 1..{ELEMENT_BITS}"),
        ("weight", weight.depth, weight.word_bits, f"elements of 1..{weight.max_bits}"),
        ("parameter", parameters.depth, parameters.beats * parameters.beat_bits, "channels"),
        ("output", core.result_depth // 2, 2 * lanes * 32, "sums of 32 bits, in two planes"),
    ]
    sized = [(name, depth * bits / 8192, depth, bits, text) for name, depth, bits, text in rows]
    names = {
        name: ", ".join(
            f"{field} {low}: {Shape.cast(shape).width}{'s' * Shape.cast(shape).signed}"
            for field, low, shape in leaves(layout)
        )
        for name, layout in _parameter_layouts()
    }
    text = _BUFFERS.format(
        lanes=lanes,
        beat=activation.word_bits,
        ratio=activation.ratio,
        shift=parameters.word_shift,
        parameter_beats=parameters.beats,
        room=parameters.beats * parameters.beat_bits // lanes,
        **names,
    )
    heads = ("buffer", "KiB", "words", "bits of a word", "holds")
    return _table(heads, [(n, f"{kib:g}", *rest) for n, kib, *rest in sized]) + text


def _parameter_layouts() -> Sequence[tuple[str, data.StructLayout]]:
    """Return what a product, and what a layer normalisation, has of each channel."""
    return ("scaling", SCALING), ("affine", PARAMETERS)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
