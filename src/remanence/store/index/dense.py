"""The dense index of one encoder's vectors: the closest rows to a query, and nothing that cannot be rebuilt.

Codes are int8 in mapped files, shared by all processes that have the store open. Readers take no lock: each
reads the header, maps what it names, and maps again when the header has moved on. Writers take turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError, UsageError
from remanence.store.index import files, header, index_read, index_write, ivf
from remanence.store.index.build import Approximate, approximate, build_lists, build_postings, write_anew
from remanence.store.index.clusters import Progress
from remanence.store.index.codes import TopK, checked, quantise, scan
from remanence.store.index.index_files import IndexFiles
from remanence.store.index.spann import Spann
from remanence.store.index.view import View

PATIENCE = 120.0
"""Seconds to wait for another process that writes."""


class DenseIndex:
    """The vectors of one encoder, by row, in files beside a database.

    Parameters
    ----------
    folder:
        Where the files are; made when something is first written. Nothing else may be in it.
    dimension:
        Entries of a vector.
    key:
        Names the store and the encoder (and its version): files written under another key are stale.
    probes:
        Lists that a query reads where there are lists (1 or more).
    spann:
        Build SPANN's posting lists, and search them, with these settings, instead of lists that cost no bytes.
    patience:
        Seconds to wait while another process writes.

    Raises
    ------
    UsageError
        If the dimension or the probes are below 1.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     index = DenseIndex(Path(folder), dimension=2, key="a store, an encoder")
    ...     vectors = np.array([[1, 0], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    ...     index.apply(np.array([1, 2, 5]), vectors, removed=np.array([]), applied=3)
    ...     rows, scores = index.search(np.array([0.8, 0.6], dtype=np.float32), k=2)
    ...     print(rows, len(index), index.applied)
    ...     index.close()
    [2 1] 3 3
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        key: str,
        *,
        probes: int = ivf.PROBES,
        spann: Spann | None = None,
        patience: float = PATIENCE,
    ) -> None:
        if dimension < 1:
            raise UsageError(f"a dimension of {dimension} was given: give the entries of a vector, 1 or more")
        if probes < 1:
            raise UsageError(f"{probes} probes were given: a query reads 1 list or more")
        self.dimension = dimension
        self.probes = probes
        self.spann = spann
        self._files = IndexFiles(Path(folder), dimension, header.digest(key), patience)
        self._live: tuple[int, int] = (-1, 0)

    @property
    def folder(self) -> Path:
        return self._files.folder

    @property
    def stale(self) -> bool:
        """Whether there are files that are torn, or of another store, encoder or dimension: `rebuild` then."""
        try:
            self._files.now()
        except StateError:
            return True
        return False

    @property
    def applied(self) -> int:
        """How far the database's change log is in the files; 0 where there are none or they are stale."""
        try:
            view = self._files.now()
        except StateError:
            return 0
        return 0 if view is None else view.header.applied

    @property
    def approximate(self) -> Approximate:
        """What is answered approximately."""
        return approximate(self._files.now())

    def __len__(self) -> int:
        """Rows that can be found."""
        view = self._files.now()
        if view is None:
            return 0
        sequence = view.header.sequence
        if self._live[0] != sequence:
            self._live = (sequence, int(np.count_nonzero(view.lengths[: view.end])))
        return self._live[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in self.files())

    def files(self) -> list[Path]:
        """Every file there is, the empty lock included."""
        return sorted(path for path in self.folder.iterdir() if path.is_file()) if self.folder.is_dir() else []

    def close(self) -> None:
        """Let the maps go; the next call maps again."""
        self._files.close()

    def rows(self) -> NDArray[np.int64]:
        """The rows that can be found, in ascending order, so that a check can compare them with the database."""
        view = self._files.now()
        if view is None:
            return np.empty(0, dtype=np.int64)
        return np.sort(view.rows(view.there()))

    def search(
        self, query: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None = None, *, exact: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k rows closest to a query by their int8 codes, best first, with their cosines.

        The order of the very best is that of rounded vectors: ask for some 40 and refine them in float32.

        Parameters
        ----------
        query:
            Of any length but zero.
        k:
            How many (1 or more); fewer come back where there are not so many.
        rows:
            The only rows allowed; all by default. They are applied first, and what is left is searched exactly.
        exact:
            Read every place even where there are lists.

        Shapes
        ------
        query (dimension,) float32, rows (m,) int64; rows (at most k,) int64, scores the same float32.

        Raises
        ------
        UsageError
            If the query has another dimension, is zero or not finite.
        StateError
            If the index is stale.
        """
        return self.search_many(np.asarray(query)[None], k, rows, exact=exact)[0]

    def search_many(
        self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None = None, *, exact: bool = False
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `search`, for queries (m, dimension) at once: a list of m pairs."""
        if k < 1:
            raise UsageError(f"{k} results were asked for: ask for 1 or more")
        codes, lengths = quantise(checked(queries, self.dimension))
        best = [TopK(k) for _ in codes]
        view = self._files.now()
        if view is not None:
            if rows is not None:
                index_read.within(view, codes, best, np.asarray(rows, dtype=np.int64))
            elif exact:
                scan(view.codes, view.lengths, codes, best, end=view.end)
            else:
                index_read.approximately(view, codes, best, self.probes, self.spann)
        found = []
        for one, length in zip(best, lengths, strict=True):
            places, scores = one.ordered()
            kept = view.rows(places) if view is not None else places
            found.append((kept, scores * length))
        return found

    def apply(
        self,
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
        removed: NDArray[np.int64],
        applied: int | None = None,
    ) -> None:
        """Put rows in and take rows out, durably; doing the same again changes nothing.

        Parameters
        ----------
        rows, vectors:
            Rows to be found from now on, each once, and their vectors.
        removed:
            Rows not to be found any more: their codes become zeros in the files. A row in both is removed. Name
            also rows that came and went since the last change applied: one who died may have put them in.
        applied:
            How far the database's change log is in the files after this. Where they are that far already,
            nothing is done, so that one who comes late does not undo what came after.

        Shapes
        ------
        rows (n,) int64 from 1, vectors (n, dimension) float32, removed (m,) int64 from 1.

        Raises
        ------
        UsageError
            If shapes, rows or vectors are wrong.
        StateError
            If the index is stale, or another process writes for longer than the patience.
        """
        rows = np.asarray(rows, dtype=np.int64)
        removed = np.asarray(removed, dtype=np.int64)
        if rows.ndim != 1 or len(np.unique(rows)) != len(rows) or len(vectors) != len(rows):
            raise UsageError(
                f"{len(rows)} rows and {len(vectors)} vectors were given: give each row once, one vector each"
            )
        if min(rows.min(initial=1), removed.min(initial=1)) < 1:
            raise UsageError("a row below 1 was given: rows are counted from 1")
        codes, lengths = quantise(checked(vectors, self.dimension))
        stay = ~np.isin(rows, removed)
        rows, codes, lengths = rows[stay], codes[stay], lengths[stay]
        with self._files.locked():
            head = self._files.writable_header()
            if applied is not None and applied <= head.applied:
                return
            # A row that one who died put in beyond the highest is taken out like any other.
            head = index_write.enlarged(
                self.folder, head, int(max(rows.max(initial=head.highest), removed.max(initial=0)))
            )
            view = View.opened(self.folder, head, writable=True)
            head = index_write.put(self.folder, view, rows, codes, lengths)
            index_write.remove(self.folder, view, removed)
            if len(removed):  # what one who died left behind may hold them too
                files.remove_others(self.folder, head, overwrite=True)
            del view
            self._files.write(replace(head, applied=head.applied if applied is None else applied))

    def rebuild(self, blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], applied: int = 0) -> None:
        """Make the files anew from everything the database holds; the old ones serve until the end, then go.

        Parameters
        ----------
        blocks:
            Rows and vectors, as for `apply`, each row once.
        applied:
            How far the database's change log was when the blocks began to be read.
        """
        quantised = ((rows, *quantise(checked(vectors, self.dimension))) for rows, vectors in blocks)
        write_anew(self._files, quantised, applied)

    def build_approximate(self, progress: Progress | None = None, *, seed: int = 0) -> bool:
        """Put the codes in lists by cluster, so that a query need not read them all; False if there is nothing.

        Reading and writing go on while the clusters are found; writing waits while the codes are copied into
        their new order (or posting lists are written). The copy stands beside the old files until it is whole:
        for that time they take twice their bytes.

        Parameters
        ----------
        progress:
            Told what is being done and how much of it is, from 0 to 1.
        seed:
            Of the sample that the clusters are fitted on.
        """
        view = self._files.now()
        if view is None or not len(self):
            return False
        if self.spann is not None:
            return build_postings(self._files, self.spann, view, progress)
        return build_lists(self._files, view, seed, progress)

    def purge(self) -> list[str]:
        """Delete what earlier generations left behind; the names of files that cannot be deleted yet.

        Removed rows are zeros in the current files from the moment `apply` returned; only a file that another
        process still had mapped, on a system that does not delete such files, can hold them longer.
        """
        if not self.folder.is_dir():
            return []
        with self._files.locked():
            left = files.remove_others(self.folder, self._files.header(), overwrite=True)
        return [path.name for path in left]
