// Drives one stream unit with the vectors of a file and writes what leaves it to another.
//
// A cocotb bench (tb_stream.py) holds `rst`, runs `clk` and waits for `done`; what happens in
// every cycle is done here, since that is many times faster than in Python. Files, in the
// simulator's working folder, are opened anew after each reset:
//
//   settings.txt   decimal numbers, in the order in which `start` reads them
//   inputs.hex     payloads to send
//   outputs.hex    payload of every output, written here
//   cycles.txt     cycle of every output, written here
//   summary.txt    fault, cycles, inputs, outputs, cycle of the last input of the first result,
//                  stalled cycles; written when done
//
// All that is driven changes after the clock edge, as registers do.
module hwq_stream_driver #(
    parameter I = 1,
    parameter O = 1
) (
    input clk,
    input rst,
    output reg done,
    output reg [I-1:0] i__payload,
    output reg i__valid,
    input i__ready,
    input [O-1:0] o__payload,
    input o__valid,
    output reg o__ready
);
  localparam NONE = 0, CHANGED = 1, DROPPED = 2, SURPLUS = 3, IDLE = 4, UNKNOWN = 5;

  integer file, inputs, outputs, cycles, status;
  // what to do: counts, stall patterns, limits
  integer input_count, output_count, first_count;
  integer send_on, send_off, send_period, send_chance;
  integer take_on, take_off, take_phase, take_chance, take_full;
  integer idle_limit, tail;
  reg [31:0] random;
  // what has happened
  integer cycle, sent, taken, first_cycle, last_cycle, since_sent, idle, blocked, stalled, fault;
  reg started, resetting, waiting, may_send, may_take;
  reg [O-1:0] held;
  reg [I-1:0] next;

  initial begin
    started = 0;
    resetting = 0;
    done = 0;
    i__valid = 0;
    i__payload = 0;
    o__ready = 0;
  end

  task start;
    begin
      if (started) begin
        $fclose(inputs);
        $fclose(outputs);
        $fclose(cycles);
      end
      file = $fopen("settings.txt", "r");
      status = $fscanf(file, "%d %d %d", input_count, output_count, first_count);
      status = $fscanf(file, "%d %d %d %d", send_on, send_off, send_period, send_chance);
      status = $fscanf(file, "%d %d %d", take_on, take_off, take_phase);
      status = $fscanf(file, "%d %d", take_chance, take_full);
      status = $fscanf(file, "%d %d %d", idle_limit, tail, random);
      $fclose(file);
      inputs = $fopen("inputs.hex", "r");
      outputs = $fopen("outputs.hex", "w");
      cycles = $fopen("cycles.txt", "w");
      cycle = 0;
      sent = 0;
      taken = 0;
      first_cycle = 0;
      last_cycle = 0;
      since_sent = send_period;
      idle = 0;
      blocked = 0;
      stalled = 0;
      fault = NONE;
      waiting = 0;
      started = 1;
    end
  endtask

  task stop;
    begin
      $fclose(inputs);
      $fclose(outputs);
      $fclose(cycles);
      file = $fopen("summary.txt", "w");
      $fwrite(file, "%0d %0d %0d %0d %0d %0d\n", fault, last_cycle + 1, sent, taken, first_cycle,
              stalled);
      $fclose(file);
      started = 0;
      done <= 1;
    end
  endtask

  // signals still have the values that the unit's registers see at this edge
  task sample;
    begin
      if (o__valid !== 1'b0 && o__valid !== 1'b1) fault = UNKNOWN;
      if (i__ready !== 1'b0 && i__ready !== 1'b1) fault = UNKNOWN;
      if (o__valid && (^o__payload) === 1'bx) fault = UNKNOWN;
      if (waiting && !o__valid) fault = DROPPED;
      else if (waiting && o__payload !== held) fault = CHANGED;
      waiting = o__valid && !o__ready;
      held = o__payload;
      if (waiting || (i__valid && !i__ready)) stalled = stalled + 1;

      idle = idle + 1;
      since_sent = since_sent + 1;
      blocked = i__valid && !i__ready ? blocked + 1 : 0;
      if (o__valid && o__ready) begin
        if (taken == output_count) fault = SURPLUS;
        else begin
          $fwrite(outputs, "%h\n", o__payload);
          $fwrite(cycles, "%0d\n", cycle);
          taken = taken + 1;
          last_cycle = cycle;
          idle = 0;
        end
      end
      if (i__valid && i__ready) begin
        sent = sent + 1;
        if (sent == first_count) first_cycle = cycle;
        since_sent = 1;
        idle = 0;
      end
    end
  endtask

  task drive;
    begin
      // xorshift of 32 bits; two of its bytes decide
      random = random ^ (random << 13);
      random = random ^ (random >> 17);
      random = random ^ (random << 5);
      may_send = cycle % (send_on + send_off) < send_on && since_sent >= send_period
                 && {24'b0, random[7:0]} < send_chance;
      may_take = (cycle + take_phase) % (take_on + take_off) < take_on
                 && {24'b0, random[23:16]} < take_chance;
      // take_full: only when the unit has refused for so long, and then one; all at the end
      if (take_full > 0) may_take = (blocked >= take_full && !o__ready) || sent == input_count;
      if (!(i__valid && !i__ready)) begin
        i__valid <= 0;
        // what is not valid must not matter
        i__payload <= ~i__payload;
        if (sent < input_count && may_send) begin
          status = $fscanf(inputs, "%h", next);
          i__payload <= next;
          i__valid <= 1;
        end
      end
      o__ready <= may_take || taken == output_count;
    end
  endtask

  always @(posedge clk) begin
    if (rst) begin
      if (!resetting) start;
      resetting = 1;
      done <= 0;
      i__valid <= 0;
      o__ready <= 0;
    end else if (started) begin
      resetting = 0;
      sample;
      drive;
      cycle = cycle + 1;
      // the unit must stay silent for `tail` cycles after its last output
      if (idle >= idle_limit && taken < output_count) fault = IDLE;
      if (fault != NONE || (taken == output_count && idle >= tail)) stop;
    end
  end
endmodule
