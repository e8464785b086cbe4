"""Faults of systolic arrays, their elements and controllers; see `hwq.sim.fault`."""

from collections.abc import Mapping

from hwq.numerics.array import Dataflow
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, SHIFT_PARITY, PeKind
from hwq.sim.component import ALONE
from hwq.sim.fault import Fault

Key = tuple[PeKind, Dataflow, int, int]
_CORE = f"{ALONE}.core"
_CONTROLLER, _WALK, _GRID = f"{_CORE}.controller", f"{_CORE}.controller.walk", f"{_CORE}.grid"
_KEEPS, _SUMS = "StationaryPe_0", "AccumulatingPe_0"
_NEVER_TAKEN = (
    "sums are taken in the cycle after the last operands, and the next fold begins with zero: "
    "what is added in between goes nowhere"
)
_WRITE_THROUGH = """reg [5:0] _0_;
  always @(posedge one_clk) begin
    _0_ <= read__addr;
  end
  assign read__data = result_memory[_0_];"""
_READ_FIRST = """reg [31:0] _0_;
  always @(posedge one_clk) begin
    _0_ <= result_memory[read__addr];
  end
  assign read__data = _0_;"""

OF_ARRAYS: Mapping[Key, tuple[Fault, ...]] = {
    (MULTIPLY, "weight_stationary", 3, 2): (
        Fault(
            "streamed operand without sign",
            "$signed(left_in) *",
            "$signed({ 1'h0, left_in }) *",
            _KEEPS,
        ),
        Fault(
            "operand kept one row early", "$A  = top_out;", "$A  = top_in;", _KEEPS, count=2, nth=2
        ),
        Fault("last row one cycle early", "$A  = \\after$B ;", "$A  = left[23:16];", _GRID),
        Fault(
            "first column of results one cycle early",
            "sums[31:0] = \\after$A ;",
            "sums[31:0] = $B ;",
            _GRID,
            given="\\after$A  <= $B ;",
        ),
        Fault("rows of the last load go on", "load_begin ? 3'h0 : \\before ;", "\\before ;", _GRID),
        Fault("load one row short", "$A  = $B  >= 2'h3;", "$A  = $B  >= 2'h2;", _CONTROLLER),
        Fault(
            "slot one cycle long",
            "$A  = $B  >= \\program",
            "$A  = $B  > \\program",
            _CONTROLLER,
            count=2,
            nth=1,
        ),
        Fault("rows beyond K kept", "$A  ? columns : 8'h00;", "columns;", _CONTROLLER),
        Fault(
            "results never start at zero",
            "$A  = \\program [60] | $B ;",
            "$A  = 1'h1;",
            _CONTROLLER,
        ),
        Fault("partial sums leave", "\\program [61] & $signal$A ;", "\\program [61];", _CONTROLLER),
        Fault("complete ignored", "\\program [61] & $signal$A ;", "$signal$A ;", _CONTROLLER),
        Fault("cycles counted from zero", "$A  = 32'd1;", "$A  = 32'd0;", _CONTROLLER),
        Fault(
            "a fold of rows too many", "last_row = rows <= 2'h3;", "last_row = rows < 2'h3;", _WALK
        ),
        Fault("columns beyond N not zero", "\\after$A  > 1'h1;", "\\after$A  > 1'h0;", _CORE, 8),
        Fault("start taken while busy", "\\start$A  & $B ;", "\\start$A ;", _CORE),
    ),
    (MULTIPLY, "weight_stationary", 1, 1): (
        Fault("word read before it is written", _WRITE_THROUGH, _READ_FIRST, _CORE),
    ),
    (SHIFT_PARITY, "input_stationary", 2, 3): (
        Fault(
            "second plane takes all",
            "$A  = kept[4] ? { $B [14], $B  } : 16'h0000;",
            "$A  = { $B [14], $B  };",
            _KEEPS,
        ),
        Fault(
            "entry of the decoder off by one",
            "80'h80663a96e7ca76beb7ef",
            "80'h80663a96e7ca76beb7ed",
            ALONE,
            3,
        ),
        Fault(
            "plane added to the other",
            "$A  = \\after$B [7] ? \\read__data$C [31:0]",
            "$A  = \\after$B [7] ? read__data[31:0]",
            _CORE,
        ),
        Fault(
            "row of the block forgotten",
            "$A  = \\top$B  + row;",
            "$A  = \\top$B ;",
            _CONTROLLER,
        ),
        Fault("base of the stream ignored", "$A  = product[29:24];", "$A  = 6'h00;", _WALK),
        Fault(
            "stride of the results ignored",
            "$A  = result + product[59:54];",
            "$A  = result + 1'h1;",
            _WALK,
        ),
    ),
    (MULTIPLY_SHIFT, "output_stationary", 3, 2): (
        Fault(
            "significand with sign",
            "$signed({ 1'h0, left_in[6:0] }) *",
            "$signed(left_in[6:0]) *",
            _SUMS,
        ),
        Fault(
            "shift off by one",
            "$A  = { product, 3'h0 };",
            "$A  = { product[14], product, 2'h0 };",
            _SUMS,
        ),
        Fault("sum of the last fold kept", "first_in ? 32'd0 : acc_0;", "acc_0;", _SUMS),
        Fault(
            "sum taken with what comes next",
            "$A  = acc_0;",
            "$A  = $B [31:0];",
            _SUMS,
            given="$B  = $signed($C ) + $signed(shifted);",
        ),
        Fault("rows shift before they are taken", "else if (shift_in)", "else if (1'h1)", _SUMS),
        Fault("second column one cycle early", ".top_in(\\after$A )", ".top_in(top[15:8])", _GRID),
        Fault(
            "sums taken one operand early",
            "$A  = step + 1'h1;",
            "$A  = step + 2'h2;",
            _CONTROLLER,
            count=7,
            nth=4,
        ),
        Fault("drain one row short", "$A  = 2'h2;", "$A  = 2'h1;", _CONTROLLER),
        Fault("rows beyond M written", "$A  = $signal  & $B ;", "$A  = $signal ;", _CONTROLLER),
        Fault(
            "slot shorter than the drain",
            "$A  = $B  >= 2'h3;",
            "$A  = $B  >= 2'h2;",
            _CONTROLLER,
            count=2,
            nth=2,
        ),
        Fault(
            "operands beyond K not zero",
            "$A  ? columns : 8'h00;",
            "columns;",
            _CONTROLLER,
            equivalent=_NEVER_TAKEN,
        ),
    ),
    (SHIFT, "output_stationary", 2, 2): (
        Fault("code of zero adds", "left_in[0] ? $A  : 23'h000000;", "$A ;", _SUMS),
        Fault("operand without sign", "$signed(top_in) << left_in", "top_in << left_in", _SUMS),
    ),
}
"""Element, dataflow, rows and columns -> faults of such an array."""
