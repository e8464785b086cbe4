"""Commands as words of 64 bits: what a machine fetches, one program after another.

A slot is: number of commands, commands, number of transfers, transfers. A command begins with its
code. Where a window may be missing, -1 stands for it.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hwq.errors import SpecError, require
from hwq.plan.commands import Apply, Multiply, SlotCommands, Transfer
from hwq.plan.memory import MEMORIES
from hwq.plan.window import Span, Window

Words = NDArray[np.int64]
_MULTIPLY: Final = 1
_APPLY: Final = 2
_NOTHING: Final = -1


def encode(slot: SlotCommands) -> Words:
    """Return the words of a slot: int64[n]."""
    words = [len(slot.work)]
    for command in slot.work:
        if isinstance(command, Multiply):
            words += [_MULTIPLY, command.layer, *command.origin, command.first, command.complete]
            for window in (command.a, command.b, command.sums, command.writes):
                words += _window(window)
        else:
            words += [_APPLY, command.layer, *command.origin, *command.size, command.last]
            words += [len(command.reads)]
            for window in (*command.reads, command.writes):
                words += _window(window)
    words += [len(slot.transfers)]
    for transfer in slot.transfers:
        words += [*_window(transfer.source), *_window(transfer.target), transfer.bits]
    return np.array(words, np.int64)


def decode(words: Words) -> SlotCommands:
    """Return the slot of its words.

    Raises
    ------
    SpecError
        If the words are those of no slot.
    """
    stream = iter(words.tolist())
    try:
        work = tuple(_command(stream) for _ in range(next(stream)))
        transfers = tuple(
            Transfer(_given(stream), _given(stream), next(stream)) for _ in range(next(stream))
        )
    except (StopIteration, RuntimeError) as error:
        raise SpecError("the words of a slot end too early") from error
    require(next(stream, None) is None, "the words of a slot go on behind its last transfer")
    return SlotCommands(work, transfers)


def _command(stream: Iterator[int]) -> Multiply | Apply:
    code = next(stream)
    require(code in (_MULTIPLY, _APPLY), f"a command must begin with 1 or 2, not {code}")
    layer, origin = next(stream), (next(stream), next(stream))
    if code == _MULTIPLY:
        first, complete = bool(next(stream)), bool(next(stream))
        a, b, sums = _given(stream), _given(stream), _given(stream)
        return Multiply(layer, origin, a, b, sums, first, complete, _read(stream))
    size, last = (next(stream), next(stream)), bool(next(stream))
    reads = tuple(_read(stream) for _ in range(next(stream)))
    return Apply(layer, origin, size, reads, _read(stream), last)


def _window(window: Window | None) -> list[int]:
    if window is None:
        return [_NOTHING]
    words = [MEMORIES.index(window.memory), window.base, window.bits, len(window.spans)]
    for span in window.spans:
        words += [
            span.start,
            span.count,
            len(span.axis),
            *(n for level in span.axis for n in level),
        ]
    return words


def _given(stream: Iterator[int]) -> Window:
    window = _read(stream)
    if window is None:
        raise SpecError("a command lacks a window")
    return window


def _read(stream: Iterator[int]) -> Window | None:
    memory = next(stream)
    if memory == _NOTHING:
        return None
    require(0 <= memory < len(MEMORIES), f"memory must be in 0..{len(MEMORIES) - 1}, not {memory}")
    base, bits = next(stream), next(stream)
    spans = []
    for _ in range(next(stream)):
        start, count = next(stream), next(stream)
        axis = tuple((next(stream), next(stream)) for _ in range(next(stream)))
        spans.append(Span(start, count, axis))
    return Window(MEMORIES[memory], base, bits, tuple(spans))
