"""Everything is kept: the cache that others are measured against.

What is remembered is every key and value, in the order they came. It costs bytes in proportion to the text.
"""

from __future__ import annotations

from typing import ClassVar

from remanence.context.caches.policy import Policy, Positions
from remanence.hyperparameters import validated
from remanence.registry import system


@system("full-cache", place="context")
class FullCache(Policy):
    """No policy at all: with a budget it lets the oldest entries go when it must, as `sliding-window` does.

    Example
    -------
    >>> FullCache().positions
    'original'
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"
    """On a stream it would soon be longer than its model can read."""
    positions: Positions = "original"

    @validated
    def __init__(self) -> None:
        pass
