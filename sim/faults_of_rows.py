"""Faults of the units of several values in or out; see `hwq.sim.fault`.

The numbers of intermediate signals are those that Yosys gives: after a change of a unit its
faults may have to be found again, which the check of their number of occurrences says.
"""

from collections.abc import Mapping

from hwq.sim.fault import Fault

OF_ROWS: Mapping[tuple[str, str], tuple[Fault, ...]] = {
    ("range_extract", "channels5"): (
        Fault("least of a token kept", "$signal  = $4  ?", "$signal  = $signal$17  ?"),
        Fault(
            "comparison without sign",
            "$3  = $signed($signal$18 ) < $signed($signature__data [15:0]);",
            "$3  = $signal$18  < $signature__data [15:0];",
        ),
        Fault("first token does not open", "$23  = ! token;", "$23  = 1'h0;"),
        Fault("first chunk does not open", "$25  = ! chunk;", "$25  = 1'h0;"),
        Fault("channels counted one too far", "== 3'h4;", "== 3'h5;"),
        Fault("last chunk one early", "$26  = chunk == 2'h3;", "$26  = chunk == 2'h2;"),
        Fault("tokens counted one short", "$19  = token == 2'h2;", "$19  = token == 2'h1;"),
        Fault(
            "sum written twice",
            "sums_write__en = $12  & ready;",
            "sums_write__en = $12 ;",
            equivalent="the sum is read once, before: writing the same value again is no change",
        ),
        Fault(
            "operands swapped",
            "$signed(high) - $signed($signal );",
            "$signed($signal ) - $signed(high);",
        ),
        Fault("output not held", "$7  | o__ready;", "1'h1;"),
        Fault("inner ready ignored", "$2  | ready;", "1'h1;"),
        Fault("counters move without valid", "$13  = i__valid & i__ready;", "$13  = i__ready;"),
    ),
    ("scale_predictor", "degree1"): (
        Fault("reciprocal without sign change", "negate ? $1  :", "1'h0 ? $1  :"),
        Fault("scale sent once", "\\i__ready$38  & negate;", "\\i__ready$38 ;"),
        Fault("limit off by one", "20'h01000", "20'h00fff", module="corrections"),
        Fault(
            "no saturation below",
            "$19  ? 20'hff000 : $signal$22 ;",
            "$signal$22 ;",
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
        Fault("ready ignored", "$4  | o__ready;", "1'h1;", module="projection"),
    ),
    ("softmax", "length5_lanes1"): (
        Fault(
            "greatest without sign",
            "$9  = $signed($like ) > $signed(i__payload);",
            "$9  = $like  > i__payload;",
            module="highest",
        ),
        Fault(
            "greatest of the last row kept",
            "$signal  ? i__payload : $10 ;",
            "$10 ;",
            module="highest",
        ),
        Fault("row one word long", "word == 3'h4;", "word == 3'h5;", module="highest", count=3),
        Fault(
            "scores released early", "$7  = word == 3'h4;", "$7  = word == 3'h3;", module="scores"
        ),
        Fault("powers released early", "$7  = word == 3'h4;", "$7  = word == 3'h3;", module="kept"),
        Fault(
            "operands swapped",
            "$signed(\\port$897$0 [6:0]) - $signed(\\port$897$0 [13:7])",
            "$signed(\\port$897$0 [13:7]) - $signed(\\port$897$0 [6:0])",
            module="powers.lane_0",
        ),
        Fault("shift saturates one late", "> 5'h1f;", "> 6'h20;", module="powers.lane_0"),
        Fault(
            "rounding of the result dropped",
            "shifted_0 + 1'h1;",
            "shifted_0 + 1'h0;",
            module="scale",
            count=2,
        ),
        Fault("no saturation", "$9  ? 19'h0ffff : $11 ;", "$11 ;", module="scale"),
        Fault(
            "queue one too deep",
            "inner_level != 5'h1c;",
            "inner_level != 5'h1d;",
            module="kept.queue",
        ),
        Fault("output not held", "$3  | o__ready;", "1'h1;", module="scale"),
    ),
    ("layer_norm", "length5_lanes1"): (
        Fault(
            "squares without sign",
            "$2  = $signed(\\i__payload$24 ) * $signed(\\i__payload$24 );",
            "$2  = \\i__payload$24  * \\i__payload$24 ;",
            module="sums",
        ),
        Fault("mean off by one", "$signed(4'h5) *", "$signed(4'h4) *", module="affine.lane_0"),
        Fault(
            "operands swapped",
            "$signed($1 ) - $signed(\\port$1211$0 [34:16]);",
            "$signed(\\port$1211$0 [34:16]) - $signed($1 );",
            module="affine.lane_0",
        ),
        Fault(
            "rounding dropped",
            "$signed($signal ) + $signed(2'h1);",
            "$signed($signal ) + $signed(2'h0);",
            module="affine.lane_0",
        ),
        Fault(
            "logical shift",
            "$signed(product) >>> pair;",
            "product >> pair;",
            module="affine.lane_0",
            equivalent="pair is at most 17, so the 20 bits that are kept lie below the sign",
        ),
        Fault(
            "no saturation above", "$10  ? 36'h0000007ff : $12 ;", "$12 ;", module="affine.lane_0"
        ),
        Fault(
            "no saturation below",
            "$11  ? 36'hffffff800 : value;",
            "value;",
            module="affine.lane_0",
        ),
        Fault("epsilon off by one", "$signed(3'h3);", "$signed(3'h2);", module="deviation"),
        Fault(
            "row one word long", "$5  = word == 3'h4;", "$5  = word == 3'h5;", module="sums.total"
        ),
        Fault(
            "parameters counted one short",
            "$9  = $signature__addr  == 3'h4;",
            "$9  = $signature__addr  == 3'h3;",
            module="affine",
        ),
        Fault(
            "tokens released early", "$7  = word == 3'h4;", "$7  = word == 3'h3;", module="tokens"
        ),
        Fault(
            "squares of the last row kept",
            "$signal  ? { 3'h0, i__payload } : $9 ;",
            "$9 ;",
            module="sums.squares",
        ),
        Fault("output not held", "$7  | o__ready;", "1'h1;", module="affine"),
    ),
}
"""Stem and label of the case -> its faults."""
