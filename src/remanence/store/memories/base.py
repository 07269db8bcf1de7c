"""What published text memories have in common: four choices over one store.

A memory is a way to encode what arrives, to store it, to retrieve it, and to manage what is stored. The frame
is that of Zhang et al., MemEvolve: Meta-Evolution of Agent Memory Systems, 2025, arXiv:2512.18746.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from remanence.errors import StateError
from remanence.store.record import Hit, Record

if TYPE_CHECKING:
    from remanence.store.language import Language
    from remanence.store.protocol import Records

ROWS = "rows"
"""Under this name a record's metadata lists the inputs that it was made from, the latest first."""


class Memory:
    """A text memory over a store.

    A subclass says in `encodes`, `stores`, `retrieves` and `manages` what it does in each of the four places
    (printed by ``remanence show``), and overrides the methods of those where it departs from the plain store:
    one record an input, the store's own reading, no consolidation. Its hyperparameters are those of its
    constructor; the store is given to it by `bind`.

    `needs_language` names the operations that the paper leaves to a language model; where a stand-in of rules
    does them, the system is the variant ``name[rules]``. One that never reads by meaning says so in
    `needs_vectors`, and as a learner pays for none.
    """

    runner: ClassVar[str] = "remanence.store.runner:MEMORY"
    small: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it is quick to test."""
    tasks: ClassVar[frozenset[str]] = frozenset({"retrieval", "answering"})
    encodes: ClassVar[str] = "every input as one record, its text as it is"
    stores: ClassVar[str] = "records in one scope"
    retrieves: ClassVar[str] = "the store's own reading: meaning and words, fused"
    manages: ClassVar[str] = "nothing"
    needs_language: ClassVar[tuple[str, ...]] = ()
    needs_vectors: ClassVar[bool] = True

    _store: Records | None = None
    _language: Language | None = None

    def bind(self, store: Records, language: Language | None = None) -> Memory:
        """Work on this store, with this language model or its stand-in; returns itself."""
        self._store, self._language = store, language
        return self

    @property
    def store(self) -> Records:
        if self._store is None:
            raise StateError(
                f"{type(self).__name__} has no store yet: call bind(store), or make it by remanence.store.memory"
            )
        return self._store

    @property
    def language(self) -> Language:
        """The language model that was given, or the rules that stand in for one."""
        if self._language is None:
            from remanence.store.language import language

            self._language = language("rules")
        return self._language

    # The four

    def write(self, given: Mapping[str, Any]) -> list[str]:
        """Take in one input, the fields of a record; the ids of the records that were written or changed."""
        return [self.store.write(**given).id]

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        """The k records that answer a question best; changes nothing."""
        return self.store.read(question, k, scope=scope)

    def session_end(self, scope: str = "") -> None:
        """Some inputs that belong together (a conversation, an experience) have ended."""

    def consolidate(self, scope: str = "*") -> None:
        """Look after what is stored, when nothing arrives."""

    # What it keeps besides the store

    def state(self) -> dict[str, Any]:
        """JSON-able; what the store does not hold."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Numbers that it learned, by name."""
        return {}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""


def rows_of(records: Iterable[Record]) -> list[int]:
    """The inputs that records were made from, in order, each once."""
    return list(dict.fromkeys(row for record in records for row in record.metadata.get(ROWS, ())))
