"""The axes of a grid: which value follows at either end, and which lies between two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any


def points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid, in order.

    >>> points({"lr": [0.1, 0.3], "size": [10]})
    [{'lr': 0.1, 'size': 10}, {'lr': 0.3, 'size': 10}]
    """
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def is_number(value: Any) -> bool:
    """Whether a value lies on a scale; truth values do not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric(values: Sequence[Any]) -> bool:
    """Whether an axis has ends that can be moved: several numbers."""
    return len(set(values)) > 1 and all(map(is_number, values))


def geometric(values: Sequence[float]) -> bool:
    """Whether numbers grow by factors rather than by steps.

    Of two numbers a factor of 2 or more tells it; zero may stand at the lower end of a geometric axis.

    >>> geometric([0.01, 0.03, 0.1]), geometric([5, 7]), geometric([0.0, 0.5]), geometric([0.0, 0.001, 0.01])
    (True, False, False, True)
    """
    known = sorted(set(values))
    if known[0] == 0.0 and len(known) > 2:
        known = known[1:]
    if known[0] <= 0.0:
        return False
    if len(known) == 2:
        return known[1] / known[0] >= 2.0
    ratios = [b / a for a, b in itertools.pairwise(known)]
    steps = [b - a for a, b in itertools.pairwise(known)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def above(values: Sequence[float]) -> float | None:
    """The number that goes on at the upper end of an axis.

    >>> above([0.01, 0.03, 0.1]), above([8, 16]), above([5, 7]), above([0.25, 0.5, 0.75])
    (0.3, 32, 9, 1.0)
    """
    known = sorted(set(values))
    last, before = known[-1], known[-2]
    return _rounded(last * last / before if geometric(known) else 2 * last - before, known, last)


def below(values: Sequence[float]) -> float | None:
    """The number that goes on at the lower end of an axis, None where there is none.

    >>> below([0.01, 0.03, 0.1]), below([8, 16]), below([5, 7]), below([0.0, 0.001, 0.01]), below([1, 2])
    (0.003, 4, 3, None, None)
    """
    known = sorted(set(values))
    first, after = known[0], known[1]
    if not geometric(known):
        return _rounded(2 * first - after, known, first)
    return None if first == 0.0 else _rounded(first * first / after, known, first)


def between(low: float, high: float, values: Sequence[float]) -> float | None:
    """The number halfway between two on their axis, None where no other lies there.

    >>> between(0.1, 0.4, [0.1, 0.4]), between(5, 7, [5, 7]), between(2, 3, [2, 3])
    (0.2, 6, None)
    """
    middle = math.sqrt(low * high) if geometric(values) and low > 0 else (low + high) / 2
    whole = all(isinstance(value, int) for value in values)
    found = round(middle) if whole else float(f"{middle:.2g}")
    return found if low < found < high else None


def _rounded(value: float, values: Sequence[float], end: float) -> float | None:
    """A number as a person would write it; on an axis of 1 and 3 the next of these."""
    if all(isinstance(known, int) for known in values):
        whole = round(value)
        return whole if whole != end and (whole > 0 or not geometric(values)) else None
    if geometric(values) and all(_digit(known) in (1.0, 3.0) for known in values if known):
        exponent = math.floor(math.log10(value))
        value = min(
            (m * 10.0**e for m in (1, 3) for e in (exponent, exponent + 1)), key=lambda n: abs(math.log(n / value))
        )
    found = float(f"{value:.2g}")
    return found if found != end else None


def _digit(value: float) -> float:
    return float(f"{value:e}".partition("e")[0])
