"""Entries given out among layers: a whole number for each, by weight, with a least for all."""

from __future__ import annotations

from collections.abc import Sequence


def split_budget(weights: Sequence[float], total: int, *, least: int, most: int | None = None) -> list[int]:
    """So many entries for each layer, in proportion to weights as far as the bounds allow.

    Parameters
    ----------
    weights:
        One for each layer (0 or more).
    total:
        Entries of all layers together; all of them are given out unless `most` forbids it.
    least, most:
        Bounds of a layer's share; together the layers must have room for `least`.

    Example
    -------
    >>> split_budget([3.0, 1.0], 100, least=10)
    [75, 25]
    >>> split_budget([3.0, 1.0, 0.0], 100, least=20)
    [60, 20, 20]
    """
    bound = total if most is None else most
    shares = [least] * len(weights)
    free = set(range(len(weights)))
    # Layers whose share lies outside the bounds are set to the bound, and the rest goes to the others by weight
    while free:
        left = total - sum(shares[k] for k in range(len(weights)) if k not in free)
        sum_of = sum(weights[k] for k in free)
        wanted = {k: left * (weights[k] / sum_of if sum_of > 0 else 1 / len(free)) for k in free}
        low = [k for k in free if wanted[k] < least]
        high = [k for k in free if wanted[k] > bound]
        if not low and not high:
            for k in free:
                shares[k] = int(wanted[k])
            # What rounding leaves goes to the largest remainders
            for k in sorted(free, key=lambda k: (shares[k] - wanted[k], k))[
                : max(0, left - sum(shares[k] for k in free))
            ]:
                shares[k] += 1
            break
        short = sum(least - wanted[k] for k in low) >= sum(wanted[k] - bound for k in high)
        for k in low if short else high:
            shares[k] = least if short else bound
        free -= set(low if short else high)
    return shares
