"""One netlist that decodes codes equals the tables of every quantizer's elements."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hwq.compiler.emit_program import emit_program
from hwq.errors import SpecError
from hwq.methods.base import Bits
from hwq.methods.catalog import METHODS
from hwq.numerics.log2 import Log2Spec
from hwq.numerics.pe import MULTIPLY, MULTIPLY_SHIFT, SHIFT, PeSpec
from hwq.quantizers.mac_form import MacForm
from hwq.quantizers.shift_uniform_log2 import ShiftUniformLog2
from hwq.rtl.code_decoder import CodeDecoder, decoder_settings, is_signed


def twin(bits: int, m: int, negative: bool) -> PeSpec:
    half = range(1 << (bits - 1))
    fine = tuple(-code if negative else code for code in half)
    return PeSpec(MULTIPLY_SHIFT, bits, 8, 32, (*fine, *half), (0,) * len(half) + (m,) * len(half))


def signed_codes(bits: int) -> PeSpec:
    half = 1 << (bits - 1)
    return PeSpec(MULTIPLY, bits, 8, 32, (*range(half), *range(-half, 0)))


ELEMENTS = {
    **{f"unsigned{bits}": PeSpec(MULTIPLY, bits) for bits in range(2, 9)},
    **{f"signed{bits}": signed_codes(bits) for bits in range(2, 9)},
    **{
        f"twin{bits}_{m}_{negative}": twin(bits, m, negative)
        for bits, m in ((2, 0), (3, 13), (4, 3), (8, 8))
        for negative in (False, True)
    },
    **{
        f"shift_uniform{bits}_{eta}_{offset}": ShiftUniformLog2(bits, eta, offset)
        .mac_form()
        .element()
        for bits, eta, offset in ((3, 7, 0), (4, 15, 0), (4, 15, 3), (8, 15, 0), (8, 1, 0))
    },
    **{
        f"log{steps}_{bits}_{offset}_{most}": MacForm.logarithmic(
            Log2Spec(16, bits, steps, offset, most)
        ).element()
        for steps in (1, 2)
        for bits in (2, 3, 4, 8)
        for offset, most in ((0, 15), (1, 15), (3, 7), (4, 4), (5, 15))
    },
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_code_is_decoded_as_the_tables_say(name: str) -> None:
    pe, decoder = ELEMENTS[name], CodeDecoder()
    settings, bits = decoder_settings(pe), pe.a_bits
    found = []

    async def bench(ctx) -> None:
        for field, value in settings.items():
            ctx.set(decoder.settings[field], value)
        for code in range(1 << bits):
            # as a buffer gives it: of codes that may be negative with their sign
            low = is_signed(pe) and code >> (bits - 1)
            ctx.set(decoder.code, code - (1 << bits) if low else code)
            await ctx.delay(1e-9)
            value = decoder.decoded
            found.append([ctx.get(value.significand), ctx.get(value.shift), ctx.get(value.plane)])

    simulator = Simulator(decoder)
    simulator.add_testbench(bench)
    simulator.run()
    np.testing.assert_array_equal(np.array(found).T, np.array([pe.significand, pe.shift, pe.plane]))


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("bits", [Bits(8, 8), Bits(3, 3)], ids=str)
def test_every_method_has_codes_that_it_decodes(
    method: str, bits: Bits, tiny_prepared, tiny_calibration, quick_method, lower
) -> None:
    graph = quick_method(method).fit(tiny_prepared, tiny_calibration, bits).graph
    products = [layer for layer in emit_program(lower(graph)).layers if hasattr(layer, "pe")]
    assert products
    for layer in products:
        assert decoder_settings(layer.pe)


@pytest.mark.parametrize(
    ("pe", "message"),
    [
        (PeSpec(MULTIPLY, 9), "a_bits of a decoder must be at most 8, not 9"),
        (PeSpec(MULTIPLY, 2, 8, 32, (0, 1, 3, 2)), "no decoder has the tables of this element"),
        (PeSpec(SHIFT, 2, 8, 32, (1, 1, 0, 1), (3, 2, 0, 0)), "no decoder has the tables"),
    ],
    ids=("wide", "order", "hole"),
)
def test_what_it_cannot_decode_is_refused(pe: PeSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        decoder_settings(pe)
