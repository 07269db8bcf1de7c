"""Recall streams: what was seen long ago is asked for, and the right answer is known exactly."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from remanence.errors import UsageError, nearest
from remanence.streams.recall.babi import babi
from remanence.streams.recall.copying import copying
from remanence.streams.recall.mqar import mqar
from remanence.streams.recall.n_back import n_back
from remanence.streams.recall.needle import needle
from remanence.streams.recall.overwriting import overwriting
from remanence.streams.recall.permuted_digits import permuted_digits
from remanence.streams.recall.selective_copying import selective_copying
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch, concatenate
from remanence.streams.recall.sequence_order import sequence_order
from remanence.streams.recall.spatial_n_back import spatial_n_back

__all__ = ["IGNORE", "TASKS", "Draw", "SequenceBatch", "concatenate", "listing", "task"]

Draw = Callable[[int, int], SequenceBatch]
"""``draw(rows, seed)`` gives that many fresh sequences."""

TASKS: dict[str, Callable[..., SequenceBatch]] = {
    drawn.__name__: drawn
    for drawn in (
        mqar,
        overwriting,
        needle,
        copying,
        selective_copying,
        n_back,
        spatial_n_back,
        sequence_order,
        babi,
        permuted_digits,
    )
}
"""Recall tasks by name."""


def task(name: str, **options: object) -> Draw:
    """A recall task by name, with its options set.

    Raises
    ------
    UsageError
        If there is no such task, or it has no such option; what an option may be is checked when sequences are drawn.

    Example
    -------
    >>> draw = task("mqar", pairs=2, length=8, vocabulary=9)
    >>> draw(1, 0).tokens.tolist()
    [[3, 6, 1, 7, 3, 0, 1, 0]]
    """
    if name not in TASKS:
        raise UsageError(f"there is no recall task {name!r}: {nearest(name, TASKS)}")
    known = [option for option in inspect.signature(TASKS[name]).parameters if option not in ("rows", "seed")]
    for option in options:
        if option not in known:
            raise UsageError(f"the recall task {name} has no option {option!r}: {nearest(option, known)}")
    return functools.partial(TASKS[name], **options)


def listing() -> list[tuple[str, str]]:
    """Every recall task, and what it asks in a sentence.

    Example
    -------
    >>> dict(listing())["n_back"]
    'The n-back test: at each item, whether it is the same as the one n items before.'
    """
    return [(name, (inspect.getdoc(inspect.getmodule(drawn)) or "").split("\n")[0]) for name, drawn in TASKS.items()]
