"""What looks after a store, or lives on one, asks of it: policies, text memories, forgetting, moving."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from remanence.store.record import Hits, Link, Receipt, Record

if TYPE_CHECKING:
    from remanence.store.database.base import Database
    from remanence.store.encoding import Encoding, Progress
    from remanence.store.language import Language


class Records(Protocol):
    """A store, as `remanence.store.Store` is one; what each method does is said there."""

    @property
    def database(self) -> Database: ...

    @property
    def encoding(self) -> Encoding: ...

    @property
    def clock(self) -> Callable[[], int]: ...

    @property
    def language(self) -> Language: ...

    def __len__(self) -> int: ...

    def write(self, text: str, *, wait: bool = False, **fields: Any) -> Record: ...

    def read(
        self, question: str, k: int = 5, *, scope: str | None = "", mode: str = "hybrid", **options: Any
    ) -> Hits: ...

    def get(self, record_id: str) -> Record: ...

    def list(
        self, *, scope: str | None = "*", where: Any = None, limit: int = 100, newest: bool = True, **times: Any
    ) -> builtins.list[Record]: ...

    def scopes(self) -> Sequence[str]: ...

    def revise(self, record_id: str, text: str | None = None, **changes: Any) -> Record: ...

    def link(self, source: str, target: str, relation: str, weight: float = 1.0) -> Link: ...

    def forget(
        self, record: str | Iterable[str] | None = None, *, where: Any = None, scope: str | None = None
    ) -> Receipt: ...

    def encode(self, *, progress: Progress | None = None) -> int: ...
