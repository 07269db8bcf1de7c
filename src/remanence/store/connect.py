"""Opening a store by its address, with its encoder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from remanence.errors import MissingExtra, UsageError, nearest
from remanence.store.database.base import Database
from remanence.store.encode.encoder import encoder_of
from remanence.store.retrieve.terms import stemmer
from remanence.store.store import Store

if TYPE_CHECKING:
    from remanence.store.encode.protocol import Encoder
    from remanence.store.language import Language
    from remanence.store.memories.base import Memory


def open(
    address: str | os.PathLike[str],
    *,
    encoder: str | Encoder | None = "auto",
    precision: str = "float32",
    index: str = "ivf",
    language: str | Language | None = None,
    background: bool = True,
    create: bool = True,
) -> Store:
    """Open a store, making it where there is none.

    Parameters
    ----------
    address:
        The file of a store (SQLite), or ``postgresql://user@host/database`` (with the extension pgvector).
    encoder:
        What turns texts into vectors: ``auto`` (the store's own; ``minilm`` for a new one), ``minilm`` (packaged), ``sentence-transformers:NAME``, ``openai:MODEL``,
        an object with ``name``, ``dimension`` and ``encode``, or None to read by words alone.
    precision:
        How vectors of a new store are kept, ``float32`` or ``float16``.
    index:
        How the vectors of a large store in a file are searched: ``ivf`` or ``spann``.
    language:
        What consolidation asks for summaries and facts: the name of a model behind an OpenAI-compatible endpoint
        (its address and key from OPENAI_BASE_URL and OPENAI_API_KEY), or None for rules.
    background:
        Whether a thread encodes what was written while nobody reads.
    create:
        Whether a missing file is made.

    Raises
    ------
    UsageError
        If the address cannot be used.
    StateError
        If what is there is no store, damaged, of a newer version, or of another encoder.
    MissingExtra
        If a package is missing.

    Example
    -------
    >>> import remanence as rm, tempfile, os
    >>> with rm.store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as store:
    ...     len(store)
    0
    """
    database = database_of(address, create, index)
    try:
        return Store(
            database,
            encoder_of(_own(encoder, database)),
            precision=precision,
            background=background,
            language=_language_of(language),
        )
    except BaseException:
        database.close()
        raise


def database_of(address: str | os.PathLike[str], create: bool, index: str = "ivf") -> Database:
    """The database at an address."""
    text = os.fspath(address)
    if not isinstance(text, str) or not text:
        raise UsageError(f"the address of a store is {text!r}, expected a path or postgresql://user@host/database")
    if text.startswith(("postgresql://", "postgres://")):
        try:
            from remanence.store.database.postgres import PostgresDatabase
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "psycopg", "postgres", "a store in PostgreSQL") from None
        return PostgresDatabase(text, create=create)
    if "://" in text:
        kind = text.split("://")[0]
        raise UsageError(f"a store cannot lie at {kind}://: give a path, or postgresql://user@host/database")
    from remanence.store.database.sqlite import SqliteDatabase

    stemmer()  # a store that cannot find words is not begun
    return SqliteDatabase(text, create=create, index=index)


def recorded_encoder(database: Database) -> str | None:
    """The name of the encoder whose vectors serve in a database, None where there are none yet."""
    return next((space.name for space in database.spaces() if space.serving), None)


def _own(given: str | Encoder | None, database: Database) -> str | Encoder | None:
    return given if given != "auto" else recorded_encoder(database) or "minilm"


def _language_of(given: str | Language | None) -> Language | None:
    if isinstance(given, str):
        from remanence.store.language import language

        return language(given)
    return given


def memory(name: str, store: Store | str | os.PathLike[str], **settings: Any) -> Memory:
    """A published text memory by name, working on a store.

    Parameters
    ----------
    name:
        Such as ``rag`` or ``memorybank[rules]``; ``remanence systems --place store`` lists them.
    store:
        A store, or the address of one.
    **settings:
        Hyperparameters of the memory.

    Raises
    ------
    UsageError
        If there is no such memory, or a setting cannot be used.

    Example
    -------
    >>> import remanence as rm, tempfile, os
    >>> bank = rm.store.memory("bm25", os.path.join(tempfile.mkdtemp(), "memory.db"))
    >>> _ = bank.write({"text": "The parrot sleeps in the kitchen."})
    >>> bank.read("Where does the parrot sleep?", k=1)[0].text
    'The parrot sleeps in the kitchen.'
    """
    from remanence.registry import in_room

    known = in_room("remanence.store.memories")  # without torch
    if name not in known:
        raise UsageError(f"there is no text memory {name!r}: {nearest(name, known)}")
    made: Memory = known[name].factory(**settings)
    place = store if isinstance(store, Store) else open(store)
    return made.bind(place, place.language)
