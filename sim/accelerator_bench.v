// An accelerator between its DRAM and its memories of commands, all of them in this file, which
// needs nothing but a Verilog simulator.
//
// +rate=HEX +needs=HEX                   tokens a cycle of the DRAM, from the first one in which a
//                                        beat is asked for; tokens of a beat
// +latency=N                             cycles more than one until what is loaded is there, to 255
// +stalls=1                              beats wait longer, at random
// +dram=FILE +work=FILE +transfers=FILE  contents of the memories, for $readmemh
// +log=FILE                              what the units write to the activation buffer:
//                                        slot, cycle, granule, bits, keep, elements
// +tables=FILE                           what they write to the parameter memory:
//                                        slot, cycle, word, keep, bits
// +slots=FILE                            cycle in which each slot begins, then that of the end
// +results=FILE +first=N +last=N         beats of the DRAM at the end
// +expected=FILE                         beats of the results, if there are RESULTS to compare
// +top=N                                 print so many of the largest results
// +limit=N                               cycles after which the run has failed
// +waves=FILE +from=N +to=N              waves of these cycles, and the end; if compiled with WAVES
`timescale 1ns / 1ns

`ifdef VERILATOR
module bench (input clk);
`else
module bench;
`endif
  parameter BEAT = 128;
  parameter DRAM_DEPTH = 1024;
  parameter WORK_DEPTH = 1024;
  parameter TRANSFERS_DEPTH = 1024;
  // of the DRAM and of a run, if no argument says otherwise
  parameter [127:0] RATE = 1;
  parameter [127:0] NEEDS = 1;
  parameter LATENCY = 0;
  parameter [63:0] LIMIT = 1000000000;
  // results: so many neighbours of RESULT_BITS each, the first one lowest in beat RESULT_BEAT
  parameter RESULTS = 0;
  parameter RESULT_BITS = 32;
  parameter RESULT_BEAT = 0;
  // slots ahead of those of the network, and cycles of these in the cost model
  parameter BEFORE = 0;
  parameter [63:0] PLANNED = 0;

  // a reset that rises: what has not changed since time 0 is evaluated by Icarus only then
  reg rst = 0, start = 0;
`ifndef VERILATOR
  reg clk = 0;
  always #5 clk = ~clk;
`endif

  reg [BEAT-1:0] dram [0:DRAM_DEPTH-1];
  reg [63:0] work [0:WORK_DEPTH-1];
  reg [63:0] transfers [0:TRANSFERS_DEPTH-1];

  wire busy, request_valid;
  wire [31:0] slot;
  wire [23:0] work_address, transfers_address;
  wire [28+BEAT:0] request;  // address, store, word
  wire [27:0] address = request[27:0];
  wire store = request[28];
  reg [63:0] work_word, transfers_word;
  reg response_valid = 0;
  reg [BEAT-1:0] response;

  // whether a beat is taken in this cycle
  reg [127:0] rate = 1, needs = 1;
  reg [8:0] latency = 0;
  reg stalls = 0;
  reg [127:0] tokens = 0;
  reg [15:0] random = 16'hACE1;
  wire [127:0] more = tokens + rate;
  wire request_ready = more >= needs && !(stalls && random[1:0] == 0);
  wire taken = request_valid && request_ready;

  // words on their way
  reg [BEAT-1:0] later [0:255];
  reg [255:0] comes = 0;
  reg [7:0] place = 0;

  accelerator dut (
    .clk(clk), .rst(rst), .start(start), .busy(busy), .slot(slot),
    .work__address(work_address), .work__word(work_word),
    .transfers__address(transfers_address), .transfers__word(transfers_word),
    .request__payload(request), .request__valid(request_valid), .request__ready(request_ready),
    .response__payload(response), .response__valid(response_valid)
  );

  always @(posedge clk) begin
    random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
    work_word <= work[work_address];
    transfers_word <= transfers[transfers_address];
    if (!request_valid) tokens <= 0;
    else if (taken) tokens <= rate >= needs ? 0 : more - needs;
    else if (more < needs) tokens <= more;
    if (taken && store) dram[address] <= request[29 +: BEAT];
    if (latency == 0) begin
      response_valid <= taken && !store;
      response <= dram[address];
    end else begin
      response_valid <= comes[place];
      response <= later[place];
      comes[place] <= taken && !store;
      later[place] <= dram[address];
      place <= place == latency - 1 ? 0 : place + 1;
    end
  end

  // what is seen of it
  reg [1023:0] name;
  integer log, tables, slots, results, first, last, number;
  reg [63:0] began = 0;
  reg [63:0] cycle = 0, limit;
  reg [31:0] previous = 0;
`ifdef WAVES
  reg [1023:0] waves;
  reg [63:0] from, to;

  initial begin
    if (!$value$plusargs("waves=%s", waves)) $finish;
    if (!$value$plusargs("from=%d", from)) from = 0;
    if (!$value$plusargs("to=%d", to)) to = 1000000000;
  end
`endif
  reg started = 0;

  initial begin
    if (!$value$plusargs("dram=%s", name)) name = "dram.hex";
    $readmemh(name, dram);
    if (!$value$plusargs("work=%s", name)) name = "work.hex";
    $readmemh(name, work);
    if (!$value$plusargs("transfers=%s", name)) name = "transfers.hex";
    $readmemh(name, transfers);
    if (!$value$plusargs("expected=%s", name)) name = "expected.hex";
    if (RESULTS != 0) $readmemh(name, expected);
    log = 0;
    if ($value$plusargs("log=%s", name)) log = $fopen(name, "w");
    tables = 0;
    if ($value$plusargs("tables=%s", name)) tables = $fopen(name, "w");
    slots = 0;
    if ($value$plusargs("slots=%s", name)) slots = $fopen(name, "w");
    if (!$value$plusargs("limit=%d", limit)) limit = LIMIT;
    if (!$value$plusargs("rate=%h", rate)) rate = RATE;
    if (!$value$plusargs("needs=%h", needs)) needs = NEEDS;
    if (!$value$plusargs("latency=%d", latency)) latency = LATENCY;
    if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
    if (!$value$plusargs("top=%d", top)) top = 10;
  end

  // the results at the end
  localparam RESULT_BEATS = (RESULTS * RESULT_BITS + BEAT - 1) / BEAT;
  reg [BEAT-1:0] expected [0:(RESULTS == 0 ? 0 : RESULT_BEATS - 1)];
  reg [BEAT-1:0] counts;  // which bits of a beat are results
  reg signed [63:0] value [0:RESULTS];
  reg [RESULTS:0] told;
  integer top, wrong, index, low, best;

  task compare;
    begin
      wrong = 0;
      for (number = 0; number < RESULT_BEATS; number = number + 1) begin
        low = RESULTS * RESULT_BITS - number * BEAT;
        counts = {BEAT{1'b1}};
        if (low < BEAT) counts = ~(counts << low);
        if ((dram[RESULT_BEAT + number] & counts) !== expected[number]) begin
          if (wrong == 0)
            $display("beat %0d must be %h, not %h", RESULT_BEAT + number, expected[number],
                     dram[RESULT_BEAT + number] & counts);
          wrong = wrong + 1;
        end
      end
      print_largest;
      if (wrong == 0) $display("PASS: %0d cycles, %0d planned", cycle - began, PLANNED);
      else
        $display("FAIL: %0d of %0d beats differ; %0d cycles, %0d planned", wrong, RESULT_BEATS,
                 cycle - began, PLANNED);
    end
  endtask

  task print_largest;
    begin
      for (index = 0; index < RESULTS; index = index + 1) begin
        value[index] = 0;
        for (number = 0; number < 64; number = number + 1) begin
          // bits above its own repeat the sign
          low = index * RESULT_BITS + (number < RESULT_BITS ? number : RESULT_BITS - 1);
          value[index][number] = dram[RESULT_BEAT + low / BEAT][low % BEAT];
        end
      end
      told = 0;
      for (number = 0; number < top && number < RESULTS; number = number + 1) begin
        best = -1;
        for (index = 0; index < RESULTS; index = index + 1)
          if (!told[index] && (best < 0 || value[index] > value[best])) best = index;
        told[best] = 1;
        $display("logit %0d: %0d", best, value[best]);
      end
    end
  endtask

  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle > 0 && cycle < 4;
    start <= cycle == 8;
    started <= started || busy;
    previous <= slot;
    if (slot != previous && busy) begin
      if (slot == BEFORE + 1) began <= cycle;
      if (slots != 0) begin
        $fwrite(slots, "%0d\n", cycle);
        $fflush(slots);
      end
    end
    if (log != 0 && dut.activation.write__0__enable)
      $fwrite(log, "%h %h %h %h %h %h\n", slot, cycle[31:0], dut.activation.write__0__address,
              dut.activation.write__0__bits, dut.activation.write__0__keep,
              dut.activation.write__0__elements);
    if (tables != 0 && dut.parameters.store__enable)
      $fwrite(tables, "%h %h %h %h %h\n", slot, cycle[31:0], dut.parameters.store__address,
              dut.parameters.store__keep, dut.parameters.store__data);
    if (started && !busy) begin
      if (slots != 0) begin
        $fwrite(slots, "%0d\n", cycle);
        $fclose(slots);
      end
      if (log != 0) $fclose(log);
      if (tables != 0) $fclose(tables);
      if ($value$plusargs("results=%s", name)) begin
        results = $fopen(name, "w");
        if (!$value$plusargs("first=%d", first)) first = 0;
        if (!$value$plusargs("last=%d", last)) last = DRAM_DEPTH - 1;
        for (number = first; number <= last; number = number + 1)
          $fwrite(results, "%h\n", dram[number]);
        $fclose(results);
      end
      $display("done: %0d slots, %0d cycles", slot, cycle);
      if (RESULTS != 0) compare;
      $finish;
    end
`ifdef WAVES
    if (cycle == from) begin
      $dumpfile(waves);
      $dumpvars;
    end
    if (cycle == to) begin
      $display("waves of cycles %0d to %0d", from, to);
      $finish;
    end
`endif
    if (cycle == limit) begin
      $display("not done after %0d cycles, in slot %0d", limit, slot);
      if (RESULTS != 0) $display("FAIL: it did not end");
      $finish;
    end
  end
endmodule
