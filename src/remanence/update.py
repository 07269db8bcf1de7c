"""One step of learning, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Update:
    """One step of learning, and what it cost.

    `examples` are the new ones, `rehearsed` those from a memory; `forwards` and `backwards` count rows
    that passed through the network, `steps` the optimizer's steps. `loss` is the objective before
    the step, absent where there is none.
    """

    examples: int = 0
    rehearsed: int = 0
    forwards: int = 0
    backwards: int = 0
    steps: int = 0
    loss: float | None = None


def total(updates: Iterable[Update]) -> Update:
    """The sum of what several updates cost.

    >>> total([Update(examples=10, steps=1), Update(examples=5, steps=1)]).examples
    15
    """
    counts = [0, 0, 0, 0, 0]
    for u in updates:
        for place, value in enumerate((u.examples, u.rehearsed, u.forwards, u.backwards, u.steps)):
            counts[place] += value
    return Update(*counts)
