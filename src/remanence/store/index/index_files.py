"""The files of an index as they are now: mapped anew when another process moved on, locked while one writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from remanence.errors import StateError
from remanence.store.index import files, header
from remanence.store.index.header import Header
from remanence.store.index.view import View

POLL = 0.002
"""Seconds between two attempts to take the lock."""
_TRIES = 20


class IndexFiles:
    """What one process sees and does of the files in a folder.

    Parameters
    ----------
    folder:
        Where they are; made when something is first written.
    dimension, key:
        Entries of a vector, and the digest of what the files belong to: those of another are stale.
    patience:
        Seconds to wait while another process writes.
    """

    def __init__(self, folder: Path, dimension: int, key: bytes, patience: float) -> None:
        self.folder, self.dimension, self.key, self.patience = folder, dimension, key, patience
        self._view: View | None = None

    @property
    def path(self) -> Path:
        """The header, which names the others."""
        return self.folder / "header"

    def now(self) -> View | None:
        """The files as the header has them now; None where there are none yet.

        Raises
        ------
        StateError
            If they are stale.
        """
        problem: Exception | None = None
        for _ in range(_TRIES):
            head = header.read(self.path)
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

    def header(self) -> Header | None:
        """What the header says; None where there is none, or it is torn or of another index."""
        try:
            head = header.read(self.path)
            if head is not None:
                self._refuse_foreign(head)
        except StateError:
            return None
        return head

    def writable_header(self) -> Header:
        """The header to go on from, a new one where there is none; only under the lock."""
        view = self.now()
        if view is not None:
            return view.header
        files.remove_others(self.folder, None)  # of one who died before there was a header
        return Header(self.key, self.dimension, generation=files.unused_generation(self.folder))

    def write(self, head: Header) -> None:
        """Let this header count from now on, durably."""
        header.write(self.path, head)

    def close(self) -> None:
        """Let the maps go; the next look maps again."""
        self._view = None

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

    @contextlib.contextmanager
    def tidy(self) -> Iterator[None]:
        """Whatever happens within, delete the files that the header does not name at the end."""
        try:
            yield
        finally:
            self._view = None
            files.remove_others(self.folder, self.header())


def _same_maps(one: Header, other: Header) -> bool:
    return (one.generation, one.capacity, one.spann) == (other.generation, other.capacity, other.spann)
