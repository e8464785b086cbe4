// Self-checking bench of @name@: every vector of @name@_i.hex at full rate, then with stalls on
// both sides; what leaves must equal @name@_o.hex. Prints PASS, or FAIL with the first mistake.
//
// With Icarus:     iverilog -g2005 -o bench @name@.v @name@_tb.v && ./bench
// With Verilator:  verilator --binary --timing -Wno-fatal @name@_tb.v @name@.v && obj_dir/V@name@_tb
//
// Run it in the folder of the files.
module @name@_tb;
  localparam INPUTS = @inputs@, OUTPUTS = @outputs@;
  localparam PER_RESULT_IN = @per_result_in@, PER_RESULT_OUT = @per_result_out@;
  localparam LATENCY = @latency@, PATIENCE = @patience@;

  reg clk = 0, rst = 1;
  reg [@i_high@:0] i_payload = 0;
  reg i_valid = 0, o_ready = 0;
  wire [@o_high@:0] o_payload;
  wire i_ready, o_valid;

  reg [@i_high@:0] vectors[0:INPUTS-1];
  reg [@o_high@:0] wanted[0:OUTPUTS-1];
  reg [@o_high@:0] held;
  reg [31:0] random = 32'd1;
  reg stalls = 0, waiting = 0, failed = 0;
  integer sent = 0, taken = 0, cycle = 0, idle = 0, first_in = 0;

  @name@ dut (
      .clk(clk),
      .rst(rst),
      .i__payload(i_payload),
      .i__valid(i_valid),
      .i__ready(i_ready),
      .o__payload(o_payload),
      .o__valid(o_valid),
      .o__ready(o_ready)
  );

  always #5 clk = ~clk;

  initial begin
    $readmemh("@name@_i.hex", vectors);
    $readmemh("@name@_o.hex", wanted);
  end

  task fail;
    begin
      $display("FAIL @name@ at output %0d of %0d, cycle %0d, stalls %0d", taken, OUTPUTS, cycle,
               stalls);
      failed = 1;
      $finish;
    end
  endtask

  always @(posedge clk) begin
    if (rst) begin
      rst <= cycle < 2;
      cycle = cycle == 2 ? 0 : cycle + 1;
    end else if (!failed) begin
      // what was transferred at this edge
      idle = idle + 1;
      if (waiting && (!o_valid || o_payload !== held)) begin
        $display("o changed before its transfer");
        fail;
      end
      waiting = o_valid && !o_ready;
      held = o_payload;
      if (i_valid && i_ready) begin
        sent = sent + 1;
        idle = 0;
        if (sent == PER_RESULT_IN) first_in = cycle;
      end
      if (o_valid && o_ready) begin
        if (taken >= OUTPUTS) begin
          $display("there is an output after the last one");
          fail;
        end else if (o_payload !== wanted[taken]) begin
          $display("got %h, want %h", o_payload, wanted[taken]);
          fail;
        end
        taken = taken + 1;
        idle = 0;
        if (taken == PER_RESULT_OUT && !stalls && cycle - first_in != LATENCY) begin
          $display("latency is %0d cycles, want %0d", cycle - first_in, LATENCY);
          fail;
        end
      end
      if (idle > PATIENCE && taken < OUTPUTS) begin
        $display("there is no progress");
        fail;
      end

      // what is offered next
      random = random ^ (random << 13);
      random = random ^ (random >> 17);
      random = random ^ (random << 5);
      if (!i_valid || i_ready) begin
        i_valid <= sent < INPUTS && (!stalls || random[1:0] != 2'd0);
        if (sent < INPUTS) i_payload <= vectors[sent];
      end
      o_ready <= !stalls || random[17:16] != 2'd0;
      cycle = cycle + 1;

      // after a while without an output too many: again with stalls, or done
      if (taken == OUTPUTS && idle > LATENCY + 8 && !failed) begin
        if (stalls) begin
          $display("PASS @name@: %0d inputs, %0d outputs, with and without stalls", INPUTS, OUTPUTS);
          $finish;
        end
        // from the start, since a unit may walk through tables
        rst <= 1;
        cycle = 0;
        stalls = 1;
        sent = 0;
        taken = 0;
        idle = 0;
      end
    end
  end
endmodule
