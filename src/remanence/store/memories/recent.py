"""The last inputs, whatever the question: what a context window of that length would hold.

It costs the text of every input, and no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit


@system("recent", place="store")
class Recent(Memory):
    """A baseline: the k latest records answer every question."""

    retrieves: ClassVar[str] = "the latest records"
    needs_vectors: ClassVar[bool] = False
    # Where every fact is told anew in every session, the latest records are what is true
    small: ClassVar[dict[str, Any]] = {
        "stream": {
            "source": "facts",
            "scenarios": [["changing", {"sessions": 6, "people": 2, "chatter": 0, "changes": 1.0, "k": 12, "seed": 0}]],
        }
    }

    @validated
    def __init__(self) -> None:
        super().__init__()

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return [Hit(record, -float(place)) for place, record in enumerate(self.store.list(scope=scope, limit=k))]
