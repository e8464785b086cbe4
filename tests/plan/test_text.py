import pytest

from hwq.compiler.operand import Operand
from hwq.compiler.program import MatmulLayer, Program, VectorLayer
from hwq.errors import SpecError
from hwq.numerics.pe import PeSpec
from hwq.plan.make_plan import make_plan
from hwq.plan.text import from_text, to_text
from tests.plan.machines import machine

TEXT = """\
pe_0 = PeSpec(
 kind='multiply', a_bits=2, b_bits=2, acc_bits=32, significand=(0, 1, 2, 3), shift=(0, 0, 0, 0),
 plane=(0, 0, 0, 0),
)
plan = Plan(
 name='p', accelerator='m4x4', dataflow='weight_stationary', timing='rtl', lanes=4,
 memories=(
  Memory(name='dram', bits=1024, word_bits=512), Memory(name='activation', bits=8192, word_bits=32),
  Memory(name='weight', bits=8192, word_bits=32),
  Memory(name='parameter', bits=524288, word_bits=352),
  Memory(name='output', bits=65536, word_bits=32),
 ),
 homes=(
  Home(tensor='x', memory='dram', base=0, bits=2, view=View(offset=0, axes=(((4, 32), (24, 1)),))),
  Home(tensor='w', memory='weight', base=0, bits=2, view=View(offset=0, axes=(((96, 1),),))),
  Home(tensor='y', memory='dram', base=512, bits=8, view=View(offset=0, axes=(((16, 1),),))),
 ),
 groups=(
  Group(
   times=1,
   steps=(
    Step(
     m=4, n=4, k=24, tile_m=4, tile_n=4, tile_k=16, m_outer=True,
     product=Product(
      name='fc', pe=pe_0, dataflow='weight_stationary', column_sums=False, offset=0,
      plane_weights=(1,), writes='acc', sums_base=0, joined=False,
     ),
     passes=(
      Pass(
       name='r', op='requantize', unit='epilogue', rows=4, length=4, bits=32, reads=('acc',),
       writes='y', results=16, result_bits=8,
      ),
     ),
     inputs=(
      Port(
       name='a', tensor='x', bits=2, signed=True,
       view=View(offset=0, axes=((), ((4, 32),), ((24, 1),))), along=('c', 'm', 'k'), memory='dram',
       base=0, stage=Stage(memory='activation', quantum=16, bases=(0, 128), bits=128), early=False,
      ),
      Port(
       name='b', tensor='w', bits=2, signed=True,
       view=View(offset=0, axes=((), ((24, 4),), ((4, 1),))), along=('c', 'k', 'n'),
       memory='weight', base=0, stage=None, early=False,
      ),
     ),
     outputs=(
      Port(
       name='y', tensor='y', bits=8, signed=True,
       view=View(offset=0, axes=((), ((4, 4),), ((4, 1),))), along=('c', 'm', 'n'), memory='dram',
       base=512, stage=Stage(memory='activation', quantum=4, bases=(256,), bits=128), early=False,
      ),
     ),
     waits=True,
    ),
   ),
  ),
 ),
)
"""


def plan():
    operands = Operand("x", 96, 2), Operand("w", 96, 2, True), Operand("acc", 16, 32)
    layers = (
        MatmulLayer("fc", 4, 4, 24, 1, PeSpec(a_bits=2, b_bits=2), *operands),
        VectorLayer("r", "requantize", 4, 4, (operands[2],), Operand("y", 16, 8), True),
    )
    return make_plan(Program("p", layers), machine(4, 4, (1, 1, 8)))


def test_a_plan_prints_and_parses():
    text = to_text(plan())
    assert text == TEXT
    assert from_text(text) == plan()
    assert to_text(from_text(text)) == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("plan = ", "other = ", "the text of a plan must end with 'plan = Plan"),
        ("base=512", "base=f(512)", "line 16 is none of a plan's"),
        ("base=512", "bass=512", "line 16 is none of a plan's"),
        ("base=512", "base=[512]", "line 16 is none of a plan's"),
        ("base=512", "base=", "line 16: "),
        ("plan = ", "import os\nplan = ", "line 5 is none of a plan's"),
        ("kind='multiply'", "kind='divide'", "kind must be one of multiply, shift, "),
    ],
)
def test_text_that_is_no_plan_is_refused(old, new, message):
    text = to_text(plan())
    assert old in text
    with pytest.raises(SpecError) as caught:
        from_text(text.replace(old, new))
    assert message in str(caught.value)
