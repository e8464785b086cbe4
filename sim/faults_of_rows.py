"""Faults of the units of several values in or out; see `hwq.sim.fault`."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

OF_ROWS: Mapping[tuple[str, str], tuple[Fault, ...]] = {
    ("range_extract", "channels5"): (
        Fault("least of the chunk before kept", "opens_2 | $A ;", "$A ;", count=2, nth=1),
        Fault(
            "comparison without sign",
            "$signed(x_2) < $signed(\\before [15:0]);",
            "x_2 < \\before [15:0];",
        ),
        Fault("first token does not open", "$A  = ! token;", "$A  = 1'h0;"),
        Fault("first chunk does not open", "$A  = ! chunk;", "$A  = 1'h0;"),
        Fault("channels counted one too far", "== 3'h4;", "== 3'h5;"),
        Fault(
            "last chunk one early", "$A  = chunk == 2'h3;", "$A  = chunk == 2'h2;", count=2, nth=2
        ),
        Fault(
            "tokens counted one short",
            "$A  = token == 2'h2;",
            "$A  = token == 2'h1;",
            count=3,
            nth=2,
        ),
        Fault(
            "sum written twice",
            "sums_write__en = $A  & ready;",
            "sums_write__en = $A ;",
            equivalent="the sum is read once, before: writing the same value again is no change",
        ),
        Fault(
            "operands swapped",
            "$signed(newest[31:16]) - $signed(newest[15:0]);",
            "$signed(newest[15:0]) - $signed(newest[31:16]);",
        ),
        Fault("output not held", "$A  | o__ready;", "1'h1;"),
        Fault("inner ready ignored", "$A  | ready;", "1'h1;"),
        Fault("counters move without valid", "$A  = i__valid & i__ready;", "$A  = i__ready;"),
    ),
    ("scale_predictor", "degree1"): (
        Fault("reciprocal without sign change", "negate ? $A  :", "1'h0 ? $A  :"),
        Fault("scale sent once", "load_1 & negate;", "load_1;"),
        Fault("limit off by one", "20'h01000", "20'h00fff", module="corrections"),
        Fault(
            "no saturation below",
            "$A  ? 20'hff000 : sum_so_far;",
            "sum_so_far;",
            module="corrections",
        ),
        Fault(
            "biases not in turn", "bias__addr + 1'h1;", "bias__addr + 1'h0;", module="corrections"
        ),
        Fault(
            "rounding of the projection off by one",
            "24'h000040",
            "24'h00003f",
            module="projection",
            count=2,
        ),
        Fault("offset off by one", "12'h9d9)", "12'h9da)", module="projection"),
        Fault(
            "weight column counted one short",
            "weight__addr + 1'h1;",
            "weight__addr + 1'h0;",
            module="projection",
        ),
        Fault(
            "largest mantissa off by one",
            "19'h0ffff",
            "19'h0fffe",
            module="exp2",
            equivalent="16 bits of mantissa are reached by rounding up to 2**16 only",
        ),
        Fault("ready ignored", "$A  | o__ready;", "1'h1;", module="projection"),
    ),
    ("softmax", "length5_lanes1"): (
        Fault(
            "greatest without sign",
            "$A  = $signed($like ) > $signed(i__payload[6:0]);",
            "$A  = $like  > i__payload[6:0];",
            module="core.highest",
        ),
        Fault(
            "greatest of the last row kept",
            "$signal  ? i__payload[6:0] : $A ;",
            "$A ;",
            module="core.highest",
        ),
        Fault("row one word long", "word == 3'h4;", "word == 3'h5;"),
        Fault("last word not kept", "$signal  ? 2'h1 : 2'h3;", "2'h2;"),
        Fault(
            "greatest of the next row for the second word",
            "$A  & ended;",
            "$A ;",
            module="core.scores",
        ),
        Fault(
            "reciprocal of the next row for the second word",
            "$A  & ended;",
            "$A ;",
            module="core.kept",
        ),
        Fault(
            "operands swapped",
            "$signed(\\port$A$B [6:0]) - $signed(\\port$A$B [14:8])",
            "$signed(\\port$A$B [14:8]) - $signed(\\port$A$B [6:0])",
            module="core.powers.lane_0",
        ),
        Fault("shift saturates one late", "> 5'h1f;", "> 6'h20;", module="core.powers.lane_0"),
        Fault(
            "powers of unused lanes",
            "keep_9 ? $A  : 33'h000000000;",
            "$A ;",
            module="core.powers.lane_0",
            equivalent="one lane is always used; tests/rtl/test_softmax.py has others",
        ),
        Fault(
            "rounding of the result dropped",
            "shifted_0 + 1'h1;",
            "shifted_0 + 1'h0;",
            module="core.scale",
            count=2,
        ),
        Fault("no saturation", "$A  ? 19'h0ffff : $B ;", "$B ;", module="core.scale"),
        Fault(
            "what waits is overwritten",
            "$A  = ~ waits;",
            "$A  = 1'h1;",
            module="core.kept.spare",
        ),
        Fault(
            "queue one too deep",
            "inner_level != 5'h1d;",
            "inner_level != 5'h1e;",
            module="core.kept.queue",
        ),
        Fault("output not held", "$A  | o__ready;", "1'h1;", module="core.scale"),
    ),
    ("layer_norm", "length5_lanes1"): (
        Fault(
            "squares without sign",
            "$signed(\\i__payload$B [15:0]) * $signed(\\i__payload$B [15:0]);",
            "\\i__payload$B [15:0] * \\i__payload$B [15:0];",
            module="core.sums",
        ),
        Fault(
            "elements for their sum not taken",
            "$A  ? x_0 : 16'h0000;",
            "16'h0000;",
            module="core.sums",
        ),
        Fault(
            "mean off by one",
            "$signed({ 1'h0, settings[2:0] }) *",
            "$signed(4'h4) *",
            module="core.affine.lane_0",
        ),
        Fault(
            "operands swapped",
            "$signed(times) - $signed(total);",
            "$signed(total) - $signed(times);",
            module="core.affine.lane_0",
        ),
        Fault(
            "rounding dropped",
            "$signed($A [19:0]) + $signed(2'h1);",
            "$signed($A [19:0]) + $signed(2'h0);",
            module="core.affine.lane_0",
        ),
        Fault(
            "logical shift",
            "$signed($A ) >>> { pair[4:3], 3'h0 };",
            "$A  >> { pair[4:3], 3'h0 };",
            module="core.affine.lane_0",
            equivalent="pair is at most 17, so the 20 bits that are kept lie below the sign",
        ),
        Fault(
            "no saturation above",
            "$A  ? settings[34:23] : $B ;",
            "$B ;",
            module="core.affine.lane_0",
        ),
        Fault(
            "no saturation below",
            "$A  ? settings[22:11] : value[11:0];",
            "value[11:0];",
            module="core.affine.lane_0",
        ),
        Fault(
            "last shift off by one",
            "$signed(wide_far) >>> settings[8:6];",
            "$signed(wide_far) >>> (settings[8:6] ^ 3'h1);",
            module="core.affine.lane_0",
        ),
        Fault(
            "rounding constant doubled",
            "1'h1 << settings[10:6];",
            "2'h2 << settings[10:6];",
            module="core.affine",
        ),
        Fault(
            "epsilon off by one",
            "$signed({ 1'h0, \\port$A$B [4:3] });",
            "$signed({ 1'h0, \\port$A$B [4:3] ^ 2'h1 });",
            module="core.deviation",
        ),
        Fault("row one word long", "$signal  = word == 3'h4;", "$signal  = word == 3'h5;"),
        Fault(
            "parameters counted on",
            "last_4 ? 4'h0 : $A ;",
            "$A ;",
            module="core.affine",
        ),
        Fault(
            "deviation of the next token for the second word",
            "$A  & ended;",
            "$A ;",
            module="core.tokens",
        ),
        Fault(
            "squares of the last row kept",
            "$signal  ? { 3'h0, i__payload[30:0] } : $A ;",
            "$A ;",
            module="core.sums.squares",
        ),
        Fault("output not held", "$A  | o__ready;", "1'h1;", module="core.affine"),
    ),
}
"""Stem and label of the case -> its faults."""
