"""Lines to one SQLite file: one a thread, none across a fork; WAL, and an fsync at every commit."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from remanence.errors import StateError, UsageError
from remanence.store.database import descriptors
from remanence.store.database.forks import close_before_fork, hold_forks
from remanence.store.database.sqlite_dialect import SqliteDialect, lowered

PATIENCE = 60.0
"""Seconds that one process waits for another's write to end."""


class SqliteConnection(SqliteDialect):
    """The file of a store, made if it is not there.

    Parameters
    ----------
    path:
        The file itself, no link to it: its log and its index lie beside it.
    durable:
        Whether a commit waits for the disk.

    Raises
    ------
    UsageError
        If the file cannot be opened.
    StateError
        If it is no SQLite file.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path, self.durable = path, durable
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._generation = 0
        self._connected = itertools.count()
        key = self._keep_descriptor()
        self._release = weakref.finalize(self, descriptors.release, key)
        self._release.atexit = False
        close_before_fork(self)
        if descriptors.beginning(key, 16) not in (b"", b"SQLite format 3\x00"):
            self.close()
            raise StateError(f"{path} is not a store: it is no SQLite file")

    def _keep_descriptor(self) -> tuple[int, int]:
        try:
            if not self.path.exists():
                self.path.touch()
            return descriptors.keep(self.path)
        except OSError as error:
            raise UsageError(
                f"the store {self.path} cannot be opened ({error.strerror}): choose a file that you may read and write"
            ) from None

    # Life

    @property
    def driver(self) -> sqlite3.Connection:
        """This thread's own line, which no other thread may use; for what is no statement (tracing, backups)."""
        found: sqlite3.Connection | None = getattr(self._local, "driver", None)
        if found is None or self._local.generation != self._generation:
            found = self._connect()
            self._local.driver, self._local.generation = found, self._generation
            self._local.serial = next(self._connected)
            with self._guard:
                self._open.append(found)
        return found

    @property
    def state(self) -> tuple[int, int, int]:
        """What stays the same for a thread while nobody writes."""
        version = self.run("PRAGMA data_version")[0][0]
        return self._local.serial, version, self.driver.total_changes

    def _connect(self) -> sqlite3.Connection:
        try:
            made = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            made.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
            made.execute("PRAGMA secure_delete = ON")
            made.execute("PRAGMA foreign_keys = ON")
            made.execute("PRAGMA temp_store = MEMORY")
            made.execute("PRAGMA cache_size = -65536")
            made.create_function("lowered", 1, lowered, deterministic=True)
        except sqlite3.DatabaseError as error:
            raise self._in_a_sentence(error) from None
        return made

    def close_connections(self) -> None:
        """Before a fork; each thread makes itself a new one when it needs it."""
        with self._guard:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._generation += 1

    def abandon_connections(self) -> None:
        """In a forked child: the parent's are left to the parent, unused and unclosed."""
        self._inherited = self._open
        self._local, self._open, self._guard = threading.local(), [], threading.Lock()

    def close(self) -> None:
        self.close_connections()
        self._local = threading.local()
        self._release()

    # Statements

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            with hold_forks():
                return self.driver.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._in_a_sentence(error) from None

    def run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        try:
            with hold_forks():
                self.driver.executemany(statement, values)
        except sqlite3.DatabaseError as error:
            raise self._in_a_sentence(error) from None

    def run_patiently(self, statement: str) -> None:
        """For what does not wait for other processes by itself, such as a change of the journal's mode."""
        for wait in [0.01 * 1.5**n for n in range(15)]:
            try:
                self.driver.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise self._in_a_sentence(error) from None
                time.sleep(wait)
        self.run(statement)

    def malformed(self, statement: str) -> bool:
        """Run a statement that finds an index malformed, or not."""
        try:
            with hold_forks():
                self.driver.execute(statement)
        except sqlite3.DatabaseError as error:
            if "malformed" not in str(error):
                raise self._in_a_sentence(error) from None
            return True
        return False

    @property
    def in_transaction(self) -> bool:
        return bool(getattr(self._local, "depth", 0))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.in_transaction:
            yield
            return
        with hold_forks():
            yield from self._transaction()

    def _transaction(self) -> Iterator[None]:
        driver = self.driver
        self.run("BEGIN IMMEDIATE")
        self._local.depth = 1
        try:
            yield
        except BaseException:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            raise
        else:
            self.run("COMMIT")
        finally:
            self._local.depth = 0

    def session(self) -> AbstractContextManager[None]:
        return hold_forks()

    def _in_a_sentence(self, error: sqlite3.DatabaseError) -> Exception:
        return in_a_sentence(error, self.path)


def in_a_sentence(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """What went wrong with a file, as its user is told; an error of ours stays as it is."""
    if "UNIQUE constraint failed: records.id" in str(error):
        return UsageError("the id of a record is taken: use revise to write a new version of that record")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.InterfaceError):
        return error
    if "locked" in str(error) or "busy" in str(error):
        return StateError(
            f"another process has been writing to {path} for more than {PATIENCE:.0f} seconds: try again later"
        )
    if "disk is full" in str(error):
        return StateError(f"the disk of {path} is full: nothing of this was written, free some space")
    if "readonly" in str(error) or "unable to open" in str(error):
        return StateError(
            f"the store {path} cannot be written here ({error}): give it and its folder the right to be "
            "written, or copy it elsewhere"
        )
    return StateError(
        f"the store {path} cannot be read ({error}): run 'remanence store doctor' on it, or use an intact copy"
    )
