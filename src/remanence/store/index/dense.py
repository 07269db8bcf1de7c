"""The dense index of one encoder's vectors: the closest rows to a query, and nothing that cannot be rebuilt.

Codes are int8 in mapped files, shared by all processes that have the store open. Readers take no lock: each
reads the header, maps what it names, and maps again when the header has moved on. Writers take turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from remanence.errors import StateError, UsageError
from remanence.store.index import files, header
from remanence.store.index.codes import Best, gather, quantise, scan
from remanence.store.index.files import View
from remanence.store.index.header import Header

GATHER = 8
"""Rows given are picked out one by one where they are at most one in so many; else all are scanned past."""
PATIENCE = 120.0
"""Seconds to wait for another process that writes."""
POLL = 0.002
"""Seconds between two attempts to take the lock."""
_TRIES = 20


class Approximate(NamedTuple):
    """What an index answers approximately.

    Parameters
    ----------
    state:
        "none", "ready", or "due": so many rows are outside the lists that building again pays.
    covers:
        Rows up to this one are in lists, as far as there were vectors for them; 0 if none.
    lists:
        How many lists.
    outside:
        Places searched exactly at every search.
    """

    state: str
    covers: int
    lists: int
    outside: int


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
    patience:
        Seconds to wait while another process writes.

    Raises
    ------
    UsageError
        If the dimension is below 1.

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

    def __init__(self, folder: Path, dimension: int, key: str, *, patience: float = PATIENCE) -> None:
        if dimension < 1:
            raise UsageError(f"a dimension of {dimension} was given: give the entries of a vector, 1 or more")
        self.folder = Path(folder)
        self.dimension = dimension
        self.key = header.digest(key)
        self.patience = patience
        self._view: View | None = None
        self._live: tuple[int, int] = (-1, 0)

    @property
    def header_path(self) -> Path:
        return self.folder / "header"

    @property
    def stale(self) -> bool:
        """Whether there are files that are torn, or of another store, encoder or dimension: `rebuild` then."""
        try:
            self._now()
        except StateError:
            return True
        return False

    @property
    def applied(self) -> int:
        """How far the database's change log is in the files; 0 where there are none or they are stale."""
        try:
            view = self._now()
        except StateError:
            return 0
        return 0 if view is None else view.header.applied

    @property
    def approximate(self) -> Approximate:
        """What is answered approximately."""
        view = self._now()
        if view is None or view.lists is None:
            return Approximate("none", 0, 0, 0 if view is None else view.header.highest)
        head = view.header
        outside = max(head.highest + 1, head.ordered) - head.clustered
        due = outside > max(files.STEP, head.clustered // 4)
        return Approximate("due" if due else "ready", head.ordered - 1, head.lists, outside)

    def __len__(self) -> int:
        """Rows that can be found."""
        view = self._now()
        if view is None:
            return 0
        sequence = view.header.sequence
        if self._live[0] != sequence:
            self._live = (sequence, int(np.count_nonzero(view.lengths)))
        return self._live[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in self.files())

    def files(self) -> list[Path]:
        """Every file there is, the empty lock included."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def close(self) -> None:
        """Let the maps go; the next call maps again."""
        self._view = None

    def rows(self) -> NDArray[np.int64]:
        """The rows that can be found, in ascending order, so that a check can compare them with the database."""
        view = self._now()
        if view is None:
            return np.empty(0, dtype=np.int64)
        return np.sort(view.rows(np.flatnonzero(view.lengths)))

    def search(
        self, query: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None = None
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
        return self.search_many(np.asarray(query)[None], k, rows)[0]

    def search_many(
        self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `search`, for queries (m, dimension) at once: a list of m pairs."""
        if k < 1:
            raise UsageError(f"{k} results were asked for: ask for 1 or more")
        codes, lengths = quantise(self._checked(queries))
        best = [Best(k) for _ in codes]
        view = self._now()
        if view is not None:
            if rows is not None:
                self._within(view, codes, best, np.asarray(rows, dtype=np.int64))
            else:
                self._among_all(view, codes, best)
        found = []
        for one, length in zip(best, lengths, strict=True):
            places, scores = one.ordered()
            kept = view.rows(places) if view is not None else places
            found.append((kept, scores * length))
        return found

    def _among_all(self, view: View, codes: NDArray[np.int8], best: list[Best]) -> None:
        scan(view.codes, view.lengths, codes, best, end=view.header.highest + 1)

    def _within(self, view: View, codes: NDArray[np.int8], best: list[Best], rows: NDArray[np.int64]) -> None:
        if len(rows) > 1 and not bool((rows[1:] > rows[:-1]).all()):
            rows = np.unique(rows)
        rows = rows[(rows > 0) & (rows <= view.header.highest)]
        places = view.places(rows)
        if len(places) * GATHER <= view.header.highest:
            gather(view.codes, view.lengths, np.sort(places), codes, best)
            return
        allowed = np.zeros(view.header.capacity, dtype=np.bool_)
        allowed[places] = True
        scan(
            view.codes,
            view.lengths,
            codes,
            best,
            end=max(view.header.highest + 1, view.header.ordered),
            allowed=allowed,
        )

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
            Rows not to be found any more: their codes become zeros in the files. A row in both is removed.
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
        codes, lengths = quantise(self._checked(vectors))
        stay = ~np.isin(rows, removed)
        rows, codes, lengths = rows[stay], codes[stay], lengths[stay]
        with self.locked():
            head = self._writable_header()
            if applied is not None and applied <= head.applied:
                return
            head = self._enlarged(head, int(rows.max(initial=head.highest)))
            view = View.opened(self.folder, head, writable=True)
            self._put(view, rows, codes, lengths)
            self._remove(view, removed[removed <= head.highest])
            del view
            header.write(self.header_path, replace(head, applied=head.applied if applied is None else applied))

    def rebuild(self, blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]], applied: int = 0) -> None:
        """Make the files anew from everything the database holds; the old ones serve until the end, then go.

        Parameters
        ----------
        blocks:
            Rows and vectors, as for `apply`, each row once.
        applied:
            How far the database's change log was when the blocks began to be read.
        """
        with self.locked():
            old = self._header_or_none()
            generation = self._unused_generation()
            head = Header(self.key, self.dimension, generation=generation, applied=applied)
            for rows, vectors in blocks:
                rows = np.asarray(rows, dtype=np.int64)
                if rows.min(initial=1) < 1:
                    raise UsageError("a row below 1 was given: rows are counted from 1")
                codes, lengths = quantise(self._checked(vectors))
                head = self._enlarged(head, int(rows.max(initial=head.highest)))
                view = View.opened(self.folder, head, writable=True)
                view.codes[rows] = codes
                view.lengths[rows] = lengths
                del view
            head = self._enlarged(head, head.highest)
            files.flush(files.codes_path(self.folder, generation))
            files.flush(files.lengths_path(self.folder, generation))
            if old is None:
                self.header_path.unlink(missing_ok=True)
            header.write(self.header_path, head)
            self._view = None
            files.remove_others(self.folder, generation)

    def purge(self) -> list[str]:
        """Delete what earlier generations left behind; the names of files that cannot be deleted yet.

        Removed rows are zeros in the current files from the moment `apply` returned; only a file that another
        process still had mapped, on a system that does not delete such files, can hold them longer.
        """
        if not self.folder.is_dir():
            return []
        with self.locked():
            head = self._header_or_none()
            left = files.remove_others(self.folder, None if head is None else head.generation)
            return [path.name for path in left]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out, of this process and of others; not to be entered twice.

        Raises
        ------
        StateError
            If another writes for longer than the patience.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock", timeout=self.patience)
        try:
            lock.acquire(poll_interval=POLL)
        except Timeout:
            raise StateError(
                f"another process has been writing to the index for {self.patience:g} seconds: try again"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _checked(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        vectors = np.asarray(vectors, dtype=np.float32)
        if not vectors.size and vectors.ndim <= 2:
            return np.empty((0, self.dimension), dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            given = " × ".join(str(size) for size in vectors.shape)
            raise UsageError(f"vectors of {given} were given: this index holds vectors of {self.dimension}")
        return vectors

    def _now(self) -> View | None:
        """The files as the header has them now; None where there are none yet.

        Raises
        ------
        StateError
            If they are stale.
        """
        problem: Exception | None = None
        for _ in range(_TRIES):
            head = header.read(self.header_path)
            if head is None:
                self._view = None
                return None
            self._refuse_foreign(head)
            view = self._view
            if view is not None and _same_maps(view.header, head):
                if view.header.sequence != head.sequence:
                    view = replace(view, header=head)
                    self._view = view
                return view
            try:
                view = View.opened(self.folder, head)
            except (FileNotFoundError, StateError) as error:  # another process may just have moved on
                problem = error
                continue
            self._view = view
            return view
        raise StateError(f"the files of the index are not what its header says ({problem}): rebuild the index")

    def _refuse_foreign(self, head: Header) -> None:
        if head.key != self.key or head.dimension != self.dimension:
            raise StateError("the files of the index belong to another store or encoder: rebuild the index")

    def _header_or_none(self) -> Header | None:
        try:
            head = header.read(self.header_path)
            if head is not None:
                self._refuse_foreign(head)
        except StateError:
            return None
        return head

    def _writable_header(self) -> Header:
        view = self._now()
        if view is not None:
            return view.header
        files.remove_others(self.folder, None)  # of one who died before there was a header
        return Header(self.key, self.dimension, generation=self._unused_generation())

    def _unused_generation(self) -> int:
        used = [int(path.name.rpartition(".")[2]) for path in self.files() if path.name.rpartition(".")[2].isdigit()]
        return max(used, default=0) + 1

    def _enlarged(self, head: Header, highest: int) -> Header:
        """A header with room for rows up to the highest, and the files so long."""
        capacity = max(head.capacity, files.capacity_for(highest))
        if capacity > head.capacity:
            files.grow(files.codes_path(self.folder, head.generation), capacity * self.dimension)
            files.grow(files.lengths_path(self.folder, head.generation), capacity * 4)
        return replace(head, capacity=capacity, highest=max(head.highest, highest))

    def _put(self, view: View, rows: NDArray[Any], codes: NDArray[np.int8], lengths: NDArray[np.float32]) -> None:
        if not len(rows):
            return
        places = view.places(rows)
        changed = (view.lengths[places] != lengths) | (view.codes[places] != codes).any(axis=1)
        places, codes, lengths = places[changed], codes[changed], lengths[changed]
        if not len(places):
            return
        view.lengths[places] = 0
        view.codes[places] = codes
        # The codes are on disk before anything says that they count.
        files.sync(view.codes, files.codes_path(self.folder, view.header.generation))
        view.lengths[places] = lengths
        files.sync(view.lengths, files.lengths_path(self.folder, view.header.generation))

    def _remove(self, view: View, rows: NDArray[np.int64]) -> None:
        if not len(rows):
            return
        places = view.places(rows)
        view.lengths[places] = 0
        view.codes[places] = 0
        files.sync(view.lengths, files.lengths_path(self.folder, view.header.generation))
        files.sync(view.codes, files.codes_path(self.folder, view.header.generation))


def _same_maps(one: Header, other: Header) -> bool:
    return (one.generation, one.capacity) == (other.generation, other.capacity)


Progress = Callable[[str, float], None]
