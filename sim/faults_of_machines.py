"""Faults of the machine: its sequencer, sources, routes and target; see `hwq.sim.fault`.

The numbers of intermediate signals are those that Yosys gives: after a change of the machine its
faults may have to be found again, which the check of their number of occurrences says.
"""

from hwq.sim.component import ALONE
from hwq.sim.fault import Fault

_SOURCE, _TARGET = f"{ALONE}.source", f"{ALONE}.target"

OF_MACHINES: tuple[Fault, ...] = tuple(
    Fault(name, right, wrong, module, equivalent="".join(reason))
    for module, faults in {
        ALONE: (
            # sequencer
            ("start taken while busy", "$34  = \\start$100  & $33 ;", "$34  = \\start$100 ;"),
            ("cycles start anew while busy", "$38  = \\start$100  & $37 ;", "$38  = \\start$100 ;"),
            (
                "cycles run while it fetches",
                "else if ($signal$13 ) begin\n      $51 ",
                "else begin\n      $51 ",
            ),
            ("goes on behind the last command", "$2  = done & $1 ;", "$2  = done;"),
            ("first command is the last", "$1  = ~ command[2];", "$1  = 1'h0;"),
            ("same command again", "$48  = $35 [2:0];", "$48  = $signature__addr ;"),
            (
                "second program begins where the first ended",
                "if (done) begin\n        $48 ",
                "if (1'h0) begin\n        $48 ",
            ),
            ("cycles of a command begin at 0", "$50  = 32'd1;", "$50  = 32'd0;"),
            ("array starts a cycle early", "start = $signal$16  &", "start = $signal  &"),
            (
                "vector layers start the array",
                "start = $signal$16  & from_array;",
                "start = $signal$16 ;",
            ),
            # sources
            ("products with an activation are none", "$4  = command[1:0] == 1'h1;", "$4  = 1'h0;"),
            ("word waits until its register is empty", "$8  = $7  | word_ready;", "$8  = $7 ;"),
            (
                "word overwrites one that waits",
                "$8  = $7  | word_ready;",
                "$8  = 1'h1;",
                "every unit takes a word in each cycle, as none is ever refused its output",
            ),
            ("rows are not read", "$44  = $42  | $43 ;", "$44  = $42 ;"),
            ("reading goes on", "$41  = issue & \\last$103 ;", "$41  = 1'h0;"),
            (
                "parameters of the first column for all",
                "from_array ? sums__valid : issue;",
                "issue;",
            ),
            # routes
            ("activation passed over", "$19  = $18  ? {", "$19  = 1'h0 ? {"),
            ("epilogue's low end ignored", "$17  = $16  ?", "$17  = 1'h0 ?"),
            (
                "epilogue's high end is its low end",
                "$15  ? command[225:208]",
                "$15  ? command[207:190]",
            ),
            ("encoder's low end ignored, of the activation", "$24  = $23  ?", "$24  = 1'h0 ?"),
            ("encoder's high end ignored, of codes", "$30  = $27  ?", "$30  = 1'h0 ?"),
            # target
            (
                "every word goes to the operand",
                "$32  = written__valid & command[133];",
                "$32  = written__valid;",
            ),
            (
                "every word goes to the vector memory",
                "$6  = written__valid & $5 ;",
                "$6  = written__valid;",
            ),
        ),
        _SOURCE: (
            ("walk begins at 0", "$13  = walk[7:0];", "$13  = 8'h00;"),
            ("outer stride ignored", "$13  = $10 [7:0];", "$13  = $5 [7:0];"),
            ("row stays", "$14  = $9 [7:0];", "$14  = row;"),
            ("inner count one short", "$7  = kept[23:8] - 1'h1;", "$7  = kept[23:8] - 2'h2;"),
        ),
        _TARGET: (
            ("walk begins at 0", "$13  = walk[7:0];", "$13  = 8'h00;"),
            ("rows begin at 0", "$14  = walk[7:0];", "$14  = 8'h00;"),
            ("outer stride from the last word", "$10  = row +", "$10  = address +"),
            (
                "inner count goes on",
                "$8 ) begin\n        $15  = 16'h0000;",
                "1'h0) begin\n        $15  = 16'h0000;",
            ),
            ("outer count one long", "$3  = kept[39:24] - 1'h1;", "$3  = kept[39:24];"),
            ("a word too few", "$2  = $signal  == $1 ;", "$2  = 1'h1;"),
        ),
    }.items()
    for name, right, wrong, *reason in faults
)
