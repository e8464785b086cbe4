"""What the fields of an accelerator's records mean, for people who fill them by hand."""

import re
from typing import Final

_UNITS: Final = {
    "unit": "what computes in the slot",
    "moves": "the slot has records of transfers",
    "ends": "it is the last slot",
    "last": "it is the slot's last transfer",
    "dma.store": "from the activation buffer to the DRAM, not from the DRAM",
    "dma.target": "buffer that a load goes to",
    "dma.memory": "addresses in the DRAM, in beats",
    "dma.buffer": "addresses in the buffer, of whole beats",
}
_PRODUCT: Final = {
    "program.rows": "K, rows of operand b",
    "program.columns": "N, columns of operand b",
    "program.stream": "M, rows of operand a, and one more with `ones`",
    "program.left_base": "not used",
    "program.left_stride": "not used",
    "program.top_base": "not used",
    "program.top_stride": "not used",
    "program.result_base": "first word of the sums in the output buffer",
    "program.result_stride": "words from the sums of a tile of N to those of the next",
    "program.accumulate": "add to the sums that are there",
    "program.complete": "the sums stream out",
    "a": "operand a, in the activation buffer",
    "b": "operand b, in the weight buffer, or the activation buffer if `computed`",
    "computed": "operand b is in the activation buffer",
    "transposed": "words of b are along K, and are turned",
    "single": "codes have one plane",
    "joined": "what outliers add is the second plane",
    "ones": "the first row is ones, which are not read: sums over b's columns come first",
    "decoder.kind": "what a code of a is",
    "decoder.shift": "shift of a code with its flag, or of level 0",
    "decoder.flag": "bit of a twin code that is its flag",
    "decoder.negative": "twin codes without the flag are negative",
    "decoder.two_steps": "two levels an octave",
    "decoder.offset": "level of code 0",
    "decoder.max_level": "last level that has a value of its own",
    "decoder.rest": "significand of codes beyond the last level",
}
_RESULTS: Final = {
    "rows": "rows of the product",
    "tiles": "tiles of N",
    "keep": "which columns of the last tile are stored, a bit each",
    "first_parameter": "word of the parameter memory for the first tile",
    "shared": "all channels have `scaling`",
    "spread": "all tiles have the first word of parameters",
    "ones": "a row of column sums comes ahead of each tile",
    "offset": "how many column sums are subtracted",
    "joins": "what outliers add is joined, and each row has a factor",
    "first_factor": "word of the parameter memory for the factors of the first rows",
    "scaling.addend": "bias and correction",
    "scaling.mult": "multiplier",
    "scaling.shift": "shift to the right, rounded half up",
    "scaling.zero_point": "is added after the shift",
    "activates": "the activation function is applied",
    "encodes": "results are encoded",
    "adds": "the residual y is added",
    "y": "the residual, in the activation buffer",
    "out": "where results go, in the activation buffer",
    "is_tabled": "the encoder's multiplier is in the parameter memory",
    "encoder_parameter": "its word there",
    "epilogue.up": "sums of the first plane count 2**up",
    "epilogue.lo": "lowest result of the epilogue",
    "epilogue.hi": "highest result of the epilogue",
    "activation.up": "shift to the left that gives x the table's fraction bits",
    "limits.lo": "lowest sum with the residual",
    "limits.hi": "highest sum with the residual",
}
_JOINER: Final = {
    "list": "words of the list of outliers, for all tiles of N, in the activation buffer",
    "room": "entries of the list",
    "rows": "rows of the product",
    "first": "token of the first row",
    "tiles": "tiles of N",
    "ones": "a row of column sums comes ahead of each tile",
    "weights": "first word of operand b, in the weight buffer",
    "pitch": "granules from a row of operand b to the next",
    "bits": "bits of an element of operand b",
}
_VECTOR: Final = {
    "route": "what is done",
    "words": "words of a row",
    "keep": "which elements of a row's last word count, a bit each",
    "first_parameter": "word of the parameter memory for the row's first word",
    "x": "operand x, in the activation buffer",
    "y": "operand y of a sum, or parameters of the predictor, in the activation buffer",
    "out": "where results go, in the activation buffer",
    "second_parameter": "rescaling: word of the parameter memory for the first corrections",
    "is_tabled": "the encoder's multiplier is in the parameter memory",
    "settings.limits.lo": "lowest sum",
    "settings.limits.hi": "highest sum",
    "settings.softmax.up": "shift to the left that gives scores the unit's fraction bits",
    "settings.layer_norm.dim": "elements of a row",
    "settings.layer_norm.epsilon": "is added to dim * sum(x**2) - sum(x)**2",
    "settings.layer_norm.centered": "the mean is subtracted",
    "settings.layer_norm.shift": "shift to the right behind gamma and beta",
    "settings.layer_norm.lo": "lowest result",
    "settings.layer_norm.hi": "highest result",
    "settings.ranges.chunk_tokens": "tokens of a chunk",
    "settings.ranges.tokens": "tokens of all chunks",
    "settings.predictor.features": "features of all ranges",
    "settings.predictor.columns": "ranges",
    "settings.predictor.scales": "scales",
    "settings.predictor.degree": "degree of the polynomials",
    "settings.predictor.shift": "shift to the right that gives features",
    "settings.predictor.limit": "largest magnitude of the logarithm of a scale",
    "settings.rescale.is_scale": "times a scale, the bias by one over it; else times a reciprocal",
    "settings.rescale.corrects": "there are corrections",
    "settings.rescale.slot": "which four elements of x are the scale",
    "split.splits": "elements above the threshold are outliers, and have the code of 0",
    "split.tokens": "rows have multipliers of a table, in place of `mult` and `shift`",
    "split.threshold": "largest magnitude that is no outlier",
    "settings.list.multiplier.mult": "multiplier of all rows, unless they have a table",
    "settings.list.multiplier.shift": "shift to the right, rounded half up",
    "settings.list.room": "entries of the list",
    "settings.list.last_cycle": "cycles of the pass, less one",
}
_ENCODER: Final = {
    "kind": "what kind of code it makes",
    "addend": "is added first",
    "mult": "multiplier",
    "shift": "shift to the right, rounded half up",
    "zero_point": "is added after the shift",
    "lo": "lowest code",
    "hi": "highest code",
    "m": "twin codes: the coarse scale is 2**m times the fine one",
    "top": "twin codes: largest magnitude of the fine scale",
    "two_steps": "logarithms: two levels an octave",
    "offset": "logarithms: level of code 0",
    "max_level": "logarithms: last level",
    "zero_code": "logarithms: code of zero",
    "guard": "how much more a multiplier of the parameter memory is shifted than here",
}
_WALK: Final = {
    "base": "the first one",
    "count": "turns of the loop",
    "stride": "how far apart, modulo its width",
    "bits": "bits of an element",
    "signed": "elements have a sign",
}


def _all_meanings() -> dict[str, str]:
    meanings = dict(_UNITS)
    units = {"product": _PRODUCT, "results": _RESULTS, "joiner": _JOINER, "vector": _VECTOR}
    for unit, fields in units.items():
        meanings |= {f"{unit}.{name}": text for name, text in fields.items()}
    for encoder in ("results.encoder", "vector.settings.encoder"):
        meanings |= {f"{encoder}.{name}": text for name, text in _ENCODER.items()}
    return meanings


_MEANINGS: Final = _all_meanings()
_PART_OF_WALK: Final = re.compile(
    r"(?:\.walk)?\.(?:loops\[\d+\]\.)?(base|count|stride|bits|signed)$"
)


def meaning(field: str) -> str:
    """Return what a field of a record means: "product.a.walk.base".

    Raises
    ------
    KeyError
        If no one has said what it means.
    """
    if field in _MEANINGS:
        return _MEANINGS[field]
    operand = _PART_OF_WALK.sub("", field)
    part = _PART_OF_WALK.search(field)
    if part is None:
        raise KeyError(field)
    return f"{_MEANINGS[operand]}: {_WALK[part[1]]}"
