"""Faults of what the vector unit does once for an image; see `hwq.sim.accelerator_mutation`."""

from collections.abc import Mapping
from typing import Final

from hwq.sim.fault import Fault

_RANGES = (
    Fault("one chunk", "$A  = $B  == settings[15:0];", "$A  = $B  == settings[31:16];", count=2),
    Fault("extrema of the chunk before", "$A  = $B  | $C ;", "$A  = $C ;", "", 8, 1),
    Fault(
        "lowest for highest",
        "$A  = $signed(i__elements[15:0]) > $signed(high_0);",
        "$A  = $signed(i__elements[15:0]) < $signed(high_0);",
    ),
    Fault(
        "extrema without sign",
        "$A  = $signed(i__elements[32:17]) < $signed(low_1);",
        "$A  = i__elements[32:17] < low_1;",
    ),
    Fault("sum goes on", "$A  = \\after$B  ? 32'd0 : sum_2;", "$A  = sum_2;"),
    Fault("last chunk alone", "$A  = \\after$B  ? 32'd0 : sum_3;", "$A  = 32'd0;"),
    Fault(
        "second half of a word not sent",
        "o__valid = \\after$A  | \\after$B ;",
        "o__valid = \\after$A ;",
    ),
    Fault(
        "channels exchanged",
        "o__pieces = \\after$A  ? { sum_1, sum_0 } : \\after$B ;",
        "o__pieces = \\after$A  ? { sum_0, sum_1 } : \\after$B ;",
    ),
    Fault(
        "ranges of the first chunk",
        "$A  = $B  == settings[31:16];",
        "$A  = $B  == settings[15:0];",
        count=2,
    ),
)

_PREDICTOR = (
    Fault(
        "feature begins with the one before",
        "$A  = \\after$B  ? { 1'h0, $C  } : { $signal$D [63], $signal$D  };",
        "$A  = { $signal$D [63], $signal$D  };",
    ),
    Fault("no offset", "$A  = $signed(shifted) + $signed(offset);", "$A  = $signed(shifted);"),
    Fault("no projection", "$A  = $signed(shifted) + $signed(offset);", "$A  = $signed(offset);"),
    Fault(
        "reciprocal is the scale",
        "$A  = \\after$B  ? { $signal$C [15], $signal$C  } : $D ;",
        "$A  = { $signal$C [15], $signal$C  };",
    ),
    Fault(
        "last step with the next parameter",
        "$A  = $signal$B  ? 16'h0000 : elements;",
        "$A  = elements;",
    ),
    Fault(
        "last step with the next feature",
        "$A  = $signal$B  ? \\before  : $signal$C ;",
        "$A  = $signal$C ;",
    ),
    Fault(
        "scale goes on from the one before",
        "$A  = \\after$B  ? { bias[15], bias[15], bias[15], bias[15], bias } : $C [19:0];",
        "$A  = $C [19:0];",
    ),
    Fault("no last scale", "o__last = $A  == settings[35:20];", "o__last = 1'h0;"),
    Fault("three pieces a scale", "$A  = 4'hf << $B ;", "$A  = 4'h7 << $B ;"),
    Fault("one feature", "last_feature = $A  == settings[3:0];", "last_feature = 1'h1;"),
)

_READER = (
    Fault("word ends early", "$A  = turn == 2'h3;", "$A  = turn == 2'h2;"),
    Fault("word that comes is lost", "$A  = $signal$B  | words__valid;", "$A  = $signal$B ;"),
    Fault("asks while a word comes", "$A  = ~ comes;", "$A  = 1'h1;"),
)

_RESCALE = (
    Fault(
        "always the reciprocal",
        "$signal$A  = settings[0] ? $signal [31:0] : $signal [63:32];",
        "$signal$A  = $signal [63:32];",
    ),
    Fault(
        "always the scale",
        "$signal$A  = settings[0] ? $signal [31:0] : $signal [63:32];",
        "$signal$A  = $signal [31:0];",
    ),
    Fault(
        "bias not rescaled",
        "inverse = settings[0] ? $signal [63:32] : 32'd32768;",
        "inverse = 32'd32768;",
    ),
    Fault(
        "no corrections",
        "$A  = $signed(o__payload[67:22]) + $signed(after);",
        "$A  = $signed(o__payload[67:22]);",
    ),
)

OF_IMAGES: Final[Mapping[str, tuple[Fault, ...]]] = {
    "vector.ranges": _RANGES,
    "vector.predictor": _PREDICTOR,
    "vector.predictor.parameters": _READER,
    "vector.rescale": _RESCALE,
}
