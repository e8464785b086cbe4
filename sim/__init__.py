"""Co-simulation of the gateware in `hwq.rtl`: cocotb benches, and what runs them."""
