import pytest

from hwq.api.evaluation import make_entries
from hwq.errors import SpecError, UsageError


def test_every_method_is_fitted_at_every_width():
    entries = make_entries(["minmax", "scalepredictor@minmax"], ["w8a8", "w4a4"], {})
    assert [entry.stem for entry in entries] == [
        "minmax-w8a8",
        "minmax-w4a4",
        "scalepredictor@minmax-w8a8",
        "scalepredictor@minmax-w4a4",
    ]
    assert entries[2].method.base == "minmax"


def test_options_reach_the_method_and_where_it_is_a_base():
    options = {"minmax.softmax": "log2", "scalepredictor.taps": 1}
    plain, dynamic = make_entries(["minmax", "scalepredictor@minmax"], ["w8a8"], options)
    assert plain.method.softmax == "log2"
    assert dynamic.method.taps == 1 and dynamic.method.base_options == {"softmax": "log2"}
    only = {"scalepredictor@minmax.taps": 1}
    first, second = make_entries(["scalepredictor@minmax", "scalepredictor"], ["w8a8"], only)
    assert (first.method.taps, second.method.taps) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((["magic"], ["w8a8"], {}), UsageError, "unknown PTQ method 'magic'"),
        ((["minmax@repq_vit"], ["w8a8"], {}), UsageError, "takes no base"),
        ((["minmax"], ["8"], {}), UsageError, "bits must look like w8a8"),
        ((["minmax", "minmax"], ["w8a8"], {}), UsageError, "minmax-w8a8 is asked for twice"),
        ((["minmax"], ["w8a8", "w8a8"], {}), UsageError, "minmax-w8a8 is asked for twice"),
        ((["minmax"], ["w8a8"], {"softmax": 1}), UsageError, r"method\.name=value, not 'softmax'"),
        ((["minmax"], ["w8a8"], {"x.softmax": 1}), UsageError, "no such method among minmax"),
        ((["minmax"], ["w8a8"], {"minmax.x": 1}), UsageError, "unknown option 'x'"),
        ((["minmax"], ["w8a8"], {"minmax.softmax": "log"}), SpecError, "softmax must be one of"),
    ],
)
def test_what_cannot_be_fitted_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        make_entries(*arguments)
