"""Lines to one PostgreSQL database: one a thread, lost ones made anew, those who write taking turns."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remanence.errors import StateError, UsageError
from remanence.store.database.forks import abandon_after_fork
from remanence.store.database.postgres_dialect import PostgresDialect

SCHEMA = "remanence"
"""Where the tables of a store are, in a database that may hold more."""

PATIENCE = 60
"""Seconds that one process waits for another's write to end, and for a server to answer at all."""

WRITING = 0x52454D41
"""The advisory lock that the one writer of a database holds until its transaction ends."""

_ATTEMPTS = 3

Driver = psycopg.Connection[tuple[Any, ...]]


@lru_cache(maxsize=1024)
def translated(statement: str) -> bytes:
    """A statement with ``?`` as psycopg takes it."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


class PostgresConnection(PostgresDialect):
    """A PostgreSQL database by its address.

    Parameters
    ----------
    address:
        ``postgresql://user@host/database``, with whatever parameters libpq takes.

    Raises
    ------
    UsageError
        If the address cannot be read.
    """

    def __init__(self, address: str) -> None:
        try:
            given = conninfo_to_dict(address)
        except psycopg.Error as error:
            raise UsageError(
                f"the address of the database cannot be read ({_first_line(error)}): "
                "write it as postgresql://user@host/database"
            ) from None
        self._address = make_conninfo(
            address,
            connect_timeout=str(given.get("connect_timeout") or PATIENCE),
            application_name=str(given.get("application_name") or "remanence"),
            client_encoding="utf8",
        )
        self.name = f"{given.get('host') or 'localhost'}/{given.get('dbname') or given.get('user') or ''}"
        self._local = threading.local()
        self._open: dict[threading.Thread, Driver] = {}
        self._guard = threading.Lock()
        self._typed = False
        abandon_after_fork(self)

    # Life

    def know_vectors(self) -> None:
        """The extension is there: lines made from now on know its types, and this thread makes itself one."""
        self._typed = True
        self._local.driver = None

    @property
    def driver(self) -> Driver:
        """This thread's own line, which no other thread may use; for what is no statement (copying, asking the server)."""
        found: Driver | None = getattr(self._local, "driver", None)
        if found is None or found.closed:
            if self.in_transaction:
                raise self._lost()
            found = self._connect()
            self._local.driver = found
            self._keep(found)
        return found

    def _keep(self, connection: Driver) -> None:
        """A server has few connections to give: those of threads that have ended are closed."""
        with self._guard:
            me = threading.current_thread()
            for thread in [one for one in self._open if one is me or not one.is_alive()]:
                self._open.pop(thread).close()
            self._open[me] = connection

    def _connect(self) -> Driver:
        try:
            made: Driver = psycopg.connect(self._address, autocommit=True)
        except psycopg.Error as error:
            raise StateError(
                f"the database {self.name} cannot be reached ({_first_line(error)}): check that the server runs, and "
                "the user, the password and the database in the address"
            ) from None
        place = made.execute(
            "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'vector'"
        ).fetchone()
        path = ", ".join([SCHEMA, place[0] if place else "public"])
        made.execute(
            "SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false), "
            "set_config('client_min_messages', 'error', false), set_config('synchronous_commit', "
            "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
            [path, f"{PATIENCE}s"],
        )
        if place and self._typed:
            register_vector(made)
        return made

    def close(self) -> None:
        with self._guard:
            for connection in self._open.values():
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def close_connections(self) -> None:
        """Nothing: a fork does the parent's lines no harm as long as the child leaves them alone."""

    def abandon_connections(self) -> None:
        """In a forked child: the parent's are left to the parent, unused and unclosed."""
        self._inherited = self._open
        self._local, self._open, self._guard = threading.local(), {}, threading.Lock()

    # Statements

    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        for attempt in range(_ATTEMPTS):
            connection = self.driver
            try:
                cursor = connection.execute(translated(statement), values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                alone = not self.in_transaction
                if not (alone and attempt + 1 < _ATTEMPTS and _passing(error, connection)):
                    raise self._in_a_sentence(error, connection) from None
        raise self._lost()

    def run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        listed = list(values)
        if len(listed) == 1:
            self.run(statement, listed[0])
            return
        connection = self.driver
        try:
            with connection.cursor() as cursor:
                cursor.executemany(translated(statement), listed)
        except psycopg.Error as error:
            raise self._in_a_sentence(error, connection) from None

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Give many rows to a ``COPY … FROM STDIN``, which is quicker than a statement each."""
        connection = self.driver
        try:
            with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self._in_a_sentence(error, connection) from None

    def _lost(self) -> StateError:
        return StateError(
            f"the connection to {self.name} was lost: nothing that was not confirmed is written, try again"
        )

    @property
    def in_transaction(self) -> bool:
        return bool(getattr(self._local, "depth", 0))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.in_transaction:
            yield
            return
        self.run("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection = self.driver
        self._local.depth = 1
        try:
            self.run("SELECT pg_advisory_xact_lock(?)", [WRITING])
            yield
        except BaseException:
            if not connection.closed:
                connection.execute("ROLLBACK")
            raise
        else:
            self.run("COMMIT")
        finally:
            self._local.depth = 0

    def _in_a_sentence(self, error: psycopg.Error, connection: Driver) -> Exception:
        if isinstance(error, psycopg.errors.LockNotAvailable):
            return StateError(
                f"another process has been writing to {self.name} for more than {PATIENCE} seconds: try again later"
            )
        if isinstance(error, psycopg.errors.DiskFull):
            return StateError(f"the disk of {self.name} is full: nothing of this was written, free some space")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return StateError(
                f"the user of {self.name} may not do this ({_first_line(error)}): grant it the rights on the schema "
                f"{SCHEMA}"
            )
        if isinstance(error, psycopg.errors.UndefinedTable):
            return StateError(
                f"a table of the store in {self.name} is gone ({_first_line(error)}): another process changed the "
                "encoder, or the store was dropped; open it again"
            )
        if connection.closed:
            return self._lost()
        if isinstance(error, psycopg.errors.UniqueViolation) and "records_by_id" in str(error):
            return UsageError("the id of a record is taken: use revise to write a new version of that record")
        if isinstance(error, psycopg.OperationalError | psycopg.InternalError):
            return StateError(f"the database {self.name} cannot do this ({_first_line(error)}): look into its log")
        return error


def _passing(error: psycopg.Error, connection: Driver) -> bool:
    """Whether the same statement may well succeed when it is tried again."""
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return True
    return connection.closed


def _first_line(error: psycopg.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
