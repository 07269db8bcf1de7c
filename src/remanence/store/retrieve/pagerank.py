"""Personalised PageRank: how often a walker who keeps going home to the seeds is met at each node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError

Array = NDArray[np.float64]


def personalised_pagerank(
    weights: Any, seeds: Array, damping: float = 0.5, tolerance: float = 1e-9, steps: int = 1000
) -> Array:
    """The stationary distribution of a random walk that restarts at the seeds.

    With s the seeds as a distribution and P the transition probabilities, a row of `weights` divided by its sum, it is
    the x that solves x = (1 - damping) s + damping Pᵀ x. From a node without edges the walker goes home.

    Parameters
    ----------
    weights:
        Edge weights (n, n), none negative, as a `scipy.sparse` matrix; row: from, column: to. Symmetric for an
        undirected graph.
    seeds:
        How much of the restarts each node gets (n,), none negative, not all zero.
    damping:
        The probability to go on along an edge rather than home (0 or more, below 1).
    tolerance:
        How far the result may lie from the solution, in the sum of absolute differences.
    steps:
        At most so many.

    Returns
    -------
    Array
        A distribution over the nodes (n,).

    Raises
    ------
    UsageError
        If the shapes do not fit, a seed is negative or not finite, or all are zero.

    Example
    -------
    >>> import numpy as np, scipy.sparse
    >>> line = scipy.sparse.csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]]))
    >>> personalised_pagerank(line, np.array([1.0, 0, 0])).round(3).tolist()
    [0.583, 0.333, 0.083]

    References
    ----------
    Page, Brin, Motwani, Winograd: The PageRank Citation Ranking, 1999. Haveliwala: Topic-sensitive PageRank, 2002.
    """
    from scipy import sparse

    seeds = np.asarray(seeds, dtype=np.float64)
    nodes = len(seeds)
    if weights.shape != (nodes, nodes):
        raise UsageError(f"the graph has the shape {weights.shape}, expected ({nodes}, {nodes}) for {nodes} seeds")
    if not 0 <= damping < 1:
        raise UsageError(f"the damping is {damping}, expected a number of 0 or more and below 1")
    if not np.isfinite(seeds).all() or (seeds < 0).any() or not seeds.any():
        raise UsageError(
            "the seeds of a walk must be finite, none negative and not all zero: give it somewhere to start"
        )
    seeds = seeds / seeds.sum()
    total = np.asarray(weights.sum(axis=1)).ravel()
    stranded = total == 0
    share = np.divide(1.0, total, out=np.zeros(nodes), where=~stranded)
    backwards = sparse.csr_array(weights.T)
    found = seeds
    # A step shrinks the error by the damping, so a change of e leaves at most e damping / (1 - damping)
    close = tolerance * (1 - damping) / damping if damping else np.inf
    for _ in range(steps):
        moved = backwards @ (found * share) + seeds * found[stranded].sum()
        new = (1 - damping) * seeds + damping * moved
        change = np.abs(new - found).sum()
        found = new
        if change <= close:
            break
    return np.asarray(found)


def walk_by_part(weights: Any, seeds: Mapping[str, Array], damping: float = 0.5) -> dict[str, Array]:
    """The personalised PageRank of all seeds together, as a sum of what each part of them brings.

    Up to a factor the walk is linear in its seeds; the factor of each part follows from how much of its walk ended
    at nodes without edges.

    Parameters
    ----------
    weights, damping:
        As in `personalised_pagerank`.
    seeds:
        Parts by name, each (n,); a part may be all zero.

    Example
    -------
    >>> import numpy as np, scipy.sparse
    >>> line = scipy.sparse.csr_array(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0.0]]))
    >>> parts = {"left": np.array([1.0, 0, 0]), "right": np.array([0, 0, 3.0])}
    >>> {name: part.sum().round(2).item() for name, part in walk_by_part(line, parts).items()}
    {'left': 0.25, 'right': 0.75}
    """
    stranded = np.asarray(weights.sum(axis=1)).ravel() == 0
    found = {}
    for name, part in seeds.items():
        found[name] = np.zeros(len(part))
        if part.any():
            walked = personalised_pagerank(weights, part, damping)
            returned = 1 + damping * walked[stranded].sum() / (1 - damping)
            found[name] = walked * (part.sum() / returned)
    total = sum(float(part.sum()) for part in found.values())
    return {name: part / total if total else part for name, part in found.items()}
