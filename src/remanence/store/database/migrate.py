"""Bringing the tables of an older store up to date: a backup first, then one transaction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from remanence.errors import StateError
from remanence.store.database import schema

if TYPE_CHECKING:
    from remanence.store.database.sqlite import SqliteDatabase


def migrate(database: SqliteDatabase, version: int) -> None:
    """Go from `version` to the present schema, or leave everything as it was.

    Raises
    ------
    StateError
        If the version is unknown or a step fails; the file is unchanged, and the backup beside it stays.
    """
    steps = range(version, schema.VERSION)
    unknown = next((step for step in steps if step not in schema.MIGRATIONS), None)
    if unknown is not None:
        raise StateError(f"{database.path} has the schema {version}, which no step leads on from: use an intact copy")
    backup = database.path.with_name(f"{database.path.name}.backup-{version}")
    database.connection.execute("VACUUM INTO ?", [str(_fresh(backup))])
    try:
        with database.transaction():
            if database.connection.execute("PRAGMA user_version").fetchone()[0] == schema.VERSION:
                return  # another process was faster
            for step in steps:
                for statement in schema.MIGRATIONS[step]:
                    database.connection.execute(statement)
            database.connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    except sqlite3.DatabaseError as error:
        raise StateError(
            f"{database.path} could not be brought from schema {version} to {schema.VERSION} ({error}): it is unchanged, "
            f"and {backup.name} holds a copy"
        ) from None


def _fresh(backup: object) -> object:
    from pathlib import Path

    path = Path(str(backup))
    path.unlink(missing_ok=True)
    return path
