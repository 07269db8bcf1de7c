"""The last inputs, whatever the question: what a context window of that length would hold.

It costs the text of every input, and no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit


@system("recent", place="store")
class Recent(Memory):
    """A baseline: the k latest records answer every question."""

    retrieves: ClassVar[str] = "the latest records"
    needs_vectors: ClassVar[bool] = False

    @validated
    def __init__(self) -> None:
        super().__init__()

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return [Hit(record, -float(place)) for place, record in enumerate(self.store.list(scope=scope, limit=k))]
