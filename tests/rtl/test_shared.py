import os
import subprocess
import sys

import pytest

pytest.importorskip("amaranth", reason="gateware needs Amaranth: pip install 'hwq[rtl]'")

TWO_ARRAYS = """
from hwq.numerics.array import ArraySpec
from hwq.rtl.array import Array
from hwq.rtl.shared import emit_shared

sizes = {"one": (1, 1), "two": (2, 3), "three": (3, 2)}
print(emit_shared({name: Array(ArraySpec(*size)) for name, size in sizes.items()}, "arrays"))
"""


def test_the_text_is_the_same_in_every_process() -> None:
    """Kept builds are found by it."""
    texts = [
        subprocess.run(
            [sys.executable, "-c", TWO_ARRAYS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    ]
    assert "module arrays(" in texts[0]
    assert texts[0] == texts[1] == texts[2]
