"""Faults of the machine: its sequencer, sources, routes and target; see `hwq.sim.fault`."""

from hwq.sim.component import ALONE
from hwq.sim.fault import Fault

_SOURCE, _TARGET = f"{ALONE}.source", f"{ALONE}.target"

OF_MACHINES: tuple[Fault, ...] = (
    # sequencer
    Fault(
        "start taken while busy",
        "$A  = \\start$B  & $C ;",
        "$A  = \\start$B ;",
        ALONE,
        count=2,
        nth=1,
    ),
    Fault(
        "cycles start anew while busy",
        "$A  = \\start$B  & $C ;",
        "$A  = \\start$B ;",
        ALONE,
        count=2,
        nth=2,
    ),
    Fault(
        "cycles run while it fetches",
        "else if ($signal$A ) begin\n      $B ",
        "else begin\n      $B ",
        ALONE,
    ),
    Fault("goes on behind the last command", "$A  = done & $B ;", "$A  = done;", ALONE),
    Fault("first command is the last", "$A  = ~ command[2];", "$A  = 1'h0;", ALONE),
    Fault("same command again", "$A  = $B [2:0];", "$A  = $signature__addr ;", ALONE),
    Fault(
        "second program begins where the first ended",
        "if (done) begin\n        $A ",
        "if (1'h0) begin\n        $A ",
        ALONE,
        count=2,
        nth=1,
    ),
    Fault("cycles of a command begin at 0", "$A  = 32'd1;", "$A  = 32'd0;", ALONE),
    Fault("array starts a cycle early", "start = $signal$A  &", "start = $signal  &", ALONE),
    Fault(
        "vector layers start the array",
        "start = $signal$A  & from_array;",
        "start = $signal$A ;",
        ALONE,
    ),
    # sources
    Fault(
        "products with an activation are none",
        "$A  = command[1:0] == 1'h1;",
        "$A  = 1'h0;",
        ALONE,
        count=4,
        nth=1,
    ),
    Fault("word waits until its register is empty", "$A  = $B  | word_ready;", "$A  = $B ;", ALONE),
    Fault(
        "word overwrites one that waits",
        "$A  = $B  | word_ready;",
        "$A  = 1'h1;",
        ALONE,
        equivalent="every unit takes a word in each cycle, as none is ever refused its output",
    ),
    Fault("rows are not read", "$A  = $B  | $C ;", "$A  = $B ;", ALONE),
    Fault("reading goes on", "$A  = issue & \\last$B ;", "$A  = 1'h0;", ALONE),
    Fault(
        "parameters of the first column for all",
        "from_array ? sums__valid : issue;",
        "issue;",
        ALONE,
    ),
    # routes
    Fault("activation passed over", "$A  = $B  ? {", "$A  = 1'h0 ? {", ALONE),
    Fault("epilogue's low end ignored", "$A  = $B  ?", "$A  = 1'h0 ?", ALONE, count=6, nth=1),
    Fault(
        "epilogue's high end is its low end",
        "$A  ? command[225:208]",
        "$A  ? command[207:190]",
        ALONE,
    ),
    Fault(
        "encoder's low end ignored, of the activation",
        "$A  = $B  ?",
        "$A  = 1'h0 ?",
        ALONE,
        count=6,
        nth=3,
    ),
    Fault(
        "encoder's high end ignored, of codes", "$A  = $B  ?", "$A  = 1'h0 ?", ALONE, count=6, nth=6
    ),
    # target
    Fault(
        "every word goes to the operand",
        "$A  = written__valid & command[133];",
        "$A  = written__valid;",
        ALONE,
    ),
    Fault(
        "every word goes to the vector memory",
        "$A  = written__valid & $B ;",
        "$A  = written__valid;",
        ALONE,
    ),
    Fault("walk begins at 0", "$A  = walk[7:0];", "$A  = 8'h00;", _SOURCE, count=2, nth=1),
    Fault(
        "outer stride ignored",
        "$A  = $B [7:0];",
        "$A  = $C [7:0];",
        _SOURCE,
        count=3,
        nth=2,
        given="$C  = address + kept[47:40];",
    ),
    Fault("row stays", "$A  = $B [7:0];", "$A  = row;", _SOURCE, count=3, nth=3),
    Fault(
        "inner count one short",
        "$A  = kept[23:8] - 1'h1;",
        "$A  = kept[23:8] - 2'h2;",
        _SOURCE,
        count=2,
        nth=2,
    ),
    Fault("walk begins at 0", "$A  = walk[7:0];", "$A  = 8'h00;", _TARGET, count=2, nth=1),
    Fault("rows begin at 0", "$A  = walk[7:0];", "$A  = 8'h00;", _TARGET, count=2, nth=2),
    Fault(
        "outer stride from the last word", "$A  = row +", "$A  = address +", _TARGET, count=2, nth=2
    ),
    Fault(
        "inner count goes on",
        "$A ) begin\n        $B  = 16'h0000;",
        "1'h0) begin\n        $B  = 16'h0000;",
        _TARGET,
    ),
    Fault("outer count one long", "$A  = kept[39:24] - 1'h1;", "$A  = kept[39:24];", _TARGET),
    Fault("a word too few", "$A  = $signal  == $B ;", "$A  = 1'h1;", _TARGET, count=2, nth=1),
)
