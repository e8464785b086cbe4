import pytest

from hwq import errors
from hwq.errors import HwqError, SpecError, require


def test_every_error_is_an_hwq_error():
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(kinds) >= 6
    assert all(issubclass(kind, HwqError) for kind in kinds)


def test_the_tree_in_the_docstring_is_complete():
    kinds = [name for name, v in vars(errors).items() if isinstance(v, type)]
    assert all(name in errors.__doc__ for name in kinds)


def test_a_bad_parameter_is_also_a_value_error():
    assert issubclass(SpecError, ValueError)


def test_require():
    require(True, "nothing to say")
    with pytest.raises(SpecError, match=r"^bits must be in 2\.\.8, not 9$"):
        require(False, "bits must be in 2..8, not 9")


def test_a_message_is_one_short_printable_line():
    message = str(SpecError("a\n\x1b[31m  b \u2028 " + "x" * 9000 + " end"))
    assert message.startswith(r"a \x1b[31m b xxx") and message.endswith(" end")
    assert message.isprintable() and len(message) < 900
    assert str(SpecError("bits must be 4, not é")) == "bits must be 4, not é"
