"""Late interaction over pooled token vectors: each document keeps a fraction of its vectors, the means of like ones.

What is remembered is, per document, about one vector for every `factor` tokens, as float16 or int8. A query
keeps all its vectors and scores every document by the sum of its best matches; pooling costs a clustering of
each document when it is added, some 2 ms for a hundred tokens, and nothing when it is searched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.errors import StateError, UsageError
from remanence.formats import Format
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

Vectors = NDArray[np.float32]
_AT_ONCE = 32_768  # vectors widened to float32 at a time: 50 MB at 384 dimensions
_FORMAT = Format("remanence/multivector", 1)


def pool(vectors: Vectors, factor: int, protected: int = 0) -> Vectors:
    """Replace like token vectors of one document by their means.

    The vectors are clustered by Ward's method on their chord lengths, whose squares are 2 (1 - cosine), so
    that the clusters are those that lose the least of the sum of squares.

    Parameters
    ----------
    vectors:
        (tokens, dimension), unit rows.
    factor:
        How many vectors one of those kept stands for on average (1 or more); 1 keeps all.
    protected:
        How many of the first are kept as they are.

    Shapes
    ------
    (protected + max(1, (tokens - protected) // factor), dimension); the means are not scaled back to length 1.

    Example
    -------
    >>> pool(np.array([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]], np.float32), 2).round(1)
    array([[ 0.9,  0.3],
           [-0.3,  0.9]], dtype=float32)
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    first, rest = vectors[:protected], vectors[protected:]
    wanted = max(1, len(rest) // factor)
    if wanted >= len(rest):
        return vectors
    labels = fcluster(linkage(_chords(rest), "ward"), wanted, "maxclust")
    # In the order of their first tokens, so that the result does not depend on how clusters are numbered.
    _, starts, members = np.unique(labels, return_index=True, return_inverse=True)
    belongs = (np.argsort(np.argsort(starts))[members] == np.arange(len(starts))[:, None]).astype(np.float64)
    means = belongs @ rest / belongs.sum(1, keepdims=True)
    return np.concatenate([first, means.astype(np.float32)])


def _chords(vectors: Vectors) -> NDArray[np.float64]:
    """The distances of all pairs in the order that scipy has them; from products, which is several times faster."""
    wide = vectors.astype(np.float64)
    squares = (wide**2).sum(1)
    apart = squares[:, None] + squares - 2 * wide @ wide.T
    return np.asarray(np.sqrt(np.maximum(apart[np.triu_indices(len(wide), 1)], 0)), np.float64)


def max_sim(query: Vectors, vectors: Vectors, lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """The late interaction of a query with documents that lie one after another.

    Shapes
    ------
    query (query tokens, dimension), vectors (sum of lengths, dimension), lengths (documents,), each 1 or
    more: scores (documents,), for each the sum over the query's vectors of the largest product with any of
    the document's.

    Example
    -------
    >>> eye = np.eye(2, dtype=np.float32)
    >>> max_sim(eye, np.concatenate([eye, eye[:1]]), [2, 1]).tolist()
    [2.0, 1.0]
    """
    starts = np.cumsum([0, *lengths[:-1]])
    best: NDArray[np.float32] = np.maximum.reduceat(vectors @ query.T, starts, axis=0)
    return np.asarray(best.sum(1), np.float32)


@system(
    "token-pooling",
    paper=Paper(
        "Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling",
        "Clavié, Chaffin, Adams",
        2024,
        "2409.14683",
        397,
    ),
    place="store",
    baseline="token-dropping",
    variant="hierarchical pooling; exact search over all documents",
)
class TokenPooling:
    """Documents as pooled token vectors, searched exactly by late interaction.

    Parameters
    ----------
    factor:
        How many token vectors one of those kept stands for on average (1 or more).
    protected:
        How many vectors at the beginning of each document are kept as they are (0 or more).
    stored:
        How a number is kept: ``float16`` in 2 bytes, ``int8`` in one, with a scale per vector.

    Raises
    ------
    UsageError
        If rows are given twice, or vectors of another dimension, empty or not finite.

    Example
    -------
    >>> index = TokenPooling(factor=2)
    >>> eye = np.eye(4, dtype=np.float32)
    >>> index.add([7, 8], [eye[[0, 0, 1, 1]], eye[[2, 2, 3, 3]]])
    >>> index.vectors, index.nbytes
    (4, 32)
    >>> index.search(eye[2:], k=1)
    [(8, 2.0)]

    References
    ----------
    Clavié, Chaffin, Adams: Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via
    Token Pooling, 2024, arXiv 2409.14683. Khattab, Zaharia: ColBERT, 2020, arXiv 2004.12832.

    Departures
    ----------
    The paper searches by HNSW over 16-bit vectors or by PLAID over 2-bit residuals; here every document is
    scored. Ward's method runs on chord lengths between unit vectors, for which it is defined.
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"
    """Of no stream: it is measured by an experiment of its own."""

    @validated
    def __init__(
        self,
        *,
        factor: Annotated[int, Field(ge=1, description="token vectors per vector kept")] = 2,
        protected: Annotated[int, Field(ge=0, description="first vectors of a document kept as they are")] = 0,
        stored: Annotated[Literal["float16", "int8"], Field(description="how a number is kept")] = "float16",
    ) -> None:
        self.factor, self.protected, self.stored = factor, protected, stored
        self.dimension = 0
        self._documents: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def vectors(self) -> int:
        """How many vectors are kept."""
        return sum(len(kept) for kept, _ in self._documents.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors and their scales."""
        return sum(kept.nbytes + scales.nbytes for kept, scales in self._documents.values())

    def add(self, rows: Sequence[int], documents: Sequence[Vectors]) -> None:
        """Add documents by their row, each (tokens, dimension) with unit rows; all of them or none."""
        if len(rows) != len(documents):
            raise UsageError(f"{len(rows)} rows and {len(documents)} documents were given: give as many of each")
        new: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}
        dimension = self.dimension
        for row, vectors in zip(rows, documents, strict=True):
            if row in self._documents or row in new:
                raise UsageError(f"row {row} is in the index already: remove it first")
            dimension = dimension or (vectors.shape[1] if vectors.ndim == 2 else 0)
            _checked(vectors, dimension, f"the document of row {row}")
            new[row] = self._packed(self.reduce(vectors))
        self._documents |= new
        self.dimension = dimension

    def remove(self, rows: Sequence[int]) -> int:
        """Remove documents; how many there were."""
        return sum(self._documents.pop(row, None) is not None for row in rows)

    def reduce(self, vectors: Vectors) -> Vectors:
        """What is kept of one document's vectors."""
        return pool(vectors, self.factor, self.protected)

    def search(self, query: Vectors, k: int = 10, *, among: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """The best documents for a query's vectors (tokens, dimension), best first, as (row, score).

        Parameters
        ----------
        query:
            Unit rows, not pooled.
        k:
            How many at most (1 or more).
        among:
            Rows to search; all if left out, and those that are not here are passed over.
        """
        if k < 1:
            raise UsageError(f"the best {k} were asked for: ask for 1 or more")
        rows = list(self._documents) if among is None else [row for row in among if row in self._documents]
        if not rows:
            return []
        _checked(query, self.dimension, "the query")
        scores = np.concatenate([max_sim(query, *self._widened(part)) for part in self._parts(rows)])
        best = np.lexsort((np.array(rows), -scores))[:k]  # of equal scores the older row first
        return [(rows[place], float(scores[place])) for place in best]

    def _parts(self, rows: list[int]) -> Iterator[list[int]]:
        part: list[int] = []
        held = 0
        for row in rows:
            size = len(self._documents[row][0])
            if part and held + size > _AT_ONCE:
                yield part
                part, held = [], 0
            part.append(row)
            held += size
        yield part

    def _widened(self, rows: list[int]) -> tuple[Vectors, list[int]]:
        kept = [self._documents[row] for row in rows]
        vectors = np.concatenate([values for values, _ in kept]).astype(np.float32)
        if self.stored == "int8":
            vectors *= np.concatenate([scales for _, scales in kept])[:, None]
        return vectors, [len(values) for values, _ in kept]

    def _packed(self, vectors: Vectors) -> tuple[NDArray[Any], NDArray[np.float32]]:
        if self.stored == "float16":
            return vectors.astype(np.float16), np.empty(0, np.float32)
        largest = np.abs(vectors).max(1)
        scales = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
        return np.rint(vectors / scales[:, None]).astype(np.int8), scales

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index as one safetensors file, whole or not at all."""
        from safetensors.numpy import save

        from remanence.files import write_atomically

        kept = list(self._documents.values())
        width = (0, self.dimension)
        tensors = {
            "rows": np.array(list(self._documents), np.int64),
            "lengths": np.array([len(values) for values, _ in kept], np.int64),
            "vectors": np.concatenate([np.empty(width, self.stored), *(values for values, _ in kept)]),
            "scales": np.concatenate([np.empty(0, np.float32), *(scales for _, scales in kept)]),
        }
        settings = {"factor": self.factor, "protected": self.protected, "stored": self.stored}
        write_atomically(path, save(tensors, {"format": str(_FORMAT), "settings": json.dumps(settings)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TokenPooling:
        """Read an index back.

        Raises
        ------
        StateError
            If the file is missing, torn, or no such index.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(os.fspath(path), "np") as file:
                header = file.metadata() or {}
                if _FORMAT.version_in(header.get("format"), path) is None:
                    raise StateError(f"{path} holds no index of token vectors: give the path that save() wrote")
                tensors = {name: file.get_tensor(name) for name in ("rows", "lengths", "vectors", "scales")}
            index = cls(**json.loads(header["settings"]))
        except (SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            raise StateError(f"{path} cannot be read as an index of token vectors ({error}): build it again") from None
        vectors, scales, lengths = tensors["vectors"], tensors["scales"], tensors["lengths"]
        whole = vectors.dtype == index.stored and len(tensors["rows"]) == len(lengths) and vectors.ndim == 2
        scaled = len(scales) == (len(vectors) if index.stored == "int8" else 0)
        if not whole or not scaled or lengths.sum() != len(vectors) or (lengths < 1).any():
            raise StateError(f"{path} holds another number of vectors than it says: build the index again")
        index.dimension = vectors.shape[1]
        ends = np.cumsum(lengths)
        for row, first, last in zip(tensors["rows"].tolist(), ends - lengths, ends, strict=True):
            part = scales[first:last] if len(scales) else scales
            index._documents[row] = (vectors[first:last], part)
        return index


def _checked(vectors: Vectors, dimension: int, what: str) -> None:
    if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != dimension:
        raise UsageError(f"{what} has the shape {vectors.shape}, expected (1 or more tokens, {dimension})")
    if not np.isfinite(vectors).all():
        raise UsageError(f"{what} holds numbers that are not finite: encode it again")
