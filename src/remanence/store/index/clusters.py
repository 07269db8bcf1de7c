"""Clusters of codes by direction: spherical k-means on a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from remanence.store.index.codes import Packed, quantise

ROUNDS = 6
SAMPLE = 32
"""Rows of the sample that the centroids are fitted on, for each cluster."""
_BLOCK = 256
_PASSES, _TOGETHER = 5, 512

Progress = Callable[[str, float], None]
"""Told what is being done and how much of it is, from 0 to 1."""


def sums(
    codes: NDArray[np.int8], lengths: NDArray[np.float32], cluster: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """The sum of the unit vectors in each cluster.

    Shapes
    ------
    codes (n, dimension) int8, lengths (n,) their inverse lengths, cluster (n,) from 0 to count; the sums
    (count, dimension) float32.
    """
    total = np.zeros((count, codes.shape[1]), dtype=np.float32)
    order = np.argsort(cluster, kind="stable")
    for begin in range(0, len(order), 1 << 16):
        some = order[begin : begin + (1 << 16)]
        present, first = np.unique(cluster[some], return_index=True)
        part = codes[some].astype(np.float32)
        part *= lengths[some, None]
        total[present] += np.add.reduceat(part, first, axis=0)
    return total


def assign(
    codes: NDArray[np.int8],
    centroids: NDArray[np.int8],
    inverse: NDArray[np.float32],
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.int64]:
    """The centroid of the highest cosine for each code.

    Shapes
    ------
    codes (n, dimension) and centroids (count, dimension) int8, inverse (count,) float32 the inverse lengths of
    the centroids; clusters (n,) int64.
    """
    found = np.empty(len(codes), dtype=np.int64)
    packed = Packed(centroids)
    for begin in range(0, len(codes), _BLOCK):
        part = codes[begin : begin + _BLOCK]
        scores = packed.products(part).astype(np.float32)
        scores *= inverse
        found[begin : begin + _BLOCK] = scores.argmax(axis=1)
        if progress is not None:
            progress(min(1.0, (begin + _BLOCK) / len(codes)))
    return found


def centroids_of(
    codes: NDArray[np.int8], lengths: NDArray[np.float32], cluster: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The mean direction of each cluster, as codes and their inverse lengths; zeros for an empty one."""
    total = sums(codes, lengths, cluster, count)
    there = np.abs(total).max(axis=1, initial=0) > 0
    centroids = np.zeros(total.shape, dtype=np.int8)
    inverse = np.zeros(count, dtype=np.float32)
    centroids[there], inverse[there] = quantise(total[there])
    return centroids, inverse


def fit(
    codes: NDArray[np.int8],
    lengths: NDArray[np.float32],
    count: int,
    seed: int = 0,
    *,
    among: NDArray[np.int64] | None = None,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Centroids of so many clusters, from a sample where there are many rows.

    Parameters
    ----------
    codes, lengths:
        Codes and their inverse lengths.
    count:
        Clusters (1 to as many as there are rows).
    among:
        The rows to look at, none of them empty; all by default.
    rounds:
        How often rows are assigned and centroids moved.

    Shapes
    ------
    codes (n, dimension) int8, lengths (n,) float32; centroids (count, dimension) int8, their inverse lengths
    (count,) float32.
    """
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(codes)) if among is None else among
    size = min(len(chosen), count * SAMPLE)
    chosen = np.sort(rng.choice(chosen, size, replace=False))
    sample, scale = codes[chosen], lengths[chosen]
    first = np.sort(rng.choice(size, count, replace=False))
    centroids, inverse = sample[first], scale[first]
    for turn in range(rounds):
        cluster = assign(sample, centroids, inverse)
        centroids, inverse = centroids_of(sample, scale, cluster, count)
        empty = np.flatnonzero(inverse == 0)
        again = rng.choice(size, len(empty), replace=False)  # an empty cluster starts again from some row
        centroids[empty], inverse[empty] = sample[again], scale[again]
        if progress is not None:
            progress("clustering", (turn + 1) / rounds)
    return centroids, inverse


def balanced(
    codes: NDArray[np.int8], lengths: NDArray[np.float32], count: int, price: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Clusters (n,) from 0 of codes (n, dimension), where a cluster becomes dearer with every row it has."""
    order = rng.permutation(len(codes))
    chosen = order[:count]
    centroids, inverse = codes[chosen], lengths[chosen]
    cluster = np.zeros(len(codes), dtype=np.int64)
    for _ in range(_PASSES):
        packed, sizes = Packed(centroids), np.zeros(count)
        step = max(1, min(_TOGETHER, len(codes) // (4 * count)))
        step = max(step, 16)
        for begin in range(0, len(codes), step):
            some = order[begin : begin + step]
            cosine = packed.products(codes[some]).astype(np.float32) * inverse * lengths[some, None]
            cluster[some] = (cosine - price * sizes * count / len(codes)).argmax(axis=1)
            sizes += np.bincount(cluster[some], minlength=count)
        centroids, inverse = centroids_of(codes, lengths, cluster, count)
        empty = np.flatnonzero(inverse == 0)
        again = rng.choice(len(codes), len(empty), replace=False)
        centroids[empty], inverse[empty] = codes[again], lengths[again]
    return cluster
