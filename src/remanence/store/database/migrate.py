"""The tables of a store in SQLite: found, made, or brought up to date after a backup, in one transaction."""

from __future__ import annotations

import sqlite3
import uuid

from remanence.errors import StateError
from remanence.store.database import schema
from remanence.store.database.sqlite_connection import SqliteConnection


def prepare(connection: SqliteConnection) -> None:
    """Find the store in a file, or make it where the file is empty.

    Raises
    ------
    StateError
        If the file is of something else, damaged, of a newer version, or of an older one that cannot be brought up
        to date.
    """
    with connection.session():
        if not connection.path.stat().st_size:
            connection.run(f"PRAGMA page_size = {schema.PAGE}")
        connection.run_patiently("PRAGMA journal_mode = WAL")
        marked, version = _mark(connection)
        if not marked:
            with connection.transaction():
                marked, version = _mark(connection)
                if not marked:
                    _create(connection)
                    version = schema.VERSION
        if version > schema.VERSION:
            raise StateError(
                f"{connection.path} was written by a newer version of this library (schema {version}, this one reads up "
                f"to {schema.VERSION}): upgrade remanence"
            )
        if version < schema.VERSION:
            migrate(connection, version)


def _mark(connection: SqliteConnection) -> tuple[bool, int]:
    application = connection.run("PRAGMA application_id")[0][0]
    version = connection.run("PRAGMA user_version")[0][0]
    if application == schema.APPLICATION:
        return True, version
    if application or version or connection.run("SELECT 1 FROM sqlite_master LIMIT 1"):
        raise StateError(f"{connection.path} is not a store: it is a SQLite file of something else")
    return False, 0


def _create(connection: SqliteConnection) -> None:
    for statement in schema.CREATE:
        connection.run(statement)
    connection.run("INSERT INTO settings (name, value) VALUES ('identity', ?)", [uuid.uuid4().hex])
    connection.run(f"PRAGMA application_id = {schema.APPLICATION}")
    connection.run(f"PRAGMA user_version = {schema.VERSION}")


def migrate(connection: SqliteConnection, version: int) -> None:
    """Go from `version` to the present schema, or leave everything as it was.

    Raises
    ------
    StateError
        If the version is unknown or a step fails; the file is unchanged, and the backup beside it stays.
    """
    steps = range(version, schema.VERSION)
    unknown = next((step for step in steps if step not in schema.MIGRATIONS), None)
    if unknown is not None:
        raise StateError(f"{connection.path} has the schema {version}, which no step leads on from: use an intact copy")
    backup = connection.path.with_name(f"{connection.path.name}.backup-{version}")
    backup.unlink(missing_ok=True)
    connection.run("VACUUM INTO ?", [str(backup)])
    try:
        with connection.transaction():
            if connection.run("PRAGMA user_version")[0][0] == schema.VERSION:
                return  # another process was faster
            for step in steps:
                for statement in schema.MIGRATIONS[step]:
                    connection.driver.execute(statement)
            connection.driver.execute(f"PRAGMA user_version = {schema.VERSION}")
    except sqlite3.DatabaseError as error:
        raise StateError(
            f"{connection.path} could not be brought from schema {version} to {schema.VERSION} ({error}): "
            f"it is unchanged, and {backup.name} holds a copy"
        ) from None
