import pytest
import torch
from torch import nn

from hwq.errors import UsageError
from hwq.models.tensors import conversion_notes, fault_of, to_float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_can_be_weights(dtype):
    assert fault_of(torch.ones(3, dtype=dtype)) is None


@pytest.mark.parametrize(
    ("tensor", "wanted"),
    [
        (
            torch.zeros(2, dtype=torch.int8),
            "must be float32, float64, float16 or bfloat16, not int8",
        ),
        (
            torch.zeros(2, dtype=torch.bool),
            "must be float32, float64, float16 or bfloat16, not bool",
        ),
        (
            torch.zeros(2, dtype=torch.complex64),
            "must be float32, float64, float16 or bfloat16, not complex64",
        ),
        (
            torch.zeros(2).to(torch.float8_e4m3fn),
            "must be float32, float64, float16 or bfloat16, not float8_e4m3fn",
        ),
        (torch.eye(2).to_sparse(), "must be dense, not torch.sparse_coo"),
        (torch.zeros(2, device="meta"), "has no values: it is on torch's meta device"),
        (
            torch.tensor([1.0, float("nan"), float("inf")]),
            "holds 2 of 3 values that are not finite (nan)",
        ),
        (torch.tensor([-1e300], dtype=torch.float64), "holds values beyond float32, up to 1e+300"),
        (
            nn.parameter.UninitializedParameter(),
            "has no shape yet: it is lazy, until the module has seen an image",
        ),
    ],
)
def test_what_cannot_be_a_weight(tensor, wanted):
    assert fault_of(tensor) == wanted


def test_conversions_are_told():
    one, two, three = torch.zeros(1), torch.zeros(1).half(), torch.zeros(1).double()
    assert conversion_notes({"a": one, "b": torch.zeros(1, dtype=torch.int64)}) == ()
    assert conversion_notes({"a": one, "b": two, "c": three}) == (
        "weights were float16 and float64, converted to float32",
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_become_float32(dtype):
    module = nn.BatchNorm2d(3).to(dtype)
    word = str(dtype).removeprefix("torch.")
    assert to_float32(module, "m") == (f"weights were {word}, converted to float32",)
    kinds = {name: value.dtype for name, value in module.state_dict().items()}
    assert kinds.pop("num_batches_tracked") == torch.int64
    assert set(kinds.values()) == {torch.float32}
    assert to_float32(module, "m") == ()


def test_a_mask_may_be_infinite_and_a_weight_may_not():
    module = nn.Linear(2, 3)
    module.register_buffer("mask", torch.full((2, 2), -torch.inf))
    assert to_float32(module, "m") == ()
    with torch.no_grad():
        module.weight[1, 1] = torch.nan
    with pytest.raises(UsageError) as caught:
        to_float32(module, "m")
    assert str(caught.value) == (
        "model 'm': parameter weight holds 1 of 6 values that are not finite (nan)"
    )


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (nn.Linear(2, 3, device="meta"), "parameter weight has no values"),
        (nn.BatchNorm2d(2, affine=False, device="meta"), "buffer running_mean has no values"),
    ],
)
def test_modules_without_values(module, wanted):
    with pytest.raises(UsageError, match=f"^model 'm': {wanted}"):
        to_float32(module, "m")


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_modules():
    with pytest.raises(UsageError, match="parameter weight has no shape yet"):
        to_float32(nn.LazyLinear(3), "m")
