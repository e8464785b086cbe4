"""Machines for plans: so small that everything is cut, and random ones."""

from hwq.arch.accelerator import Accelerator


def machine(rows, columns, kib=(1.0, 1.0, 1.0), rate=1.0, latency=0, lanes=4, **array):
    """Return an accelerator with buffers of `kib` KiB: activation, weight, output, then parameter.

    The last may be left out. `rate` is the bandwidth in bits per cycle, at 1 GHz.
    """
    word = max(32, *(8 * side for side in (rows, columns)))
    buffers = {
        name: {"size_kib": size, "width_bits": word, "banks": 1}
        for name, size in zip(("activation", "weight", "output", "parameter"), kib, strict=False)
    }
    sums = columns * 32 * 2
    buffers["output"] |= {"width_bits": 32, "banks": -(-sums // 32)}
    buffers["output"]["size_kib"] = max(kib[2], buffers["output"]["banks"])
    return Accelerator.model_validate(
        {
            "name": f"m{rows}x{columns}",
            "clock_mhz": 1000.0,
            "technology_nm": 22,
            "array": {"rows": rows, "columns": columns, "dataflow": "weight_stationary", **array},
            "vector_unit": {"lanes": lanes},
            "sram": buffers,
            "dram": {
                "kind": "lpddr4",
                "bandwidth_gib_s": rate * 1e9 / 2**33,
                "latency_cycles": latency,
            },
        }
    )
