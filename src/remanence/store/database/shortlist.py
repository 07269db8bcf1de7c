"""Which rows are worth ranking in full: those that hold the rarest and most of the terms asked for.

A database's BM25 looks up the length of every text it ranks, some fifteen times the work of reading that a text
holds a term at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def shortlist(held: Sequence[Rows], total: int) -> Rows:
    """The rows that hold any of the terms: by the sum of the rarities of those they hold, then the newest first.

    Parameters
    ----------
    held:
        For each term the rows that hold it.
    total:
        How many rows there are (about).

    Example
    -------
    >>> shortlist([np.array([1, 2, 3, 4]), np.array([2, 5])], total=9).tolist()
    [2, 5, 4, 3, 1]
    """
    if not held:
        return np.zeros(0, dtype=np.int64)
    counts = np.array([min(len(rows), total) for rows in held], dtype=np.float64)
    rarity = np.log1p((total - counts + 0.5) / (counts + 0.5))
    rows, place = np.unique(np.concatenate(held), return_inverse=True)
    sums = np.bincount(place, np.repeat(rarity, [len(some) for some in held]), len(rows))
    return np.asarray(rows[::-1][np.argsort(-sums[::-1], kind="stable")], dtype=np.int64)
