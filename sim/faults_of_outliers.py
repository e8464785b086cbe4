"""Faults of lists of outliers, and of what they add to a product."""

from collections.abc import Mapping

from hwq.sim.fault import Fault

_JOINER = (
    Fault("rows go on beside later entries", "is_later = $signal$A  & $B ;", "is_later = 1'h0;"),
    Fault(
        "a row ends before its entries",
        "$A  = entry[31:16] > $signal$B ;",
        "$A  = entry[31:16] >= $signal$B ;",
    ),
    Fault("a tile is all entries", "ends_tile = $A  & rows_end;", "ends_tile = $A ;"),
    Fault("columns of the first tile", "$A  = weights + {kept.bits};", "$A  = weights;"),
    Fault("rows of b side by side", "$A  = \\after$B  * {kept.pitch};", "$A  = \\after$B ;"),
    Fault(
        "weights without a sign",
        "$A  = $signed(\\after$B ) * $signed(b_read__elements[7:0]);",
        "$A  = $signed(\\after$B ) * $signed({ 1'h0, b_read__elements[7:0] });",
    ),
    Fault(
        "only the last outlier of a row",
        "$A  = $signed(total_0) + $signed(product_0);",
        "$A  = $signed(product_0);",
    ),
    Fault("no word of column sums", "$A  = ends_tile & {kept.ones};", "$A  = 1'h0;"),
)
_ENTRIES = (
    Fault("a list never ends", "last = $A  == $signal$B ;", "last = 1'h0;"),
    Fault("words of the list stay", "leaves = take & $A ;", "leaves = 1'h0;"),
)
_SPLIT = (
    Fault("negative elements are no outliers", "$A  = $B  | $C ;", "$A  = $B ;", "", 4, 1),
    Fault(
        "multiplier of no token",
        "multiplier = settings[1] ? \\multiplier$A  : settings_of_list[21:0];",
        "multiplier = settings_of_list[21:0];",
    ),
)
_LISTER = (
    Fault("a token each word", "$A  = $signal$B  + r_data[94];", "$A  = $signal$B  + 1'h1;"),
    Fault(
        "channels go on in the next token",
        "$A  = r_data[94] ? 17'h00000 : $B ;",
        "$A  = $B ;",
    ),
    Fault(
        "zeros have a token",
        "$A  = $signal$B  ? 16'h0000 : $signal$C ;",
        "$A  = $signal$C ;",
    ),
    Fault("values rounded down", "$A  = $signed($B ) + $signed(2'h1);", "$A  = $signed($B );"),
    Fault("more entries than room", "$A  = $signal$B  != room;", "$A  = 1'h1;"),
    Fault("no zeros", "$A  = $signal$B  | $C ;", "$A  = $C ;", "", 2, 1),
)
_SCALE = (
    Fault("one word of multipliers", "$A  = address + $B ;", "$A  = address;"),
    Fault("first multiplier of a word", "$A  = $B  ? 3'h0 : $C ;", "$A  = 3'h0;"),
)
_LANE = (
    Fault(
        "outliers not joined", "$A  = $signed(codes) + $signed(outliers);", "$A  = $signed(codes);"
    ),
    Fault(
        "zero point stays",
        "$A  = $signed(both) - $signed(correction);",
        "$A  = $signed(both);",
    ),
    Fault(
        "no factor of the row",
        "$A  = corrected[16:0] * factor;",
        "$A  = corrected[16:0];",
    ),
)
OF_OUTLIERS: Mapping[str, tuple[Fault, ...]] = {
    "joiner": _JOINER,
    "joiner.entries": _ENTRIES,
    "vector.split": _SPLIT,
    "vector.split.lister": _LISTER,
    "vector.split.scale": _SCALE,
    "JoinLane_1": _LANE,
}
"""Faults by the part that has them."""
