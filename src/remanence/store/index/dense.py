"""The dense index of one encoder's vectors: the closest rows to a query, and nothing that cannot be rebuilt.

Codes are int8 in mapped files, shared by all processes that have the store open. Readers take no lock: each
reads the header, maps what it names, and maps again when the header has moved on. Writers take turns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from remanence.errors import StateError, UsageError
from remanence.store.index import files, header, index_read, index_write, ivf
from remanence.store.index.clusters import Progress
from remanence.store.index.codes import TopK, quantise, scan
from remanence.store.index.files import View
from remanence.store.index.header import Header
from remanence.store.index.spann import Spann

APPROXIMATE_FROM = 150_000
"""Places from which on lists pay, by the measurement in docs/store-index.md."""
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
        "none", "ready", or "due": so many rows are outside lists that `build_approximate` pays.
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
        self.folder = Path(folder)
        self.dimension = dimension
        self.key = header.digest(key)
        self.probes = probes
        self.spann = spann
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
        if view is None:
            return Approximate("none", 0, 0, 0)
        head = view.header
        if head.spann:
            outside = view.end - head.posted
            due = outside > max(files.STEP, head.posted // 4)
            return Approximate("due" if due else "ready", head.posted - 1, head.postings, outside)
        outside = view.end - head.clustered
        if not head.lists:
            return Approximate("due" if outside > APPROXIMATE_FROM else "none", 0, 0, outside)
        due = outside > max(files.STEP, head.clustered // 4)
        return Approximate("due" if due else "ready", head.ordered - 1, head.lists, outside)

    def __len__(self) -> int:
        """Rows that can be found."""
        view = self._now()
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
        codes, lengths = quantise(self._checked(queries))
        best = [TopK(k) for _ in codes]
        view = self._now()
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
        codes, lengths = quantise(self._checked(vectors))
        stay = ~np.isin(rows, removed)
        rows, codes, lengths = rows[stay], codes[stay], lengths[stay]
        with self.locked():
            head = self._writable_header()
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
        with self.locked(), self._tidy():
            generation = files.unused_generation(self.folder)
            head = Header(self.key, self.dimension, generation=generation, applied=applied)
            for rows, vectors in blocks:
                rows = np.asarray(rows, dtype=np.int64)
                if rows.min(initial=1) < 1:
                    raise UsageError("a row below 1 was given: rows are counted from 1")
                codes, lengths = quantise(self._checked(vectors))
                head = index_write.enlarged(self.folder, head, int(rows.max(initial=head.highest)))
                view = View.opened(self.folder, head, writable=True)
                view.codes[rows] = codes
                view.lengths[rows] = lengths
                del view
            head = index_write.enlarged(self.folder, head, head.highest)
            view = View.opened(self.folder, head, writable=True)
            files.sync(view.codes, files.codes_path(self.folder, generation))
            files.sync(view.lengths, files.lengths_path(self.folder, generation))
            del view
            header.write(self.header_path, head)

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
        view = self._now()
        if view is None or not len(self):
            return False
        if self.spann is not None:
            return self._build_postings(self.spann, view, progress)
        lists, clustered = ivf.plan(view, seed, progress)
        with self.locked(), self._tidy():
            now = self._now()
            if now is None or now.header.generation != view.header.generation:
                return False  # rebuilt by another meanwhile: the plan is for rows that may be others
            head = replace(
                now.header,
                generation=files.unused_generation(self.folder),
                ordered=len(lists.row),
                clustered=clustered,
                lists=len(lists.lengths),
                spann=0,
                posted=0,
                postings=0,
                entries=0,
            )
            ivf.copy(now, self.folder, head, lists, progress)
            index_write.renew(self.folder, head)
            del now
            header.write(self.header_path, head)
        return True

    def _build_postings(self, spann: Spann, view: View, progress: Progress | None) -> bool:
        places = view.there()
        posted = view.end
        postings = spann.build(view.rows(places), view.codes[places], view.lengths[places], progress)
        with self.locked(), self._tidy():
            now = self._now()
            if now is None or now.header.generation != view.header.generation:
                return False
            # Rows written meanwhile are searched exactly with the newest; rows removed meanwhile come out.
            late = np.setdiff1d(now.rows(now.there()), view.rows(places))
            gone = postings.rows[now.lengths[now.places(postings.rows)] == 0]
            if len(gone):
                postings.remove(gone)
            head = replace(
                now.header,
                spann=files.unused_generation(self.folder),
                posted=int(min(posted, late.min(initial=posted))),
                postings=len(postings.inverse),
                entries=len(postings.rows),
            )
            files.write_postings(files.spann_path(self.folder, head.spann), postings)
            del now
            header.write(self.header_path, head)
        return True

    @contextlib.contextmanager
    def _tidy(self) -> Iterator[None]:
        """Whatever happens within, delete the files that the header does not name at the end."""
        try:
            yield
        finally:
            self._view = None
            files.remove_others(self.folder, self._header_or_none())

    def purge(self) -> list[str]:
        """Delete what earlier generations left behind; the names of files that cannot be deleted yet.

        Removed rows are zeros in the current files from the moment `apply` returned; only a file that another
        process still had mapped, on a system that does not delete such files, can hold them longer.
        """
        if not self.folder.is_dir():
            return []
        with self.locked():
            head = self._header_or_none()
            left = files.remove_others(self.folder, head, overwrite=True)
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
        return Header(self.key, self.dimension, generation=files.unused_generation(self.folder))


def _same_maps(one: Header, other: Header) -> bool:
    return (one.generation, one.capacity, one.spann) == (other.generation, other.capacity, other.spann)
