from functools import partial
from typing import Any

import pytest

from hwq.errors import SpecError
from hwq.numerics.activation import ActivationSpec
from hwq.numerics.array import ArraySpec
from hwq.numerics.epilogue import EpilogueSpec
from hwq.numerics.softmax import SoftmaxSpec
from hwq.rtl.activation import Activation
from hwq.rtl.epilogue import Epilogue
from hwq.rtl.machine_program import MachineSpec
from hwq.rtl.softmax import Softmax


def machine_spec(**changes: Any) -> MachineSpec:
    parts: dict[str, Any] = {
        "array": ArraySpec(3, 3),
        "epilogue": partial(Epilogue, EpilogueSpec(-8, 7)),
        "activation": partial(Activation, ActivationSpec()),
        "encoder": partial(Epilogue, EpilogueSpec(-8, 7, acc_bits=18)),
        "rows": Softmax(SoftmaxSpec(10), 7, 3),
    }
    return MachineSpec(**parts | changes)


def test_smallest_memories_are_accepted() -> None:
    assert machine_spec(vector_depth=2, parameter_depth=2, program_depth=2).lanes == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"array": ArraySpec(3, 4)}, "array must be square and weight_stationary, not 3x4"),
        ({"program_depth": 1}, "program_depth must be in 2..1048576, not 1"),
        ({"vector_depth": 1}, "vector_depth must be in 2..1048576, not 1"),
        ({"parameter_depth": 1 << 21}, "parameter_depth must be in 2..1048576, not 2097152"),
        ({"rows": Softmax(SoftmaxSpec(10), 7, 4)}, "rows must have words of 3 lanes, not 4"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        machine_spec(**changes)
