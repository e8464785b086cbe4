"""Faults of what fetches, moves and keeps in an accelerator; see `hwq.sim.accelerator_mutation`."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_SEQUENCER = (
    Fault("units not waited for", "$A  = idle & $B ;", "$A  = $B ;"),
    Fault("transfers not waited for", "$A  = idle & $B ;", "$A  = idle;"),
    Fault("slot ends with its first transfer", "done = $A  & $B ;", "done = $A ;"),
    Fault(
        "slot begins before its commands are there",
        "$A  = $B  & work__ready;",
        "$A  = $B ;",
        count=2,
        nth=1,
    ),
    Fault(
        "last slot shorter than its fetch",
        "$A  = $B  & work__ready;",
        "$A  = $B ;",
        count=2,
        nth=2,
    ),
    Fault("transfer for a slot that has none", "$A  = begins & {work__moves};", "$A  = begins;"),
    Fault("transfer begins before the last one ends", "$A  = $signal  & $B ;", "$A  = $signal ;"),
    Fault("transfer begins before it is there", "$A  = $B  & transfer__ready;", "$A  = $B ;"),
    Fault("every transfer is a slot's last", "$A  = ~ transfer__last;", "$A  = 1'h0;"),
    Fault("no transfer is a slot's last", "$A  = ~ transfer__last;", "$A  = 1'h1;"),
    Fault("never ends", "$A  = ended & done;", "$A  = 1'h0;"),
    Fault("ends before the last slot does", "$A  = ended & done;", "$A  = ended;"),
)

_FETCH_WORK = (
    Fault("one word short", "ready = received == 6'h20;", "ready = received == 6'h1f;"),
    Fault("word before it is there", "if (comes)", "if ($signal )", count=2),
    Fault("next record not fetched", "$A  = start | take;", "$A  = start;"),
    Fault("first record again and again", "if (start)", "if (start | take)"),
)

_FETCH_TRANSFERS = (
    Fault("one word short", "ready = received == 4'h8;", "ready = received == 4'h7;"),
    Fault(
        "words of a record turned",
        "$A  = { fetch__word, \\record$B [511:64] };",
        "$A  = { \\record$B [447:0], fetch__word };",
    ),
    Fault("one word too many", "$signal  = $signal$A  != 4'h8;", "$signal  = $signal$A  != 4'h9;"),
    Fault("address stays", "$A  = fetch__address + 1'h1;", "$A  = fetch__address + 1'h0;"),
)

_DMA = (
    Fault("beats asked for behind the last", "$A  = ~ asked_all;", "$A  = 1'h1;"),
    Fault("all asked for with the first", "$A  = $B  & \\last$C ;", "$A  = $B ;", "", 2, 2),
    Fault("store ends with its first word", "$A  = $B  & \\last$C ;", "$A  = $B ;", "", 2, 1),
    Fault(
        "load ends with its first word", "$A  = response__valid & last;", "$A  = response__valid;"
    ),
    Fault(
        "load ends a cycle early",
        "ends = after | $A ;",
        "ends = $C  | $A ;",
        given="$B  = $C ;",
    ),
    Fault(
        "ends of stores are those of loads",
        "$A  = ~ $signal$B ;",
        "$A  = 1'h1;",
        equivalent="no answer comes in a store: a load lasts until its last one",
    ),
    Fault(
        "address goes on before the beat is taken",
        "advance = request__valid & request__ready;",
        "advance = request__valid;",
    ),
    Fault(
        "words go where they are asked for",
        "\\advance$A  = $signal$B  ? reads : response__valid;",
        "\\advance$A  = $signal$B  ? reads : request__valid & request__ready;",
    ),
    Fault(
        "stores before there is a word",
        "$A  = $signal$B  ? r_rdy : $C ;",
        "$A  = $signal$B  ? 1'h1 : $C ;",
    ),
    Fault("word stays in the queue", "r_en = $A  & $signal$B ;", "r_en = 1'h0;"),
    Fault("more read than the queue holds", "$A  = promised != 4'h8;", "$A  = 1'h1;"),
    Fault("words that left are not counted", "$A  = $B  - $C ;", "$A  = $B ;"),
    Fault("reads on behind the last", "$A  = reads & last;", "$A  = 1'h0;"),
    Fault("all into the activation buffer", "$A  = command[2:1];", "$A  = 2'h0;"),
    Fault("store asks for a beat", "[28] = $signal$A ;", "[28] = 1'h0;"),
)

_READ_ACTIVATION = (
    Fault(
        "even row is that of the odd one",
        "$A  = read__0__address[13:3] + 1'h1;",
        "$A  = read__0__address[13:3] + 1'h0;",
    ),
    Fault(
        "banks not turned",
        "word_3 = \\after$A [3] ? { word_2[31:0], word_2[63:32] } : word_2;",
        "word_3 = word_2;",
    ),
    Fault(
        "granules not turned",
        "word_1 = \\after$A [1] ? { word_0[7:0], word_0[63:8] } : word_0;",
        "word_1 = word_0;",
    ),
    Fault("sign lost", "$A  = read__0__signed;", "$A  = 1'h0;"),
    Fault("every element of eight bits", "$A  = read__0__bits;", "$A  = 5'h08;"),
    Fault(
        "width one cycle early",
        "$A  = \\after$B ;",
        "$A  = read__0__bits;",
        "",
        3,
        2,
        equivalent="it stays for a command, whose last word is read long before the next begins",
    ),
)

_READ_STORED = (
    Fault(
        "even row is that of the odd one",
        "$A  = read__2__address[13:3] + 1'h1;",
        "$A  = read__2__address[13:3] + 1'h0;",
        equivalent="a whole word is in one bank, and the row of the other one does not matter",
    ),
    Fault(
        "banks not turned",
        "word_3 = \\after$A [3] ? { word_2[31:0], word_2[63:32] } : word_2;",
        "word_3 = word_2;",
    ),
)

_WRITE_COMPUTED = (
    Fault("all of two words written", "$A  = mask_3;", "$A  = 64'hffffffffffffffff;"),
    Fault("written whether it is to be", "if (write__0__enable)", "if (1'h1)", count=2),
    Fault(
        "even row is that of the odd one",
        "$A  = write__0__address[13:3] + 1'h1;",
        "$A  = write__0__address[13:3] + 1'h0;",
    ),
    Fault(
        "banks of the mask not turned",
        "mask_3 = after[3] ? { mask_2[31:0], mask_2[63:32] } : mask_2;",
        "mask_3 = mask_2;",
    ),
    Fault(
        "granules of a word not turned",
        "word_0 = after[0] ? { $signal [59:0], $signal [63:60] } : $signal ;",
        "word_0 = $signal ;",
    ),
    Fault(
        "odd row one cycle early", "$A  = \\after$B ;", "$A  = write__0__address[13:4];", "", 2, 2
    ),
)

_WRITE_LOADED = (
    Fault(
        "odd rows only",
        "mask_3 = after[3] ? { mask_2[31:0], mask_2[63:32] } : mask_2;",
        "mask_3 = { mask_2[31:0], mask_2[63:32] };",
    ),
)

_READ_WEIGHT = (
    Fault(
        "even row is that of the odd one",
        "$A  = read__0__address[11:3] + 1'h1;",
        "$A  = read__0__address[11:3] + 1'h0;",
    ),
    Fault("weights without sign", "$A  = read__0__signed;", "$A  = 1'h0;"),
)

_WRITE_WEIGHT = (
    Fault(
        "banks of a word not turned",
        "word_3 = after[3] ? { word_2[31:0], word_2[63:32] } : word_2;",
        "word_3 = word_2;",
    ),
)

_PARAMETERS = (
    Fault(
        "first beat is every beat",
        "moved_0 = write__enable & $A ;",
        "moved_0 = write__enable;",
    ),
    Fault(
        "third beat written with the fourth",
        "$A  = write__address[3:0] == 2'h2;",
        "$A  = write__address[3:0] == 2'h3;",
    ),
)


_INNER = Fault("loop 0 stays", "$A  = address + {walk.loops[0].stride};", "$A  = address;")


def _outer(loop: int) -> Fault:
    right = f"$A  = begin_{loop} + {{walk.loops[{loop}].stride}};"
    return Fault(f"loop {loop} stays", right, f"$A  = begin_{loop};", count=loop + 1)


_LOOPS = {
    "dma.memory_walk": 2,
    "dma.buffer_walk": 2,
    "product.a_walk": 3,
    "product.b_walk": 3,
    "results.y_walk": 2,
    "results.out_walk": 2,
    "vector.x_walk": 1,
    "vector.y_walk": 1,
    "vector.out_walk": 1,
}
"""Walk -> its loops that move in the networks."""

OF_MOVEMENT: Mapping[str, tuple[Fault, ...]] = {
    "sequencer": _SEQUENCER,
    "fetch_work": _FETCH_WORK,
    "fetch_transfers": _FETCH_TRANSFERS,
    "dma": _DMA,
    "activation.read_0": _READ_ACTIVATION,
    "activation.read_2": _READ_STORED,
    "activation.write_0": _WRITE_COMPUTED,
    "activation.write_1": _WRITE_LOADED,
    "weight.read_0": _READ_WEIGHT,
    "weight.write_0": _WRITE_WEIGHT,
    "parameters": _PARAMETERS,
    **{name: (_INNER, *map(_outer, range(1, loops))) for name, loops in _LOOPS.items()},
}
