"""The truth in a PostgreSQL database: its own schema, full text by tsvector, vectors by pgvector."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from remanence.errors import StateError, UsageError
from remanence.store.database import postgres_care, postgres_nearest, postgres_schema, postgres_search
from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import Bound
from remanence.store.database.sql import COLUMNS, SqlDatabase
from remanence.store.record import Removal
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

PATIENCE = 60
"""Seconds that one process waits for another's write to end, and for a server to answer at all."""

WRITING = 0x52454D41
"""The advisory lock that the one writer of a database holds until its transaction ends."""

_ATTEMPTS = 3
_COPIED = 50
"""From how many rows on COPY is quicker than a statement each."""

Connection = psycopg.Connection[tuple[Any, ...]]


@lru_cache(maxsize=1024)
def translated(statement: str) -> bytes:
    """A statement with ``?`` as psycopg takes it."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


class PostgresDatabase(SqlDatabase):
    """A store in a schema of its own, ``remanence``, of a PostgreSQL database.

    Every thread has its own connection; a forked child opens its own. Those who write take turns, by an
    advisory lock that ends with the transaction: what a transaction has read, such as the version that it
    revises, stays as it was until it commits. Readers wait for nobody.

    Parameters
    ----------
    address:
        ``postgresql://user@host/database``, with whatever parameters libpq takes.
    create:
        Whether the tables are made where there are none.

    Raises
    ------
    UsageError
        If the address cannot be read, or holds no store and none may be made.
    StateError
        If the server cannot be reached, lacks pgvector, or holds something else or a newer store.
    """

    dialect = "postgres"
    patience = PATIENCE

    def __init__(self, address: str, *, create: bool = True) -> None:
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
        self._open: dict[threading.Thread, Connection] = {}
        self._guard = threading.Lock()
        self._process = os.getpid()
        self._ready = False
        self.pgvector: tuple[int, ...] = ()
        self.search = postgres_search.Search(self)
        self.nearest = postgres_nearest.Nearest(self)
        try:
            postgres_schema.prepare(self, create)
            self._ready = True
        except BaseException:
            self.close()
            raise
        self._local.connection = None  # the next one knows the types of pgvector
        self.identity = self.setting("identity") or ""

    # Connections

    @property
    def connection(self) -> Connection:
        """This thread's own connection."""
        if self._process != os.getpid():
            # A connection must not cross a fork: the parent's are left to the parent, unused and unclosed
            self._inherited = self._open
            self._local, self._open, self._guard = threading.local(), {}, threading.Lock()
            self._process = os.getpid()
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None or found.closed:
            if getattr(self._local, "depth", 0):
                raise self._lost()
            found = self._connect()
            self._local.connection = found
            self._keep(found)
        return found

    def _keep(self, connection: Connection) -> None:
        """A server has few connections to give: those of threads that have ended are closed."""
        with self._guard:
            me = threading.current_thread()
            for thread in [one for one in self._open if one is me or not one.is_alive()]:
                self._open.pop(thread).close()
            self._open[me] = connection

    def _connect(self) -> Connection:
        try:
            made: Connection = psycopg.connect(self._address, autocommit=True)
        except psycopg.Error as error:
            raise StateError(
                f"the database {self.name} cannot be reached ({_first_line(error)}): check that the server runs, and "
                "the user, the password and the database in the address"
            ) from None
        place = made.execute(
            "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
            "WHERE e.extname = 'vector'"
        ).fetchone()
        path = ", ".join([postgres_schema.SCHEMA, place[0] if place else "public"])
        made.execute(
            "SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false), "
            "set_config('client_min_messages', 'error', false), set_config('synchronous_commit', "
            "CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)",
            [path, f"{PATIENCE}s"],
        )
        if place and self._ready:
            register_vector(made)
        return made

    def close(self) -> None:
        if self._process != os.getpid():
            return
        with self._guard:
            for connection in self._open.values():
                connection.close()
            self._open.clear()
        self._local = threading.local()

    # Statements

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        for attempt in range(_ATTEMPTS):
            connection = self.connection
            try:
                cursor = connection.execute(translated(statement), values)
                return cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                alone = not getattr(self._local, "depth", 0)
                if not (alone and attempt + 1 < _ATTEMPTS and _passing(error, connection)):
                    raise self._user_error(error, connection) from None
        raise self._lost()

    def _run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        listed = list(values)
        if len(listed) == 1:
            self._run(statement, listed[0])
            return
        connection = self.connection
        try:
            with connection.cursor() as cursor:
                cursor.executemany(translated(statement), listed)
        except psycopg.Error as error:
            raise self._user_error(error, connection) from None

    def _user_error(self, error: psycopg.Error, connection: Connection) -> Exception:
        if isinstance(error, psycopg.errors.LockNotAvailable):
            return StateError(
                f"another process has been writing to {self.name} for more than {PATIENCE} seconds: try again later"
            )
        if isinstance(error, psycopg.errors.DiskFull):
            return StateError(f"the disk of {self.name} is full: nothing of this was written, free some space")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return StateError(
                f"the user of {self.name} may not do this ({_first_line(error)}): grant it the rights on the schema "
                f"{postgres_schema.SCHEMA}"
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

    def _lost(self) -> StateError:
        return StateError(
            f"the connection to {self.name} was lost: nothing that was not confirmed is written, try again"
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if getattr(self._local, "depth", 0):
            yield
            return
        self._run("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection = self.connection
        self._local.depth = 1
        try:
            self._run("SELECT pg_advisory_xact_lock(?)", [WRITING])
            yield
        except BaseException:
            if not connection.closed:
                connection.execute("ROLLBACK")
            raise
        else:
            self._run("COMMIT")
        finally:
            self._local.depth = 0

    # The dialect

    def _next_rows(self, count: int) -> range:
        # The writer's lock makes these contiguous; a sequence never gives a number twice
        found = self._run(
            "SELECT min(number), max(number) FROM (SELECT nextval('records_row') AS number FROM generate_series(1, ?)) n",
            [count],
        )
        first, last = found[0]
        return range(first, last + 1) if first else range(0)

    def _among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        if isinstance(values, np.ndarray):
            return f"{column} = ANY(?)", [values.tolist()]
        return f"{column} = ANY(?)", [[one if isinstance(one, bytes | str) else int(one) for one in values]]

    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound:
        found = "(r.metadata::jsonb" + " -> ?::text" * len(path) + ")"
        place = list(path)
        if value is None:
            return f"({found} #>> '{{}}') IS {'NOT ' if operator != '=' else ''}NULL", place
        if operator == "contains":
            return f"position(lowered(?) IN lowered({found} #>> '{{}}')) > 0", [str(value), *place]
        if operator == "!=":
            text, values = self.metadata_is(path, "=", value)
            return f"NOT coalesce({text}, false)", values
        if isinstance(value, str):
            return (
                f"(jsonb_typeof({found}) = 'string' AND ({found} #>> '{{}}') COLLATE \"C\" {operator} ?)",
                [*place, *place, value],
            )
        number = (
            f"CASE jsonb_typeof({found}) WHEN 'number' THEN ({found} #>> '{{}}')::numeric "
            f"WHEN 'boolean' THEN ({found} #>> '{{}}')::boolean::integer END"
        )
        return f"({number}) {operator} ?::numeric", [
            *place,
            *place,
            *place,
            str(float(value) if value != int(value) else int(value)),
        ]

    def has_tag(self, tag: str) -> Bound:
        return "r.tags::jsonb @> to_jsonb(?::text)", [tag]

    def contains(self, column: str, text: str) -> Bound:
        return f"position(lowered(?) IN lowered({column})) > 0", [text]

    def _make_space_tables(self, space: Space) -> None:
        kind = "halfvec" if space.precision == "float16" else "vector"
        table = f"vectors_{space.number}"
        self._run(f"CREATE TABLE {table} (row_id bigint PRIMARY KEY, vector {kind}({space.dimension}) NOT NULL)")
        if space.dimension * (2 if kind == "halfvec" else 4) < 8000:
            # Beside the row rather than in a table of long values: a scan then needs no look-up for each
            self._run(f"ALTER TABLE {table} ALTER COLUMN vector SET STORAGE PLAIN")

    def _vector_in(self, vector: Vectors, space: Space) -> Any:
        return HalfVector(vector) if space.precision == "float16" else vector

    def _vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        if not found:
            return np.zeros((0, space.dimension), dtype=np.float32)
        arrays = [one if isinstance(one, np.ndarray) else one.to_numpy() for one in found]
        return np.stack(arrays).astype(np.float32, copy=False)

    def _write(self, rows: Sequence[int], versions: Sequence[StoredVersion]) -> None:
        if len(versions) < _COPIED:
            super()._write(rows, versions)
            return
        scopes = self._scope_numbers({told.scope for told in versions})
        connection = self.connection
        try:
            with connection.cursor() as cursor, cursor.copy(f"COPY records ({COLUMNS}) FROM STDIN".encode()) as copy:
                for row, told in zip(rows, versions, strict=True):
                    copy.write_row(self._columns(row, told, scopes))
        except psycopg.Error as error:
            raise self._user_error(error, connection) from None

    def _queue(self, rows: Sequence[int]) -> None:
        for space in self.spaces():
            self._run(
                "INSERT INTO queue (space, row_id) SELECT ?::integer, unnest(?::bigint[])", [space.number, list(rows)]
            )

    # Search

    def words(self, terms: Sequence[str], k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        return self.search.words(terms, k, wanted)

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        return self.search.frequencies(terms)

    def neighbours_in_order(self, rows: Rows, reach: int, wanted: Filter) -> Rows:
        return self.search.neighbours_in_order(rows, reach, wanted)

    def dense(self, space: Space, query: Vectors, k: int, wanted: Filter) -> tuple[Rows, NDArray[np.float32]]:
        return self.search.dense(space, query, k, wanted)

    def put_vectors(self, space: Space, rows: Rows, vectors: Vectors) -> None:
        super().put_vectors(space, rows, vectors)
        if not getattr(self._local, "depth", 0):
            self.nearest.grown(space, rows)

    # Care

    def purge(self, texts: Sequence[str] = ()) -> tuple[dict[str, Removal], str]:
        return postgres_care.purge(self)

    def check(self, repair: bool) -> list[str]:
        return postgres_care.check(self, repair)

    def statistics(self) -> dict[str, Any]:
        return {**self._counts(), "bytes": postgres_care.sizes(self)}


def _passing(error: psycopg.Error, connection: Connection) -> bool:
    """Whether the same statement may well succeed when it is tried again."""
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return True
    return connection.closed


def _first_line(error: psycopg.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
