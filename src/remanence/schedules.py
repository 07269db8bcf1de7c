"""How learning rates move within an experience or a phase."""

from __future__ import annotations

import math
from collections.abc import Callable

from remanence.errors import UsageError

Schedule = Callable[[int, int], float]
"""From update k of a total to the factor on every learning rate."""

NAMES = "constant, cosine, linear, or milestones:0.5,0.8 (shares of the updates), with :0.2 behind for another factor"


def cosine(k: int, total: int) -> float:
    """From one to zero along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * k / total))


def linear(k: int, total: int) -> float:
    """From one to zero along a line."""
    return 1 - k / total


def milestones(*shares: float, factor: float = 0.1) -> Schedule:
    """Times `factor` once so great a share of the updates is over, for each of the shares."""
    return lambda k, total: factor ** sum(k >= share * total for share in shares)


def named(name: str) -> Schedule | None:
    """The schedule of a name, None for a rate that stays.

    Parameters
    ----------
    name:
        ``constant``, ``cosine``, ``linear``, or ``milestones:0.5,0.8``: times 0.1 after half and again after
        four fifths of the updates; ``milestones:0.5,0.8:0.2`` with another factor.

    Raises
    ------
    UsageError
        If there is no such schedule.

    Example
    -------
    >>> falls = named("milestones:0.5,0.75:0.5")
    >>> [falls(k, 8) for k in range(8)]
    [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    if name in _PLAIN:
        return _PLAIN[name]
    kind, _, rest = name.partition(":")
    shares, _, factor = rest.partition(":")
    try:
        if kind != "milestones":
            raise ValueError(kind)
        where = [float(share) for share in shares.split(",")]
        by = float(factor) if factor else 0.1
    except ValueError:
        raise UsageError(f"there is no schedule {name!r}: use {NAMES}") from None
    if not all(0 < share < 1 for share in where) or not 0 < by < 1:
        raise UsageError(f"the schedule {name!r} has numbers outside 0 to 1: use shares of the updates and a factor")
    return milestones(*where, factor=by)


_PLAIN: dict[str, Schedule | None] = {"constant": None, "cosine": cosine, "linear": linear}
