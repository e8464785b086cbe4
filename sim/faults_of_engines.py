"""Faults of the product engine of an accelerator; see `hwq.sim.accelerator_mutation`."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_PRODUCT = (
    Fault("row of ones read as well", "reads_a = left__next & $A ;", "reads_a = left__next;"),
    Fault("a goes on in a row of ones", ".advance(reads_a)", ".advance(left__next)"),
    Fault("every row is one of ones", "$A  = ! row;", "$A  = 1'h1;", count=2),
    Fault("row of ones in the first fold only", "$A  = $B  ? 17'h00000 : $C ;", "$A  = $C ;"),
    Fault(
        "row counted from the product before",
        "if ($A )",
        "if (1'h0)",
        given="$A  = ~ busy;",
        equivalent="a product ends with the last row of a fold, behind which it is 0",
    ),
    Fault("ones one cycle early", "$A  = \\after$B ;", "$A  = $C ;", "", 2, 1, given="$D  = $C ;"),
    Fault("ones shifted", "$A  = after ? 4'h0 : decoded[12:9];", "$A  = decoded[12:9];"),
    Fault(
        "weights read for a computed b",
        "b_read__enable = \\advance$A  & $B ;",
        "b_read__enable = \\advance$A ;",
        equivalent="they are there in the same cycle, and not chosen",
    ),
    Fault(
        "computed b read for weights",
        "computed_read__enable = \\advance$A  & {kept.computed};",
        "computed_read__enable = \\advance$A ;",
    ),
    Fault(
        "transposer filled by every product",
        "valid = $A  & {kept.transposed};",
        "valid = $A ;",
        equivalent="words come in whole blocks, and what leaves is not chosen",
    ),
    Fault(
        "computed words do not fill the transposer",
        "$A  = computed_read__valid | b_read__valid;",
        "$A  = b_read__valid;",
    ),
    Fault(
        "column not turned",
        "$A  = {kept.transposed} ? turned[7:0] : word[7:0];",
        "$A  = word[7:0];",
    ),
    Fault(
        "column always turned",
        "$A  = {kept.transposed} ? turned[15:8] : word[15:8];",
        "$A  = turned[15:8];",
    ),
)

_TRANSPOSER = (
    Fault("blocks of three words", "$A  = count == 2'h3;", "$A  = count == 2'h2;"),
    Fault("words in another order", "$A  = filled_2;", "$A  = filled_0;", "", 2, 1),
    Fault("newest word left out", "$A  = word;", "$A  = filled_0;", "", 2, 1),
    Fault(
        "elements leave from the first",
        "turned[7:0] = leaving_0[31:24];",
        "turned[7:0] = leaving_0[7:0];",
    ),
    Fault("words go down without one that comes", "if (valid)", "if (1'h1)", count=8),
)

_CORE = (
    Fault("never late", "$A  = \\port$B$C [0];", "$A  = 1'h0;"),
    Fault("load not late", "$A  = $signal  ? \\after$B  : load;", "$A  = load;"),
    Fault(
        "count of columns not late", "$A  = $signal  ? \\after$B  : top_count;", "$A  = top_count;"
    ),
    Fault("results not late", "$A  = $signal  ? \\after$B  : tag;", "$A  = tag;"),
    Fault(
        "rows of a not late",
        "left__next = $signal  ? \\after$A  : left_next;",
        "left__next = left_next;",
    ),
    Fault("never a single plane", "$A  = \\port$B$C [1];", "$A  = 1'h0;"),
    Fault("always a single plane", "$A  = \\port$B$C [1];", "$A  = 1'h1;"),
    Fault(
        "second plane never accumulates",
        "$A  = \\after$B [10] ? \\read__data$C [31:0] : 32'd0;",
        "$A  = 32'd0;",
    ),
    Fault("single plane in the first memory only", "$A  = ! \\after$B [1];", "$A  = 1'h1;"),
    Fault("even word for an odd one", "$A  = single & \\after$B [1];", "$A  = 1'h0;", "", 4, 1),
    Fault("address of a read not halved", "$A  = single ? $B  : $C ;", "$A  = $C ;", "", 2, 1),
    Fault(
        "address of a write not halved",
        "$A  = single ? $B  : \\after$C [9:1];",
        "$A  = \\after$C [9:1];",
        "",
        2,
        2,
    ),
    Fault(
        "second plane of a single one sent",
        "$A  = $B  ? 32'd0 : total_1[31:0];",
        "$A  = total_1[31:0];",
    ),
    Fault(
        "second memory has the second plane",
        "$A  = single ? total_0 : total_1;",
        "$A  = total_1;",
    ),
    Fault("never accumulates", "$A  = \\after$B [10] ? $C  : 32'd0;", "$A  = 32'd0;", "", 4, 1),
    Fault("always accumulates", "$A  = \\after$B [10] ? $C  : 32'd0;", "$A  = $C ;", "", 4, 2),
    Fault(
        "incomplete sums sent",
        "o__valid = \\after$A [0] & \\after$A [11];",
        "o__valid = \\after$A [0];",
    ),
    Fault(
        "done with the first word",
        "finished = \\after$A [0] & \\after$A [12];",
        "finished = \\after$A [0];",
    ),
)

_CONTROLLER = (
    Fault("sums of the slot before dropped", "$A  = {program.accumulate} | $B ;", "$A  = $B ;"),
    Fault(
        "folds after the first dropped",
        "$A  = {program.accumulate} | $B ;",
        "$A  = {program.accumulate};",
    ),
    Fault(
        "every product completes",
        "$A  = {program.complete} & $signal$B ;",
        "$A  = $signal$B ;",
        equivalent="nothing takes sums of a slot without results",
    ),
    Fault(
        "every fold completes",
        "$A  = {program.complete} & $signal$B ;",
        "$A  = {program.complete};",
    ),
    Fault("rows beyond K kept", "top_count = $A  ? columns : 16'h0000;", "top_count = columns;"),
    Fault("row of results stays", "$A  = result + step;", "$A  = result + 1'h0;"),
)

OF_ENGINES: Mapping[str, tuple[Fault, ...]] = {
    "product": _PRODUCT,
    "product.transposer": _TRANSPOSER,
    "product.core": _CORE,
    "product.core.controller": _CONTROLLER,
}
