"""Faults of the units of one value in, one value out; see `hwq.sim.fault`.

The numbers of intermediate signals are those that Yosys gives: after a change of a unit its
faults may have to be found again, which the check of their number of occurrences says.
"""

from collections.abc import Mapping

from hwq.sim.fault import LAST_READY, READY, Fault

_NO_LEAD = "without a leading one the level is above the largest as well"
_ALL_SENT = "all inputs were sent: "
_LOG2 = (
    Fault("leading one off by one", "lead = 4'h7;", "lead = 4'h6;", module="log2"),
    Fault("zero forgotten", "= ! x;", "= 1'h0;", module="log2", equivalent=_NO_LEAD),
    Fault("zero one cycle early", "= ! x;", "= ! i__payload;", module="log2"),
)

OF_VALUES: Mapping[tuple[str, str], tuple[Fault, ...]] = {
    ("log2", "base2_bits4"): (
        Fault("threshold off by one", ">= 16'hb505;", ">= 16'hb506;"),
        Fault("threshold not reached", ">= 16'hb505;", "> 16'hb505;"),
        Fault(
            "top code off by one",
            "level > 4'he;",
            "level > 4'hf;",
            equivalent="the code above the largest is the code of zero",
        ),
        Fault("zero forgotten", "= ! x;", "= 1'h0;", equivalent=_NO_LEAD),
        Fault("zero one cycle early", "= ! x;", "= ! i__payload;"),
        Fault("exponent off by one", "left + 1'h1;", "left + 1'h0;"),
        Fault("leading one off by one", "lead = 4'h7;", "lead = 4'h6;"),
        READY,
        LAST_READY,
        Fault("valid stuck at one", "$17  = valid_2;", "$17  = 1'h1;"),
        Fault("valid dropped while waiting", "$17  = o__valid;", "$17  = 1'h0;"),
        Fault("payload loaded while waiting", "$22  = o__payload;", "$22  = $14 [3:0];"),
        Fault("valid not reset", "$16  = 1'h0;", "$16  = valid_1;"),
        Fault("input valid ignored", "$15  = i__valid;", "$15  = 1'h1;"),
    ),
    ("horner", "degree2"): (
        Fault("rounding off by one", "13'h0800)", "13'h07ff)", module="step_1"),
        Fault("rounding dropped", "13'h0800)", "13'h0000)", module="step_2"),
        Fault("no saturation above", "$6  ? 34'h000007fff : $8 ;", "$8 ;", module="step_2"),
        Fault(
            "factor without sign",
            "$signed(i__payload[31:16])",
            "$signed({1'b0, i__payload[31:16]})",
            module="step_1",
        ),
        Fault("coefficient off by one", "13'h0f78)", "13'h0f79)", module="step_1"),
        Fault("factor one cycle late", "operand[31:16];", "i__payload[31:16];", "step_1", 2),
        Fault("ready ignored", "$1  | load_2;", "1'h1;", module="step_1"),
    ),
    ("horner", "degree1"): (
        Fault("no saturation below", "$7  ? 34'h3ffff8000 : total;", "total;", module="step_1"),
        Fault("lower end off by one", "34'h3ffff8000", "34'h3ffff8001", module="step_1"),
    ),
    ("exp2", "narrow"): (
        Fault("rounding dropped", "+ 10'h200;", "+ 10'h000;", count=2),
        Fault(
            "rounding of a step off by one",
            "+ 10'h200;",
            "+ 10'h1ff;",
            module="step_4",
            equivalent=_ALL_SENT + "the rounding of the mantissa hides the last bit of the step",
        ),
        Fault("coefficient off by one", "18'h20000;", "18'h20001;", module="step_4"),
        Fault("no saturation", "$4  ? 19'h000ff : $6 ;", "$6 ;"),
        Fault("largest mantissa off by one", "19'h000ff", "19'h000fe"),
        Fault("exponent one bit low", "i__payload[13:10];", "i__payload[12:9];"),
        Fault("ready ignored", "$2  | o__ready;", "1'h1;", module="step_2"),
        Fault("valid not reset", "$8  = 1'h0;", "$8  = o__valid;"),
    ),
    ("requantize", "acc32"): (
        Fault("rounding dropped", "+ $signed(2'h1);", "+ $signed(2'h0);"),
        Fault("multiplier off by one", "17'h0a3d7)", "17'h0a3d6)"),
        Fault("zero point off by one", "8'h71)", "8'h72)"),
        Fault("no saturation above", "$10  ? 24'h0000ff : $12 ;", "$12 ;"),
        Fault("no saturation below", "$11  ? 24'h000000 : wide;", "wide;"),
        Fault("upper end off by one", "> $signed(9'h0ff);", "> $signed(9'h100);"),
        Fault("operand without sign", "$signed(i__payload) *", "$signed({1'b0, i__payload}) *"),
        READY,
        LAST_READY,
    ),
    ("uniform", "signed"): (
        Fault("rounding dropped", "$signed(2'h1);", "$signed(2'h0);", module="requantize"),
        Fault("zero point off by one", "4'hb)", "4'ha)", module="requantize"),
        Fault("no saturation above", "$10  ? 9'h07f : $12 ;", "$12 ;", module="requantize"),
        Fault("no saturation below", "$11  ? 9'h180 : wide;", "wide;", module="requantize"),
        Fault("lower end off by one", "9'h180 :", "9'h181 :", module="requantize"),
        Fault("ready ignored", "$2  | load_3;", "1'h1;", module="requantize"),
    ),
    ("twin_uniform", "softmax_signed"): (
        Fault(
            "border of the ranges off by one",
            "$21  = $signed($like ) > $signed(4'h7);",
            "$21  = $signed($like ) > $signed(5'h08);",
        ),
        Fault("range of the sign dropped", "$5  = $signed(coarse) > $signed(1'h0);", "$5  = 1'h1;"),
        Fault("no saturation above", "$7  ? 33'h000000007 : $9 ;", "$9 ;"),
        Fault("no saturation below", "$8  ? 33'h000000000 : magnitude;", "magnitude;"),
        Fault(
            "rounding of the fine range dropped",
            "$15  = $signed($14 ) + $signed(2'h1);",
            "$15  = $signed($14 ) + $signed(2'h0);",
        ),
        Fault(
            "rounding of the coarse range dropped",
            "$19  = $signed($18 ) + $signed(2'h1);",
            "$19  = $signed($18 ) + $signed(2'h0);",
        ),
        Fault("ranges swapped", "$6  ? coarse : $like ;", "$6  ? $like  : coarse;"),
        READY,
        LAST_READY,
    ),
    ("shift_log2", "offset"): (
        Fault("shift off by one", "+ $signed(12'h571);", "+ $signed(12'h570);"),
        Fault("lower threshold off by one", ">= 16'h9838;", ">= 16'h9839;", module="log2"),
        Fault(
            "upper threshold off by one",
            ">= 16'hd745;",
            ">= 16'hd746;",
            module="log2",
            equivalent=_ALL_SENT + "none is rescaled to the threshold",
        ),
        Fault("offset off by one", "level - 2'h3;", "level - 2'h2;", module="log2"),
        Fault("codes below the offset wrap", "$16  ? 7'h00 : $17 ;", "$17 ;", module="log2"),
        Fault(
            "no saturation above",
            "$10  ? 18'h0ffff : $12 ;",
            "$12 ;",
            module="requantize",
            equivalent=_ALL_SENT + "none is rescaled beyond one",
        ),
        Fault("no saturation below", "$11  ? 18'h00000 : wide;", "wide;", module="requantize"),
        *_LOG2,
    ),
    ("shift_uniform_log2", "eta15_offset"): (
        Fault("eta off by one", "+ 2'h2;", "+ 2'h1;"),
        Fault("no saturation of the sum", "total[16] ? 17'h0ffff : total;", "total;"),
        Fault(
            "threshold off by one",
            ">= 16'hb505;",
            ">= 16'hb506;",
            module="log2",
            equivalent=_ALL_SENT + "none gives the threshold",
        ),
        Fault("offset off by one", "level - 4'h8;", "level - 4'h7;", module="log2"),
        Fault(
            "no saturation below",
            "$10  ? 17'h00000 : wide;",
            "wide;",
            module="requantize",
            equivalent="the operand has no sign, so no sum is below zero",
        ),
        Fault("ready ignored", "$3  | o__ready;", "1'h1;", module="log2"),
    ),
    ("epilogue", "int8"): (
        Fault(
            "rounding dropped",
            "$10  = $signed($9 ) + $signed(2'h1);",
            "$10  = $signed($9 ) + $signed(2'h0);",
        ),
        Fault("logical shift", "$signed($8 ) >>> $like$21 ;", "$8  >> $like$21 ;"),
        Fault("no saturation above", "$13  ? 63'h000000000000007f : $15 ;", "$15 ;"),
        Fault("no saturation below", "$14  ? 63'h7fffffffffffff80 : wide;", "wide;"),
        Fault("bias dropped", "$signed(i__payload[77:32]) + $signed($5 );", "$signed($5 );"),
        Fault("ready ignored by the last register", "$4  | o__ready;", "1'h1;"),
        READY,
    ),
    ("rescale", "bias20"): (
        Fault("rounding dropped", "$12  = mult_2 + 1'h1;", "$12  = mult_2 + 1'h0;"),
        Fault(
            "rounding of the bias dropped",
            "$signed(bias_2) + $signed(2'h1);",
            "$signed(bias_2) + $signed(2'h0);",
        ),
        Fault("logical shift", "$signed($10 ) >>> right;", "$10  >> right;"),
        Fault("exponent off by one", "i__payload[21:16] - 1'h1;", "i__payload[21:16] - 1'h0;"),
        READY,
        LAST_READY,
    ),
    ("isqrt", "bits16"): (
        Fault(
            "first bit not reached",
            "$9  = i__payload[15:14] >= 1'h1;",
            "$9  = i__payload[15:14] > 1'h1;",
        ),
        Fault(
            "bit of the root not reached",
            "$37  = { remainder_5, rest_5[5:4] } >=",
            "$37  = { remainder_5, rest_5[5:4] } >",
        ),
        Fault("remainder not reduced", "$26  ? $27  :", "1'h0 ? $27  :"),
        Fault(
            "last bit off by one",
            "$39  = { remainder_7, rest_7 } >= { root_7, 2'h1 };",
            "$39  = { remainder_7, rest_7 } >= { root_7, 2'h2 };",
        ),
        Fault("ready ignored in the middle", "$5  | load_6;", "1'h1;"),
        READY,
    ),
    ("activation", "gelu_frac8"): (
        Fault(
            "border of the table off by one",
            ">= 15'h5000;",
            "> 15'h5000;",
            equivalent="at the border the quotient is the last segment's number itself",
        ),
        Fault(
            "last segment off by one",
            "20'h00028 : $7 ;",
            "20'h00027 : $7 ;",
            equivalent=_ALL_SENT + "the segment before it rounds to zero as well",
        ),
        Fault("table entered one segment late", ">= 15'h5000;", ">= 15'h0200;"),
        Fault("sign of the argument ignored", "$3  ? $4  :", "1'h0 ? $4  :"),
        Fault("linear part below zero kept", "$10  ? 20'h00000 :", "1'h0 ? 20'h00000 :"),
        Fault("rounding dropped", "$signed(10'h100);", "$signed(10'h000);", module="U$2"),
        Fault("rounding off by one", "9'h080)", "9'h07f)"),
        Fault("ready ignored", "$2  | o__ready;", "1'h1;", module="U$2"),
        Fault("output not held", "$9  | o__ready;", "1'h1;"),
    ),
}
"""Stem and label of the case -> its faults."""
