"""Faults of the units beside matrix products; see `hwq.sim.fault`.

The numbers of intermediate signals are those that Yosys gives: after a change of a unit its
faults may have to be found again, which the check of their number of occurrences says.
"""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_ADD = (
    Fault("no saturation above", "$2  ? 9'h07f : $4 ;", "$4 ;"),
    Fault("no saturation below", "$3  ? 9'h180 : total;", "total;"),
    Fault("saturation one late", "> $signed(8'h7f);", "> $signed(9'h080);"),
    Fault("lower end off by one", "9'h180 :", "9'h181 :"),
    Fault(
        "operand without sign", "$signed(i__payload[15:8])", "$signed({ 1'h0, i__payload[15:8] })"
    ),
    Fault("operand added to itself", "$signed(i__payload[7:0]) +", "$signed(i__payload[15:8]) +"),
    Fault("ready of the receiver ignored", "$1  | o__ready;", "1'h1;"),
    Fault("a full register takes nothing", "$1  | o__ready;", "$1 ;"),
    Fault("payload loaded while waiting", "$7  = o__payload;", "$7  = $5 [7:0];"),
    Fault("valid not reset", "$6  = 1'h0;", "$6  = o__valid;"),
)

_MUL = (
    Fault("no saturation above", "$9  ? 16'h007f : $11 ;", "$11 ;"),
    Fault("no saturation below", "$10  ? 16'hff80 : wide;", "wide;"),
    Fault("saturation one late", "> $signed(8'h7f);", "> $signed(9'h080);"),
    Fault("lower end off by one", "16'hff80 :", "16'hff81 :"),
    Fault(
        "operand without sign", "$signed(i__payload[15:8])", "$signed({ 1'h0, i__payload[15:8] })"
    ),
    Fault("square of an operand", "* $signed(i__payload[15:8])", "* $signed(i__payload[7:0])"),
    Fault("not rounded", "$signed(2'h1)", "$signed(2'h0)"),
    Fault("sign of the quotient lost", "{ $5 [16], $5 [16], $5", "{ 1'h0, $5 [16], $5"),
    Fault("product loaded while waiting", "$16  = product;", "$16  = $4 ;"),
    Fault("quotient loaded while waiting", "$17  = wide;", "$17  = $8 [15:0];"),
    Fault("payload loaded while waiting", "$18  = o__payload;", "$18  = $12 [7:0];"),
    Fault("ready of the receiver ignored", "$3  | o__ready;", "1'h1;"),
    Fault("ready of the second register ignored", "$1  | load_2;", "1'h1;"),
    Fault("valid not reset", "$15  = 1'h0;", "$15  = o__valid;"),
)

OF_PRODUCTS: Mapping[tuple[str, str], tuple[Fault, ...]] = {
    ("add", "signed8"): _ADD,
    ("mul", "bits8"): _MUL,
    ("mul", "unsigned"): (Fault("shifted one too far", "$5 [32:17]", "$5 [32:18]"),),
    ("add", "unsigned7"): (
        Fault("no saturation", "$2  ? 8'h7f : total;", "total;"),
        Fault("saturation one late", "> 7'h7f;", "> 8'h80;"),
    ),
    ("mean", "unsigned"): (
        Fault("number taken as signed", "$signed({ 1'h0, i__payload });", "$signed(i__payload);"),
        Fault(
            "sum of the last mean kept", "$4  ? 19'h00000 : \\i__payload$13 ;", "\\i__payload$13 ;"
        ),
        Fault("sum begins one number late", "$4  = ! number;", "$4  = number == 1'h1;"),
        Fault("counted one short", "number == 2'h2;", "number == 2'h1;", count=2),
        Fault("counted one too far", "number == 2'h2;", "number == 2'h3;", count=2),
        Fault("mean leaves one number early", "$10  = number == 2'h2;", "$10  = number == 2'h1;"),
        Fault("counts without valid", "$3  = i__ready & i__valid;", "$3  = i__ready;"),
        Fault("counts while refusing", "$3  = i__ready & i__valid;", "$3  = i__valid;"),
        Fault("partial sums leave", "valid_1 & last;", "valid_1;"),
        Fault("sum overwritten while waiting", "\\i__ready$15  | $2 ;", "1'h1;"),
        Fault("number not reset", "$13  = 2'h0;", "$13  = number;"),
        Fault(
            "sum not reset",
            "$12  = 19'h00000;",
            "$12  = \\i__payload$13 ;",
            equivalent="the first number after a reset replaces the sum, and none leaves before it",
        ),
    ),
    ("mean", "tokens49"): (
        Fault(
            "highest bit of the sum lost",
            "$12  = $6 [21:0];",
            "$12  = { $6 [20], $6 [20:0] };",
        ),
        Fault("multiplier off by one", "17'h0a72f)", "17'h0a72e)", module="requantize"),
    ),
    ("mean", "tokens64"): (
        Fault("rounding dropped", "$signed(2'h1);", "$signed(2'h0);", module="requantize"),
        Fault("no saturation above", "$10  ? 11'h07f : $12 ;", "$12 ;", module="requantize"),
        Fault("no saturation below", "$11  ? 11'h780 : wide;", "wide;", module="requantize"),
    ),
    ("outlier_split", "tokens"): (
        Fault("threshold off by one", "> $signed(13'h09c4);", "> $signed(13'h09c5);"),
        Fault("lower threshold is an outlier", "< $signed(13'h163c);", "<= $signed(13'h163c);"),
        Fault("rounding dropped", "$signed(2'h1);", "$signed(2'h0);"),
        Fault("shift of the next element", ">>> $like ;", ">>> read__data[21:16];"),
        Fault("zero point added to side values", "outlier ? 3'h0 : 3'h7;", "3'h7;"),
        Fault("outlier one element early", "outlier_3 ? 33'h000000007", "outlier ? 33'h000000007"),
        Fault("side value of every element", "outlier_3 ? $31  : 33'h000000000;", "$31 ;"),
        Fault("code saturates one late", "> $signed(5'h0f);", "> $signed(6'h10);"),
        Fault(
            "no saturation of side values below", "$29  ? 33'h1ffff8000 : $like$25 ;", "$like$25 ;"
        ),
        Fault("channels counted one short", "channel == 3'h4;", "channel == 3'h3;", count=2),
        Fault("tokens counted one too far", "read__addr == 3'h6;", "read__addr == 3'h7;"),
        Fault("channels counted while refusing", "$5  = i__valid & i__ready;", "$5  = i__valid;"),
        Fault(
            "table read while waiting",
            "if (i__ready) begin\n      _0_ <=",
            "if (1'h1) begin\n      _0_ <=",
        ),
        Fault("channel not reset", "$37  = 3'h0;", "$37  = channel;"),
        Fault("ready of the receiver ignored", "$4  | o__ready;", "1'h1;"),
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
            "$16  = $signal$27  ? { $15 [33], $15  } : total;",
            "$16  = total;",
        ),
        Fault("begin not reset", "$29  = 1'h1;", "$29  = $signal$27 ;"),
        Fault(
            "begin without valid", "if (valid_1) begin\n        $29", "if (1'h1) begin\n        $29"
        ),
        Fault(
            "sum without valid", "if (valid_1) begin\n        $30", "if (1'h1) begin\n        $30"
        ),
        Fault("partial sums leave", "$18  = valid_2 & $signal ;", "$18  = valid_2;"),
        Fault(
            "columns counted one short",
            "$signature__addr  == 3'h4;",
            "$signature__addr  == 3'h3;",
            count=2,
        ),
        Fault("columns counted by terms", "$6  = $5  & i__payload[56];", "$6  = $5 ;"),
        Fault("columns counted while refusing", "$5  = i__valid & i__ready;", "$5  = i__valid;"),
        Fault(
            "next token one column early",
            "$10  = $signature__addr  == 3'h4;",
            "$10  = $signature__addr  == 3'h3;",
        ),
        Fault(
            "factor of the next term",
            "$signed({ 1'h0, factor });",
            "$signed({ 1'h0, row_mult__data });",
        ),
        Fault("token not reset", "$23  = 2'h0;", "$23  = row_mult__addr;"),
        Fault("sum overwritten while waiting", "\\load_1$19  | $4 ;", "1'h1;"),
        Fault("output not held", "$3  | o__ready;", "1'h1;"),
    ),
    ("outlier_join", "many_outliers"): (
        Fault("highest bit of the sum lost", "$signed(total) *", "$signed(total[32:0]) *"),
    ),
}
"""Stem and label of the case -> its faults."""
