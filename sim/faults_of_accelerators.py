"""Faults of an accelerator: of its connections, and of all its parts."""

from collections.abc import Mapping

from hwq.sim.fault import Fault
from hwq.sim.faults_of_engines import OF_ENGINES
from hwq.sim.faults_of_images import OF_IMAGES
from hwq.sim.faults_of_movement import OF_MOVEMENT
from hwq.sim.faults_of_outliers import OF_OUTLIERS
from hwq.sim.faults_of_pipes import OF_PIPES

_NOTHING_WAITS = "nothing makes LayerNorm wait, so its parameters are read in every cycle anyway"

_CONNECTIONS = (
    Fault("incomplete products do not begin", "$A  = $B  | $C ;", "$A  = $C ;"),
    *(
        Fault(
            f"{name} begins with every slot",
            "\\start$A  = take & $B ;",
            "\\start$A  = take;",
            count=4,
            nth=nth,
        )
        for nth, name in ((2, "result pipe"), (3, "joiner"), (4, "vector unit"))
    ),
    *(
        Fault(
            f"{name} not waited for",
            "$A  = | { \\busy$B , \\busy$C , \\busy$D , \\busy$E  };",
            f"$A  = | {{ {waited}  }};",
            equivalent=why,
        )
        for name, waited, why in (
            ("result pipe", "\\busy$B , \\busy$C , \\busy$E", ""),
            ("joiner", "\\busy$B , \\busy$D , \\busy$E", "its sums are there before the array's"),
            ("vector unit", "\\busy$C , \\busy$D , \\busy$E", ""),
        )
    ),
    Fault(
        "x where a is",
        "read__0__address = uses_vector ? x_read__address : a_read__address;",
        "read__0__address = a_read__address;",
    ),
    Fault(
        "x as wide as a",
        "read__0__bits = uses_vector ? $A [4:0] : $B [4:0];",
        "read__0__bits = $B [4:0];",
    ),
    Fault(
        "a as signed as x",
        "read__0__signed = uses_vector ? $A [5] : $B [5];",
        "read__0__signed = $A [5];",
    ),
    Fault(
        "first port always reads",
        "read__0__enable = uses_vector ? x_read__enable : a_read__enable;",
        "read__0__enable = 1'h1;",
    ),
    Fault(
        "residual where b is",
        "beside__address = computed_read__enable ? computed_read__address : $A ;",
        "beside__address = computed_read__address;",
    ),
    Fault(
        "b as wide as the residual",
        "beside__bits = computed_read__enable ? $A [4:0] : $B ;",
        "beside__bits = $B ;",
    ),
    Fault(
        "residual not read",
        "beside__enable = computed_read__enable ? computed_read__enable : $A ;",
        "beside__enable = computed_read__enable;",
    ),
    Fault(
        "y where b is",
        "read__1__address = uses_vector ? \\y_read__address$A  : beside__address;",
        "read__1__address = beside__address;",
    ),
    Fault(
        "vector unit writes where results go",
        "write__0__address = uses_vector ? \\write__address$A  : write__address;",
        "write__0__address = write__address;",
    ),
    Fault(
        "results as wide as those of the vector unit",
        "write__0__bits = uses_vector ? \\write__bits$A  : write__bits;",
        "write__0__bits = \\write__bits$A ;",
    ),
    Fault(
        "results keep what the vector unit does",
        "write__0__keep = uses_vector ? \\write__keep$A  : write__keep;",
        "write__0__keep = \\write__keep$A ;",
    ),
    Fault(
        "both units write",
        "write__0__enable = uses_vector ? \\write__enable$A  : write__enable;",
        "write__0__enable = \\write__enable$A  | write__enable;",
        equivalent="only one of them works, and its last word is written before the next slot",
    ),
    Fault(
        "loads go to the activation buffer as well",
        "write__1__enable = response__valid & $A ;",
        "write__1__enable = response__valid;",
    ),
    Fault(
        "loads go to the weight buffer as well",
        "\\write__0__enable$A  = response__valid & $B ;",
        "\\write__0__enable$A  = response__valid;",
    ),
    Fault(
        "loads go to the parameters as well",
        "\\write__enable$A  = response__valid & $B ;",
        "\\write__enable$A  = response__valid;",
    ),
    Fault(
        "sixteen words of parameters",
        ".write__address(read__2__address[9:0])",
        ".write__address({ 2'h0, read__2__address[7:0] })",
    ),
    Fault(
        "gamma of another word",
        "\\read__0__address$A  = uses_vector ? tables__0__address : parameters__address;",
        "\\read__0__address$A  = parameters__address;",
    ),
    Fault(
        "results read no parameters",
        "\\read__0__enable$A  = uses_vector ? tables__0__enable : 1'h1;",
        "\\read__0__enable$A  = tables__0__enable;",
        equivalent=_NOTHING_WAITS,
    ),
    Fault(
        "parameters read in every cycle",
        "\\read__0__enable$A  = uses_vector ? tables__0__enable : 1'h1;",
        "\\read__0__enable$A  = 1'h1;",
        equivalent=_NOTHING_WAITS,
    ),
    Fault(
        "second lane one bit off",
        "parameters__data[169:85] = { $A [12:0], $B , $C , $D [31:24] };",
        "parameters__data[169:85] = { $A [11:0], $B , $C , $D [31:23] };",
    ),
    Fault("vector unit not chosen", "if (take)", "if (1'h0)"),
)

OF_ACCELERATORS: Mapping[str, tuple[Fault, ...]] = {
    "": _CONNECTIONS,
    **OF_MOVEMENT,
    **OF_OUTLIERS,
    **OF_ENGINES,
    **OF_PIPES,
    **OF_IMAGES,
}
"""Part -> its faults; the fragments are those of 4 x 4 elements and rows of up to 64."""
