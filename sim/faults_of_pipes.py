"""Faults of what streams, behind the array and in the vector unit of an accelerator."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_RESULTS = (
    Fault(
        "row of column sums not counted",
        "$A  = {kept.rows} + {kept.ones};",
        "$A  = {kept.rows};",
        count=3,
    ),
    Fault("one word of factors", "$A  = factors__address + $B ;", "$A  = factors__address;"),
    Fault("column sums leave", "comes = $signal$A  & $B ;", "comes = $signal$A ;"),
    Fault("column sums of every row", "column_sums_come = $A  & $B ;", "column_sums_come = $A ;"),
    Fault(
        "offset not shifted",
        "$A  = $signed(offsets_0) << {kept.epilogue.up};",
        "$A  = $signed(offsets_0);",
    ),
    Fault(
        "offset without column sums",
        "$A  = {kept.ones} ? $B  : 66'h00000000000000000;",
        "$A  = $B ;",
        "",
        4,
        1,
    ),
    Fault(
        "column sums not subtracted",
        "$A  = {kept.ones} ? $B  : 66'h00000000000000000;",
        "$A  = 66'h0;",
        "",
        4,
        2,
    ),
    Fault("parameters of the first tile", "$A  = {kept.spread} ? 6'h00 : $B ;", "$A  = 6'h00;"),
    Fault("spread parameters go on", "$A  = {kept.spread} ? 6'h00 : $B ;", "$A  = $B ;"),
    Fault("parameters from the first word on", "$A  = {kept.first_parameter} + $B ;", "$A  = $B ;"),
    Fault(
        "parameters never spread",
        "$A  = {kept.spread} ? parameters__data[84:0] : parameters__data[169:85];",
        "$A  = parameters__data[169:85];",
        count=4,
    ),
    Fault(
        "residual one cycle early",
        "$A  = \\after$B ;",
        "$A  = $C ;",
        count=13,
        nth=9,
        given="$C  = comes & {kept.adds};",
    ),
    Fault("residual read by every product", "$A  = comes & {kept.adds};", "$A  = comes;"),
    Fault(
        "sum not held above",
        "$A  = $signed(both_2[16:0]) > $signed({kept.limits.hi});",
        "$A  = 1'h0;",
    ),
    Fault(
        "sum not held below",
        "$A  = $signed(both_1[16:0]) < $signed({kept.limits.lo});",
        "$A  = 1'h0;",
    ),
    Fault(
        "residual not added",
        "both_2 = $signed(value_2) + $signed(y_read__elements[50:34]);",
        "both_2 = $signed(value_2);",
    ),
    Fault(
        "not activated",
        "there_0 = {kept.activates} ? \\o__valid$A  : o__valid;",
        "there_0 = o__valid;",
    ),
    Fault(
        "codes of every value",
        "$A  = {kept.encodes} ? \\o__valid$B  : $C ;",
        "$A  = \\o__valid$B ;",
        count=4,
    ),
    Fault("sums before they are added", "$A  = there_0 & {kept.adds};", "$A  = 1'h0;"),
    Fault("last tile keeps all", "$A  = $B  ? { 1'h0, {kept.keep} } : 5'h1f;", "$A  = 5'h1f;"),
    Fault(
        "every tile keeps what the last does",
        "$A  = $B  ? { 1'h0, {kept.keep} } : 5'h1f;",
        "$A  = { 1'h0, {kept.keep} };",
    ),
    Fault(
        "last tile one early", "$A  = $B  == {kept.tiles};", "$A  = results_tile == {kept.tiles};"
    ),
    Fault("row of a tile not counted back", "$A  = $B  ? 18'h00000 : $C ;", "$A  = $C ;", "", 2, 2),
    Fault("ends with its last word", "if (\\after$A )", "if (written_last)", "", 2, 1),
    Fault("never ends", "written_last = $A  & last;", "written_last = 1'h0;"),
    Fault("ends with its first word", "written_last = $A  & last;", "written_last = $A ;"),
    Fault("multiplier of the command for that of a table", "if ({kept.is_tabled})", "if (1'h0)"),
    Fault(
        "encoder's word not read",
        "$A  = after ? { 1'h0, {kept.encoder_parameter} } : $B ;",
        "$A  = $B ;",
    ),
    Fault("planes exchanged", "$A  = sums__sums[63:32];", "$A  = sums__sums[31:0];"),
    Fault(
        "sums taken while idle",
        "$signal$A  = sums__valid & busy;",
        "$signal$A  = sums__valid;",
        equivalent="sums that are not complete are not sent",
    ),
)

_VECTOR = (
    Fault(
        "y read by every route",
        "$A  = asks & $B ;",
        "$A  = asks;",
        equivalent="no other route looks at it, and nobody else has the port",
    ),
    Fault("y not read", "$A  = asks & $B ;", "$A  = 1'h0;"),
    Fault(
        "x added to itself",
        "total_0 = $signed(ranges__elements[16:0]) + $signed(parameters__elements[16:0]);",
        "total_0 = $signed(ranges__elements[16:0]) + $signed(ranges__elements[16:0]);",
    ),
    Fault("sum one cycle early", "there = \\after$A ;", "there = x_read__valid;"),
    Fault(
        "encoders get every word",
        "$A  = {kept.route} == 2'h2;",
        "$A  = 1'h1;",
        count=4,
        equivalent="an encoder keeps nothing, and its code is not chosen",
    ),
    Fault(
        "probability of the wrong lane",
        "out_1 = { 1'h0, o__payload[31:16] };",
        "out_1 = { 1'h0, o__payload[15:0] };",
    ),
    Fault("moved elements late", "there = x_read__valid;", "there = 1'h0;"),
    Fault("no word is the last of a row", "$A  = \\after$B ;", "$A  = 1'h0;", "", 5, 4),
    Fault("row never ends", "$A  = $B  ? 17'h00000 : $C ;", "$A  = $C ;", "", 2, 1),
    Fault("stored row never ends", "$A  = $B  ? 17'h00000 : $C ;", "$A  = $C ;", "", 2, 2),
    Fault(
        "last word of a row has all elements",
        "$A  = \\after$B  ? { 1'h0, {kept.keep} } : 5'h1f;",
        "$A  = 5'h1f;",
        count=3,
    ),
    Fault(
        "every word keeps what the last does",
        "$A  = $B  ? { 1'h0, {kept.keep} } : 5'h1f;",
        "$A  = { 1'h0, {kept.keep} };",
        count=2,
    ),
    Fault(
        "last word stores all",
        "$A  = $B  ? { 1'h0, {kept.keep} } : 5'h1f;",
        "$A  = 5'h1f;",
        count=2,
    ),
    Fault(
        "parameters from the first word on",
        "$A  = {kept.first_parameter} + $B ;",
        "$A  = $B ;",
    ),
    Fault("ends with its first word", "$A  = there & $B ;", "$A  = there;"),
    Fault(
        "ends one cycle early",
        "\\ends$A  = $B  ? $C  : \\after$D ;",
        "\\ends$A  = $B  ? $C  : $E ;",
        given="$E  = there & $F ;",
    ),
    Fault("reads on behind the last", "if (\\last$A )", "if (1'h0)"),
    Fault("multiplier of the command for that of a table", "if ({kept.is_tabled})", "if (1'h0)"),
    Fault("table stays at its first word", "$A  = index + 1'h1;", "$A  = index;"),
    Fault(
        "corrections stay at their first word",
        "$A  = {kept.second_parameter} + index;",
        "$A  = {kept.second_parameter} + 1'h0;",
    ),
    Fault("tables not stored", "store__enable = there & $A ;", "store__enable = 1'h0;"),
    Fault("tables written to the buffer", "write__enable = there & $A ;", "write__enable = there;"),
)

OF_PIPES: Mapping[str, tuple[Fault, ...]] = {
    "results": _RESULTS,
    "vector": _VECTOR,
}
