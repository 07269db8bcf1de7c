"""Unit vectors as int8 codes, and the best of them for a query.

A code is the vector stretched so that its largest entry becomes 127, and rounded. Cosine does not see the
stretching; the inverse length of the code, kept beside it, turns a product of codes into a cosine. An inverse
length of 0 says that a place is empty.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import MissingExtra, UsageError

LARGEST = 127
BLOCK = 65536
"""Codes scored at once: their scores stay in the processor's cache."""
TOGETHER = 64
"""Queries scored at once, where there are several."""


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Vectors as int8 codes and the inverse lengths of the codes.

    Parameters
    ----------
    vectors:
        Any lengths but zero.

    Shapes
    ------
    vectors (n, dimension) float32; codes (n, dimension) int8, inverse lengths (n,) float32.

    Raises
    ------
    UsageError
        If a vector is zero or holds a value that is not finite.

    Example
    -------
    >>> codes, inverse = quantise(np.array([[0.6, -0.8]], dtype=np.float32))
    >>> codes.tolist(), (inverse * np.linalg.norm(codes.astype(float), axis=1)).round(6).tolist()
    ([[95, -127]], [1.0])
    """
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    wrong = np.flatnonzero(~(np.isfinite(largest) & (largest > 0)))
    if len(wrong):
        raise UsageError(
            f"vector {int(wrong[0])} is zero or not finite: give vectors of length 1, and none for texts without one"
        )
    codes = np.rint(vectors * (LARGEST / largest)[:, None]).astype(np.int8)
    return codes, inverse_lengths(codes)


def checked(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Vectors (n, dimension) as float32; none, of whatever shape, as none of that dimension.

    Raises
    ------
    UsageError
        If they are of another dimension.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if not vectors.size and vectors.ndim <= 2:
        return np.empty((0, dimension), dtype=np.float32)
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        given = " × ".join(str(size) for size in vectors.shape)
        raise UsageError(f"vectors of {given} were given: this index holds vectors of {dimension}")
    return vectors


def inverse_lengths(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """One over the length of each code (n, dimension); 0 for a code that is all zero."""
    wide = codes.astype(np.float32)
    squares = np.einsum("ij,ij->i", wide, wide)
    with np.errstate(divide="ignore"):
        inverse: NDArray[np.float32] = np.where(squares > 0, 1 / np.sqrt(squares), 0).astype(np.float32)
    return inverse


@functools.cache
def _kernels() -> Any:
    try:
        import numkong
    except ImportError:
        raise MissingExtra("numkong", "store", "searching vectors") from None
    return numkong


def products(codes: NDArray[np.int8], queries: NDArray[np.int8]) -> NDArray[np.float32]:
    """Exact inner products of codes (n, dimension) with queries (m, dimension), as (m, n) float32.

    Exact to a dimension of 1,040, above which float32 rounds the last digits.
    """
    if len(queries) == 1:
        found = np.empty((1, len(codes)), dtype=np.float32)
        if len(codes):
            _kernels().cdist(queries, codes, metric="dot", out=found)
        return found
    if not len(codes) or not len(queries):
        return np.zeros((len(queries), len(codes)), dtype=np.float32)
    return np.ascontiguousarray(Packed(queries).products(codes).T, dtype=np.float32)


class Packed:
    """Codes (m, dimension) laid out once, to be multiplied with many blocks of others."""

    def __init__(self, codes: NDArray[np.int8]) -> None:
        self._packed = _kernels().dots_pack(np.ascontiguousarray(codes))

    def products(self, codes: NDArray[np.int8]) -> NDArray[np.int32]:
        """Exact inner products with other codes (n, dimension), n from 1, as (n, m) int32."""
        found: NDArray[np.int32] = np.asarray(_kernels().dots_packed(codes, self._packed))
        return found


class TopK:
    """The k best places for one query, of blocks offered one after another.

    Of equal scores the lower place stays.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.places = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0, dtype=np.float32)
        self.least = np.float32(-np.inf)

    def offer(self, scores: NDArray[np.float32], places: NDArray[np.int64] | int) -> None:
        """Scores (n,), and the places they belong to or the first of n places in a row; -inf is never kept."""
        above = np.flatnonzero(scores > self.least)
        if not len(above):
            return
        found = scores[above]
        if len(above) > self.k:
            kept = _largest(found, self.k)
            above, found = above[kept], found[kept]
        at = above + places if isinstance(places, int) else places[above]
        self.places = np.concatenate([self.places, at])
        self.scores = np.concatenate([self.scores, found])
        if len(self.places) > self.k:
            kept = _largest(self.scores, self.k)
            self.places, self.scores = self.places[kept], self.scores[kept]
        if len(self.places) == self.k:
            self.least = self.scores.min()

    def ordered(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places and scores, best first."""
        order = np.lexsort((self.places, -self.scores))
        return self.places[order], self.scores[order]


def _largest(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Where the k largest scores are, in ascending order; of equal ones the first."""
    edge = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > edge)
    level = np.flatnonzero(scores == edge)[: k - len(above)]
    return np.sort(np.concatenate([above, level]))


def scan(
    codes: NDArray[np.int8],
    inverse: NDArray[np.float32],
    queries: NDArray[np.int8],
    best: list[TopK],
    *,
    begin: int = 0,
    end: int | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> None:
    """Offer every place from `begin` to `end` to each query's best.

    Parameters
    ----------
    codes, inverse:
        Codes and their inverse lengths; empty places are passed over.
    queries:
        Codes of the queries.
    best:
        What is best so far, one for each query; scores are products times the inverse length of the code
        alone, so that whoever asked multiplies by the query's.
    allowed:
        Where False, a place is passed over.

    Shapes
    ------
    codes (n, dimension) int8, inverse (n,) float32, queries (m, dimension) int8, allowed (n,) bool.
    """
    stop = len(codes) if end is None else end
    for at in range(begin, stop, BLOCK):
        until = min(at + BLOCK, stop)
        # Lengths are read before codes and written after them, so a place that counts is whole.
        scale = inverse[at:until].copy()
        shut = None if allowed is None else ~allowed[at:until]
        _offer(codes[at:until], scale, shut, at, queries, best)


def gather(
    codes: NDArray[np.int8],
    inverse: NDArray[np.float32],
    places: NDArray[np.int64],
    queries: NDArray[np.int8],
    best: list[TopK],
) -> None:
    """Offer the given places, in ascending order, to each query's best."""
    for at in range(0, len(places), BLOCK):
        some = places[at : at + BLOCK]
        scale = inverse[some]
        _offer(codes[some], scale, None, some, queries, best)


def _offer(
    codes: NDArray[np.int8],
    scale: NDArray[np.float32],
    shut: NDArray[np.bool_] | None,
    places: NDArray[np.int64] | int,
    queries: NDArray[np.int8],
    best: list[TopK],
) -> None:
    for first in range(0, len(queries), TOGETHER):
        scores = products(codes, queries[first : first + TOGETHER])
        scores *= scale
        for row, one in zip(scores, best[first : first + TOGETHER], strict=True):
            if shut is not None:
                row[shut] = -np.inf
            if one.least < 0:  # an empty place scores 0: only then would it be taken for better
                row[scale == 0] = -np.inf
            one.offer(row, places)
