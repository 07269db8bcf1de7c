"""The one way to a database: statements, transactions, and what one kind of database says differently.

Everything else here stands on this: no other module runs a statement by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from remanence.store.database.base import Rows, Space, Vectors
from remanence.store.database.conditions import Bound


class Connection(ABC):
    """A database as SQL sees it. Safe to use from several threads, each of which has its own line to the database.

    Statements are written with ``?``; values are always bound. Errors of the database come as sentences: a
    `StateError` or `UsageError`.
    """

    @abstractmethod
    def run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""

    @abstractmethod
    def run_many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of several values."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; durable when it ends. The one writer at a time holds it; nesting joins the outer one."""

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction."""

    def session(self) -> AbstractContextManager[None]:
        """Many statements for one look at whether the process is about to be forked; a fork waits for its end."""
        return nullcontext()

    @abstractmethod
    def close(self) -> None:
        """Close every thread's line."""

    # The dialect

    @abstractmethod
    def among(self, column: str, values: Sequence[Any] | Rows) -> Bound:
        """That a column holds one of many values."""

    @abstractmethod
    def metadata_is(self, path: tuple[str, ...], operator: str, value: Any) -> Bound:
        """A comparison with a value below the metadata."""

    @abstractmethod
    def has_tag(self, tag: str) -> Bound:
        """Whether the tags hold one."""

    @abstractmethod
    def contains(self, column: str, text: str) -> Bound:
        """Whether a column contains a text, in any case of letters."""

    @abstractmethod
    def vector_in(self, vector: Vectors, space: Space) -> Any:
        """A vector as the database takes it."""

    @abstractmethod
    def vectors_out(self, found: Sequence[Any], space: Space) -> Vectors:
        """Several vectors as the database gives them, (n, dimension)."""
