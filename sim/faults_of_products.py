"""Faults of the units beside matrix products; see `hwq.sim.fault`."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_ADD = (
    Fault("no saturation above", "$A  ? 9'h07f : $B ;", "$B ;"),
    Fault("no saturation below", "$A  ? 9'h180 : total;", "total;"),
    Fault("saturation one late", "> $signed(8'h7f);", "> $signed(9'h080);"),
    Fault("lower end off by one", "9'h180 :", "9'h181 :"),
    Fault(
        "operand without sign", "$signed(i__payload[15:8])", "$signed({ 1'h0, i__payload[15:8] })"
    ),
    Fault("operand added to itself", "$signed(i__payload[7:0]) +", "$signed(i__payload[15:8]) +"),
    Fault("ready of the receiver ignored", "$A  | o__ready;", "1'h1;"),
    Fault("a full register takes nothing", "$A  | o__ready;", "$A ;"),
    Fault(
        "payload loaded while waiting",
        "$A  = o__payload;",
        "$A  = $B [7:0];",
        given="$B  = $C  ? 9'h07f : $D ;",
    ),
    Fault("valid not reset", "$A  = 1'h0;", "$A  = o__valid;"),
)

_MUL = (
    Fault("no saturation above", "$A  ? 16'h007f : $B ;", "$B ;"),
    Fault("no saturation below", "$A  ? 16'hff80 : wide;", "wide;"),
    Fault("saturation one late", "> $signed(8'h7f);", "> $signed(9'h080);"),
    Fault("lower end off by one", "16'hff80 :", "16'hff81 :"),
    Fault(
        "operand without sign", "$signed(i__payload[15:8])", "$signed({ 1'h0, i__payload[15:8] })"
    ),
    Fault("square of an operand", "* $signed(i__payload[15:8])", "* $signed(i__payload[7:0])"),
    Fault("not rounded", "$signed(2'h1)", "$signed(2'h0)"),
    Fault("sign of the quotient lost", "{ $A [16], $A [16], $A", "{ 1'h0, $A [16], $A"),
    Fault(
        "product loaded while waiting",
        "$A  = product;",
        "$A  = $B ;",
        given="$B  = $signed(i__payload[7:0]) * $signed(i__payload[15:8]);",
    ),
    Fault(
        "quotient loaded while waiting",
        "$A  = wide;",
        "$A  = $B [15:0];",
        given="$B  = { $C [17], $C [17:1] };",
    ),
    Fault(
        "payload loaded while waiting",
        "$A  = o__payload;",
        "$A  = $B [7:0];",
        given="$B  = $C  ? 16'h007f : $D ;",
    ),
    Fault("ready of the receiver ignored", "$A  | o__ready;", "1'h1;"),
    Fault("ready of the second register ignored", "$A  | load_2;", "1'h1;"),
    Fault("valid not reset", "$A  = 1'h0;", "$A  = o__valid;", count=3, nth=3),
)

OF_PRODUCTS: Mapping[tuple[str, str], tuple[Fault, ...]] = {
    ("add", "signed8"): _ADD,
    ("mul", "bits8"): _MUL,
    ("mul", "unsigned"): (Fault("shifted one too far", "$A [32:17]", "$A [32:18]"),),
    ("add", "unsigned7"): (
        Fault("no saturation", "$A  ? 8'h7f : total;", "total;"),
        Fault("saturation one late", "> 7'h7f;", "> 8'h80;"),
    ),
    ("mean", "unsigned"): (
        Fault("number taken as signed", "$signed({ 1'h0, i__payload });", "$signed(i__payload);"),
        Fault(
            "sum of the last mean kept", "$A  ? 19'h00000 : \\i__payload$B ;", "\\i__payload$B ;"
        ),
        Fault("sum begins one number late", "$A  = ! number;", "$A  = number == 1'h1;"),
        Fault("counted one short", "number == 2'h2;", "number == 2'h1;", count=2),
        Fault("counted one too far", "number == 2'h2;", "number == 2'h3;", count=2),
        Fault(
            "mean leaves one number early",
            "$A  = number == 2'h2;",
            "$A  = number == 2'h1;",
            count=2,
            nth=2,
        ),
        Fault("counts without valid", "$A  = i__ready & i__valid;", "$A  = i__ready;"),
        Fault("counts while refusing", "$A  = i__ready & i__valid;", "$A  = i__valid;"),
        Fault("partial sums leave", "valid_1 & last;", "valid_1;"),
        Fault("sum overwritten while waiting", "\\i__ready$A  | $B ;", "1'h1;"),
        Fault("number not reset", "$A  = 2'h0;", "$A  = number;"),
        Fault(
            "sum not reset",
            "$A  = 19'h00000;",
            "$A  = \\i__payload$B ;",
            equivalent="the first number after a reset replaces the sum, and none leaves before it",
            given="$B  = number;",
        ),
    ),
    ("mean", "tokens49"): (
        Fault(
            "highest bit of the sum lost",
            "$A  = $B [21:0];",
            "$A  = { $B [20], $B [20:0] };",
        ),
        Fault("multiplier off by one", "17'h0a72f)", "17'h0a72e)", module="requantize"),
    ),
    ("mean", "tokens64"): (
        Fault("rounding dropped", "27'h4000000;", "27'h0000000;", module="requantize"),
        Fault("no saturation above", "$A  ? 11'h07f : $B ;", "$B ;", module="requantize"),
        Fault("no saturation below", "$A  ? 11'h780 : wide;", "wide;", module="requantize"),
    ),
    ("outlier_split", "tokens"): (
        Fault("threshold off by one", "> $signed(13'h09c4);", "> $signed(13'h09c5);"),
        Fault("lower threshold is an outlier", "< $signed(13'h163c);", "<= $signed(13'h163c);"),
        Fault("rounding dropped", "$signed(2'h1);", "$signed(2'h0);"),
        Fault("shift of the next element", ">>> $like ;", ">>> read__data[21:16];"),
        Fault("zero point added to side values", "outlier ? 3'h0 : 3'h7;", "3'h7;"),
        Fault("outlier one element early", "outlier_3 ? 33'h000000007", "outlier ? 33'h000000007"),
        Fault("side value of every element", "outlier_3 ? $A  : 33'h000000000;", "$A ;"),
        Fault("code saturates one late", "> $signed(5'h0f);", "> $signed(6'h10);"),
        Fault("no saturation of side values below", "$A  ? 33'h1ffff8000 : $like$B ;", "$like$B ;"),
        Fault("channels counted one short", "channel == 3'h4;", "channel == 3'h3;", count=2),
        Fault("tokens counted one too far", "read__addr == 3'h6;", "read__addr == 3'h7;"),
        Fault("channels counted while refusing", "$A  = i__valid & i__ready;", "$A  = i__valid;"),
        Fault(
            "table read while waiting",
            "if (i__ready) begin\n      _0_ <=",
            "if (1'h1) begin\n      _0_ <=",
        ),
        Fault("channel not reset", "$A  = 3'h0;", "$A  = channel;", count=2, nth=1),
        Fault("ready of the receiver ignored", "$A  | o__ready;", "1'h1;"),
    ),
    ("outlier_split", "least_is_outlier"): (
        Fault("lowest element no outlier", "< $signed(16'h8001);", "< $signed(16'h8000);"),
    ),
    ("outlier_split", "far_outliers"): (
        Fault(
            "highest bit of the product lost",
            "{ product, 1'h0 };",
            "{ {2{product[34]}}, product[34:0], 1'h0 };",
        ),
    ),
    ("outlier_join", "table"): (
        Fault(
            "correction without sign",
            "$signed($signature__data );",
            "$signed({ 1'h0, $signature__data  });",
        ),
        Fault(
            "operands swapped",
            "$signed(i__payload[47:32]) * $signed(i__payload[55:48]);",
            "$signed(i__payload[55:40]) * $signed(i__payload[39:32]);",
        ),
        Fault(
            "sum of the last column kept",
            "$A  = $signal$B  ? { $C [33], $C  } : sum_so_far;",
            "$A  = sum_so_far;",
        ),
        Fault(
            "begin not reset",
            "$A  = 1'h1;",
            "$A  = $signal$B ;",
            given="$C  = $signal$B  ? { $D [33], $D  } : sum_so_far;",
        ),
        Fault(
            "begin without valid",
            "if (valid_1) begin\n        $A",
            "if (1'h1) begin\n        $A",
            count=2,
            nth=1,
        ),
        Fault(
            "sum without valid",
            "if (valid_1) begin\n        $A",
            "if (1'h1) begin\n        $A",
            count=2,
            nth=2,
        ),
        Fault("partial sums leave", "$A  = valid_2 & $signal ;", "$A  = valid_2;"),
        Fault(
            "columns counted one short",
            "$signature__addr  == 3'h4;",
            "$signature__addr  == 3'h3;",
            count=2,
        ),
        Fault("columns counted by terms", "$A  = $B  & i__payload[56];", "$A  = $B ;"),
        Fault("columns counted while refusing", "$A  = i__valid & i__ready;", "$A  = i__valid;"),
        Fault(
            "next token one column early",
            "$A  = $signature__addr  == 3'h4;",
            "$A  = $signature__addr  == 3'h3;",
            count=2,
            nth=2,
        ),
        Fault(
            "factor of the next term",
            "$signed({ 1'h0, factor });",
            "$signed({ 1'h0, row_mult__data });",
        ),
        Fault("token not reset", "$A  = 2'h0;", "$A  = row_mult__addr;"),
        Fault("sum overwritten while waiting", "\\load_1$A  | $B ;", "1'h1;"),
        Fault("output not held", "$A  | o__ready;", "1'h1;"),
    ),
    ("outlier_join", "many_outliers"): (
        Fault("highest bit of the sum lost", "sum_so_far[33:17]) *", "sum_so_far[32:17]) *"),
    ),
}
"""Stem and label of the case -> its faults."""
