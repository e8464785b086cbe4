"""A whole accelerator as a hardware team gets it: Verilog, waivers, constraints, its registers."""

from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Final

from hwq.arch.accelerator import Accelerator
from hwq.rtl.accelerator import AcceleratorGateware
from hwq.rtl.delivery import GENERATORS, TEMPLATES
from hwq.rtl.registers import port_list, registers_page
from hwq.rtl.shared import emit_whole

TOP: Final = "accelerator"
"""Name of the module and of its files."""
_OUTSIDE: Final = 0.2
"""Share of a period that inputs and outputs leave to what is around the accelerator."""
_WAIVERS: Final = """// of a choice that is not among its cases, what is assigned before it holds
lint_off -rule CASEINCOMPLETE -file "*accelerator.v"
// an instance has the name that a signal has within it
lint_off -rule VARHIDDEN -file "*accelerator.v"
"""


def hardware(gateware: AcceleratorGateware, axi: bool = False) -> dict[str, str]:
    """Return file name -> text: what is the same for all networks of an activation function.

    Parameters
    ----------
    gateware : AcceleratorGateware
    axi : bool
        Whether there is a wrapper with AXI-Stream names for the DRAM.
    """
    waivers = (TEMPLATES / "waivers.vlt").read_text(encoding="utf-8")
    files = {
        f"{TOP}.v": header(gateware) + emit_whole(gateware, TOP),
        f"{TOP}.vlt": waivers.replace("@name@", TOP) + _WAIVERS,
        f"{TOP}.sdc": constraints(gateware),
        "registers.md": registers_page(gateware),
    }
    if axi:
        files[f"{TOP}_axi.v"] = axi_wrapper(gateware)
    return files


def header(gateware: AcceleratorGateware) -> str:
    """Return comments that say what the Verilog was made of."""
    machine = gateware.machine
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in GENERATORS)
    lines = [
        f"accelerator {machine.name}: {machine.description}".rstrip(" :"),
        f"made by {versions}; do not edit",
        f"activation function {gateware.function}, rows of {gateware.max_length} elements at most",
        *(f"{name} = {value}" for name, value in _fields(machine.model_dump(), "")),
    ]
    return "".join(f"// {line}\n" for line in lines)


def _fields(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{path}{name}.")
        elif path or name not in ("name", "description"):
            yield f"{path}{name}", value


def period_ns(machine: Accelerator) -> float:
    """Nanoseconds of a clock cycle."""
    return 1000 / machine.clock_mhz


def constraints(gateware: AcceleratorGateware) -> str:
    """Return the clock and what is known of the other ports, in SDC."""
    period, ports = period_ns(gateware.machine), port_list(gateware)
    outside = period * _OUTSIDE
    groups = {
        side: " ".join(
            f"{{{name}[*]}}" if bits > 1 else name
            for name, direction, bits in ports
            if direction == side and name != "clk"
        )
        for side in ("input", "output")
    }
    return (
        f"# {gateware.machine.name} at {gateware.machine.clock_mhz:g} MHz; times in ns\n"
        f"create_clock -name clk -period {period:.3f} [get_ports clk]\n\n"
        "# one clock: nothing crosses from another. What is around the accelerator has\n"
        f"# {_OUTSIDE:.0%} of a cycle on either side; put its own delays here\n"
        f"set_input_delay -clock clk {outside:.3f} [get_ports {{{groups['input']}}}]\n"
        f"set_output_delay -clock clk {outside:.3f} [get_ports {{{groups['output']}}}]\n\n"
        "# rst is synchronous, and timed like every input. If it stays for many cycles, and\n"
        "# start comes long after it, it may take as long as it likes:\n"
        "# set_false_path -from [get_ports rst]\n"
    )


def axi_wrapper(gateware: AcceleratorGateware) -> str:
    """Return module `accelerator_axi`: the DRAM's streams with the names of AXI-Stream."""
    bits = {name: width for name, _, width in port_list(gateware)}
    request, response = bits["request__payload"], bits["response__payload"]
    words = {name: -(-width // 8) * 8 for name, width in (("m", request), ("s", response))}
    padding = words["m"] - request
    first = f"{{{padding}'d0, request}}" if padding else "request"
    passed = [
        f"  {side:6} {f'[{width - 1}:0] ' if width > 1 else ''}{name},\n"
        for name, side, width in port_list(gateware)
        if name not in ("clk", "rst") and not name.startswith(("request", "response"))
    ]
    names = [line.split()[-1].rstrip(",") for line in passed]
    return (
        f"// {gateware.machine.name} with the names of AXI-Stream around its DRAM.\n"
        "// m_axis: requests, as registers.md has them, zeros above; s_axis: answers\n"
        f"module {TOP}_axi (\n"
        "  input  aclk,\n"
        "  input  aresetn,\n"
        f"{''.join(passed)}"
        f"  output [{words['m'] - 1}:0] m_axis_request_tdata,\n"
        "  output m_axis_request_tvalid,\n"
        "  input  m_axis_request_tready,\n"
        f"  input  [{words['s'] - 1}:0] s_axis_response_tdata,\n"
        "  input  s_axis_response_tvalid,\n"
        "  output s_axis_response_tready\n"
        ");\n"
        f"  wire [{request - 1}:0] request;\n"
        f"  assign m_axis_request_tdata = {first};\n"
        "  assign s_axis_response_tready = 1'b1;\n"
        f"  {TOP} dut (\n"
        "    .clk(aclk), .rst(!aresetn),\n"
        f"{''.join(f'    .{name}({name}),{chr(10)}' for name in names)}"
        "    .request__payload(request), .request__valid(m_axis_request_tvalid),\n"
        "    .request__ready(m_axis_request_tready),\n"
        f"    .response__payload(s_axis_response_tdata[{response - 1}:0]),\n"
        "    .response__valid(s_axis_response_tvalid)\n"
        "  );\n"
        "endmodule\n"
    )
