"""Posting lists on disk, found by their centroids in memory; rows near a border stand in several lists.

Kept are the int8 codes of the rows, as often as they have lists, in one mapped file, and the centroids in
memory. A query costs a look at all centroids and the reading of those lists that are nearly as close as the
closest; a row costs its code and eight bytes for each list that it stands in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.index.clusters import Progress, balanced, centroids_of
from remanence.store.index.codes import Packed, TopK, products
from remanence.store.index.postings import Postings

_BLOCK = 512
_BRANCHES = 32


@dataclass(frozen=True)
class Read:
    """What a query cost.

    Parameters
    ----------
    lists, entries:
        How many were read.
    """

    lists: int
    entries: int


@system(
    "spann",
    paper=Paper(
        "SPANN: Highly-efficient Billion-scale Approximate Nearest Neighbor Search",
        "Chen, Zhao, Wang, Li, Liu, Li, Yang, Wang",
        2021,
        "2111.08566",
        205,
    ),
    place="store",
    baseline="inverted-file",
    variant="all centroids compared with a query, no graph among them",
)
class Spann:
    """SPANN: an inverted index for memory and disk.

    With the squared distance ‖x - c‖² = 2 - 2 cos(x, c) of unit vectors, c_1, c_2 … the centroids by their
    distance to a row x or a query q:

        a row stands in list j   where ‖x - c_j‖² ≤ (1 + ε₁) ‖x - c_1‖², and no list i that it stands in
                                 already has ‖c_i - c_j‖² < ‖x - c_j‖²   (the rule of relative neighbours),
        a query reads list j     where ‖q - c_j‖² ≤ (1 + ε₂) ‖q - c_1‖².

    Centroids come from clusters split again and again, each time with a price λ on size, until none holds more
    rows than is allowed: a cluster of s rows, of m rows split in k, costs a row λ s k / m of cosine.

    Parameters
    ----------
    largest:
        Rows that a cluster may hold when splitting ends (1 or more).
    replicas:
        Lists that a row may stand in (1 or more).
    closure:
        ε₁ (0 or more).
    relative:
        Whether the rule of relative neighbours is applied.
    pruning:
        ε₂ (0 or more); None reads as many lists as it may.
    probes:
        Lists that a query may read (1 or more).
    balance:
        λ (0 or more).
    seed:
        Of the first centroids.

    Shapes
    ------
    Codes (n, dimension) int8 and their inverse lengths (n,) float32 as `quantise` gives them.

    Example
    -------
    >>> from remanence.store.index.codes import quantise
    >>> x = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)
    >>> codes, lengths = quantise(x)
    >>> spann = Spann(largest=20, probes=8)
    >>> postings = spann.build(np.arange(1, 501), codes, lengths)
    >>> best = TopK(3)
    >>> read = spann.search(postings, codes[41], best)
    >>> int(best.ordered()[0][0]), read.lists <= 8
    (42, True)

    References
    ----------
    Chen, Zhao, Wang, Li, Liu, Li, Yang, Wang: SPANN: Highly-efficient Billion-scale Approximate Nearest
    Neighbor Search, 2021, arXiv 2111.08566.

    Departures
    ----------
    Cosine instead of Euclidean distance. A centroid is the mean of its cluster, where the paper takes the row
    closest to it: a row that is forgotten must not live on as a centroid. All centroids are compared with a
    query, where the paper walks a graph: there are too few of them here for a graph to pay. A row's lists are
    looked for among the 2 × `replicas` closest.
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"

    @validated
    def __init__(
        self,
        *,
        largest: Annotated[int, Field(ge=1, description="rows that a cluster may hold")] = 64,
        replicas: Annotated[int, Field(ge=1, description="lists that a row may stand in")] = 8,
        closure: Annotated[float, Field(ge=0, description="ε₁, how much farther a row's other lists may be")] = 10.0,
        relative: Annotated[bool, Field(description="apply the rule of relative neighbours")] = True,
        pruning: Annotated[float | None, Field(ge=0, description="ε₂, how much farther a list read may be")] = 7.0,
        probes: Annotated[int, Field(ge=1, description="lists that a query may read")] = 64,
        balance: Annotated[float, Field(ge=0, description="λ, the price of size")] = 0.1,
        seed: int = 0,
    ) -> None:
        self.largest, self.replicas, self.closure, self.relative = largest, replicas, closure, relative
        self.pruning, self.probes, self.balance, self.seed = pruning, probes, balance, seed

    def build(
        self,
        rows: NDArray[np.int64],
        codes: NDArray[np.int8],
        lengths: NDArray[np.float32],
        progress: Progress | None = None,
    ) -> Postings:
        """The lists of some rows (n,), none of them empty."""
        cluster = self.split(codes, lengths, progress)
        count = int(cluster.max(initial=-1)) + 1
        return self.assign(rows, codes, lengths, *centroids_of(codes, lengths, cluster, count), progress)

    def split(
        self, codes: NDArray[np.int8], lengths: NDArray[np.float32], progress: Progress | None = None
    ) -> NDArray[np.int64]:
        """Hierarchical balanced clustering: the cluster (n,) of each row, none with more than `largest`."""
        rng = np.random.default_rng(self.seed)
        found = np.full(len(codes), -1, dtype=np.int64)
        waiting, count, done = [np.arange(len(codes))], 0, 0
        while waiting:
            part = waiting.pop()
            if len(part) <= self.largest:
                found[part] = count
                count += bool(len(part))
                done += len(part)
                if progress is not None:
                    progress("clustering", done / max(1, len(codes)))
                continue
            branches = min(_BRANCHES, -(-len(part) // self.largest))
            cluster = balanced(codes[part], lengths[part], max(2, branches), self.balance, rng)
            if np.bincount(cluster).max() == len(part):  # equal codes cannot be told apart: cut anywhere
                cluster = np.arange(len(part)) % max(2, branches)
            waiting.extend(part[cluster == one] for one in range(int(cluster.max()) + 1))
        return found

    def assign(
        self,
        rows: NDArray[np.int64],
        codes: NDArray[np.int8],
        lengths: NDArray[np.float32],
        centroids: NDArray[np.int8],
        inverse: NDArray[np.float32],
        progress: Progress | None = None,
    ) -> Postings:
        """Put each row in the lists of the centroids that it is close to."""
        packed = Packed(centroids)
        nearest = min(2 * self.replicas if self.replicas > 1 else 1, len(centroids))
        entries, lists, home = [], [], []
        for begin in range(0, len(codes), _BLOCK):
            some = slice(begin, min(begin + _BLOCK, len(codes)))
            cosine = packed.products(codes[some]).astype(np.float32)
            cosine *= inverse
            cosine *= lengths[some, None]
            close = np.argpartition(-cosine, nearest - 1, axis=1)[:, :nearest]
            scores = np.take_along_axis(cosine, close, axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")
            close, scores = np.take_along_axis(close, order, axis=1), np.take_along_axis(scores, order, axis=1)
            chosen = self.chosen(2 - 2 * scores, close, centroids, inverse)
            at, which = np.nonzero(chosen)
            entries.append(begin + at)
            lists.append(close[at, which])
            home.append(which == 0)
            if progress is not None:
                progress("assigning", some.stop / len(codes))
        entry, belongs, first = (
            np.concatenate(parts) if parts else np.empty(0, int) for parts in (entries, lists, home)
        )
        order = np.lexsort((entry, ~first.astype(bool), belongs))
        entry, belongs, first = entry[order], belongs[order], first[order]
        starts = np.searchsorted(belongs, np.arange(len(centroids) + 1)).astype(np.int64)
        homes = np.bincount(belongs[first.astype(bool)], minlength=len(centroids)).astype(np.int32)
        centroids, inverse = self._means(codes, lengths, entry, belongs, first.astype(bool), len(centroids))
        return Postings(centroids, inverse, starts, homes, rows[entry], lengths[entry], codes[entry])

    def chosen(
        self,
        distances: NDArray[np.float32],
        close: NDArray[np.int64],
        centroids: NDArray[np.int8],
        inverse: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Which of its closest centroids, in ascending order of their distance, a row takes.

        Shapes
        ------
        distances (n, nearest) float32 and close (n, nearest) int64, which centroids they are to; (n, nearest).
        """
        taken = np.zeros(close.shape, dtype=np.bool_)
        taken[:, :1] = True
        allowed = distances <= (1 + self.closure) * distances[:, :1]
        if close.shape[1] == 1 or self.replicas == 1:
            return taken
        unit = centroids[close].astype(np.float32) * inverse[close][:, :, None]
        apart = 2 - 2 * (unit @ unit.transpose(0, 2, 1))
        for one in range(1, close.shape[1]):
            fine = allowed[:, one] & (taken.sum(axis=1) < self.replicas)
            if self.relative:
                fine &= ~(taken[:, :one] & (apart[:, one, :one] < distances[:, one, None])).any(axis=1)
            taken[:, one] = fine
        return taken

    def _means(self, codes: Any, lengths: Any, entry: Any, belongs: Any, first: Any, count: int) -> Any:
        """Centroids of the rows that have a list as their closest, so that they are of nothing else."""
        cluster = np.empty(len(codes), dtype=np.int64)
        cluster[entry[first]] = belongs[first]
        return centroids_of(codes, lengths, cluster, count)

    def search(self, postings: Postings, query: NDArray[np.int8], best: TopK, *, below: int | None = None) -> Read:
        """Offer the rows of the lists that a query (dimension,) int8 reads to its best; what that cost.

        Rows that are not below a given one are passed over.
        """
        chosen = self.lists(postings, query)
        begins, ends = postings.starts[chosen], postings.starts[chosen + 1]
        total = int((ends - begins).sum())
        scores, rows = np.empty(total, dtype=np.float32), np.empty(total, dtype=np.int64)
        at = 0
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if end > begin:
                upto = at + end - begin
                scale = postings.lengths[begin:end].copy()
                part = products(postings.codes[begin:end], query[None])[0]
                part *= scale
                part[scale == 0] = -np.inf
                scores[at:upto] = part
                rows[at:upto] = postings.rows[begin:end]
                at = upto
        if below is not None:
            scores[rows >= below] = -np.inf
        once, first = np.unique(rows[:at], return_index=True)
        best.offer(scores[first], once)
        return Read(len(chosen), total)

    def lists(self, postings: Postings, query: NDArray[np.int8]) -> NDArray[np.int64]:
        """Which lists a query reads: the closest, and of those only the ones nearly as close as the first."""
        cosine = products(postings.centroids, query[None])[0] * postings.inverse
        cosine /= np.sqrt(np.square(query.astype(np.float32)).sum())
        cosine[postings.inverse == 0] = -np.inf
        probes = min(self.probes, len(cosine))
        chosen = np.argpartition(-cosine, probes - 1)[:probes]
        chosen = chosen[np.isfinite(cosine[chosen])]
        if self.pruning is not None and len(chosen):
            distance = 2 - 2 * cosine[chosen]
            chosen = chosen[distance <= (1 + self.pruning) * distance.min()]
        return np.sort(chosen)
