"""Diversity: hits that say something that better hits do not say already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from remanence.store.retrieve.terms import Array


def maximal_marginal_relevance(
    scores: Array, vectors: NDArray[np.float32], count: int, diversity: float
) -> NDArray[np.int64]:
    """The places of the `count` best candidates, each chosen for its score and against the likeness to those before it.

    Parameters
    ----------
    scores:
        Of the candidates (n,), in any unit: they are brought to 0 to 1.
    vectors:
        Unit vectors (n, dimension).
    count:
        How many to choose; all if there are fewer.
    diversity:
        0 (by score alone) to 1 (by unlikeness alone).

    Example
    -------
    >>> two = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    >>> maximal_marginal_relevance(np.array([1.0, 0.9, 0.5]), two, 2, 0.0).tolist()
    [0, 1]
    >>> maximal_marginal_relevance(np.array([1.0, 0.9, 0.5]), two, 2, 0.5).tolist()
    [0, 2]

    References
    ----------
    Carbonell, Goldstein: The use of MMR, diversity-based reranking for reordering documents and producing
    summaries, 1998.
    """
    order = np.argsort(-scores, kind="stable")
    if diversity == 0 or not len(scores):
        return order[:count]
    width = float(np.ptp(scores)) or 1.0
    relevance = (scores - scores.min()) / width
    chosen = [int(order[0])]
    left = np.ones(len(scores), dtype=bool)
    likeness = np.full(len(scores), -1.0)
    while len(chosen) < min(count, len(scores)):
        left[chosen[-1]] = False
        likeness = np.maximum(likeness, vectors @ vectors[chosen[-1]])
        margin = np.where(left, (1 - diversity) * relevance - diversity * likeness, -np.inf)
        chosen.append(int(margin.argmax()))
    return np.array(chosen, dtype=np.int64)
