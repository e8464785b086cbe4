"""A row of the catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwq.rtl.pipeline import StreamUnit


@dataclass(frozen=True)
class Twin:
    """One unit, with the parameters it is emitted and verified with.

    Parameters
    ----------
    default : StreamUnit
        What is emitted when nothing else is asked for.
    verified : mapping of str to StreamUnit
        Label -> what the benches run.
    stimuli : mapping of str to callable
        Label -> its inputs, where those of `hwq.testing.stimulus` will not do.
    constant : mapping of str to str
        Label -> why every output is the same; of other cases the benches refuse that.
    """

    default: StreamUnit
    verified: Mapping[str, StreamUnit]
    stimuli: Mapping[str, Callable[[], NDArray[np.int64]]] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)
