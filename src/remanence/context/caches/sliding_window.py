"""A sliding window: the newest tokens stay, and all before them go.

What is remembered are keys and values of the last tokens. It costs a fixed number of entries in every layer, however
long the text.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remanence.context.caches.policy import Policy, Positions
from remanence.hyperparameters import validated
from remanence.registry import system


@system("sliding-window", place="context")
class SlidingWindow(Policy):
    """The newest entries only: the baseline that loses its footing when the first tokens go.

    Parameters
    ----------
    positions:
        As for `AttentionSinks`.

    Example
    -------
    >>> SlidingWindow().sinks
    0
    """

    @validated
    def __init__(
        self, positions: Annotated[Positions, Field(description="how positions are counted")] = "closed"
    ) -> None:
        self.positions = positions
