"""Faults of systolic arrays, their elements and controllers; see `hwq.sim.fault`.

The numbers of intermediate signals are those that Yosys gives: after a change of an array its
faults may have to be found again, which the check of their number of occurrences says.
"""

from collections.abc import Mapping

from hwq.numerics.array import Dataflow
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, SHIFT_PARITY, PeKind
from hwq.sim.component import ALONE
from hwq.sim.fault import Fault

Key = tuple[PeKind, Dataflow, int, int]
_CONTROLLER, _WALK, _GRID = f"{ALONE}.controller", f"{ALONE}.controller.walk", f"{ALONE}.grid"
_KEEPS, _SUMS = "StationaryPe_0", "AccumulatingPe_0"
_NEVER_TAKEN = (
    "sums are taken in the cycle after the last operands, and the next fold begins with zero: "
    "what is added in between goes nowhere"
)
_WRITE_THROUGH = """reg [5:0] _2_;
  always @(posedge one_clk) begin
    _2_ <= read__addr;
  end
  assign read_data = result_memory[_2_];"""
_READ_FIRST = """reg [31:0] _2_;
  always @(posedge one_clk) begin
    _2_ <= result_memory[read__addr];
  end
  assign read_data = _2_;"""

OF_ARRAYS: Mapping[Key, tuple[Fault, ...]] = {
    (MULTIPLY, "weight_stationary", 3, 2): (
        Fault(
            "streamed operand without sign",
            "$signed(left_in) *",
            "$signed({ 1'h0, left_in }) *",
            _KEEPS,
        ),
        Fault("operand kept one row early", "$7  = top_out;", "$7  = top_in;", _KEEPS),
        Fault("last row one cycle early", "$20  = \\after$62 ;", "$20  = left[23:16];", _GRID),
        Fault(
            "first column of results one cycle early",
            "sums[31:0] = \\after$58 ;",
            "sums[31:0] = \\sums_out$63 ;",
            _GRID,
        ),
        Fault("rows of the last load go on", "load_begin ? 3'h0 : \\before ;", "\\before ;", _GRID),
        Fault("load one row short", "$8  = $7  >= 2'h3;", "$8  = $7  >= 2'h2;", _CONTROLLER),
        Fault(
            "slot one cycle long",
            "$12  = $11  >= \\program",
            "$12  = $11  > \\program",
            _CONTROLLER,
        ),
        Fault("rows beyond K kept", "$18  ? columns : 8'h00;", "columns;", _CONTROLLER),
        Fault(
            "results never start at zero",
            "$25  = \\program [60] | $24 ;",
            "$25  = 1'h1;",
            _CONTROLLER,
        ),
        Fault(
            "partial sums leave", "\\program [61] & $signal$19 ;", "\\program [61];", _CONTROLLER
        ),
        Fault("complete ignored", "\\program [61] & $signal$19 ;", "$signal$19 ;", _CONTROLLER),
        Fault("cycles counted from zero", "$32  = 32'd1;", "$32  = 32'd0;", _CONTROLLER),
        Fault(
            "a fold of rows too many", "last_row = rows <= 2'h3;", "last_row = rows < 2'h3;", _WALK
        ),
        Fault("columns beyond N not zero", "\\after$30  > 1'h1;", "\\after$30  > 1'h0;", ALONE, 8),
        Fault("start taken while busy", "\\start$3  & $1 ;", "\\start$3 ;", ALONE),
    ),
    (MULTIPLY, "weight_stationary", 1, 1): (
        Fault("word read before it is written", _WRITE_THROUGH, _READ_FIRST, ALONE),
    ),
    (SHIFT_PARITY, "input_stationary", 2, 3): (
        Fault(
            "second plane takes all",
            "$3  = kept[4] ? { $6 [14], $6  } : 16'h0000;",
            "$3  = { $6 [14], $6  };",
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
            "$25  = \\after$42 [7] ? read_data[63:32]",
            "$25  = \\after$42 [7] ? read_data[31:0]",
            ALONE,
        ),
        Fault(
            "row of the block forgotten",
            "$16  = \\top$29  + row;",
            "$16  = \\top$29 ;",
            _CONTROLLER,
        ),
        Fault("base of the stream ignored", "$13  = product[29:24];", "$13  = 6'h00;", _WALK),
        Fault(
            "stride of the results ignored",
            "$10  = result + product[59:54];",
            "$10  = result + 1'h1;",
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
            "$3  = { product, 3'h0 };",
            "$3  = { product[14], product, 2'h0 };",
            _SUMS,
        ),
        Fault("sum of the last fold kept", "first_in ? 32'd0 : acc_0;", "acc_0;", _SUMS),
        Fault("sum taken with what comes next", "$11  = acc_0;", "$11  = $2 [31:0];", _SUMS),
        Fault("rows shift before they are taken", "else if (shift_in)", "else if (1'h1)", _SUMS),
        Fault("second column one cycle early", ".top_in(\\after$9 )", ".top_in(top[15:8])", _GRID),
        Fault(
            "sums taken one operand early",
            "$10  = step + 1'h1;",
            "$10  = step + 2'h2;",
            _CONTROLLER,
        ),
        Fault("drain one row short", "$41  = 2'h2;", "$41  = 2'h1;", _CONTROLLER),
        Fault("rows beyond M written", "$30  = $signal  & $29 ;", "$30  = $signal ;", _CONTROLLER),
        Fault(
            "slot shorter than the drain",
            "$22  = $21  >= 2'h3;",
            "$22  = $21  >= 2'h2;",
            _CONTROLLER,
        ),
        Fault(
            "operands beyond K not zero",
            "$28  ? columns : 8'h00;",
            "columns;",
            _CONTROLLER,
            equivalent=_NEVER_TAKEN,
        ),
    ),
    (SHIFT, "output_stationary", 2, 2): (
        Fault("code of zero adds", "left_in[0] ? $3  : 23'h000000;", "$3 ;", _SUMS),
        Fault("operand without sign", "$signed(top_in) << left_in", "top_in << left_in", _SUMS),
    ),
}
"""Element, dataflow, rows and columns -> faults of such an array."""
