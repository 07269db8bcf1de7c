"""Words alone: every input is kept as it is and found by BM25 over stems, the retrieval of before vectors.

It costs the text and a full-text index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit


@system("bm25", place="store")
class BM25(Memory):
    """A baseline: the store read by full text.

    References
    ----------
    Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
    """

    retrieves: ClassVar[str] = "BM25 over stems"
    needs_vectors: ClassVar[bool] = False
    small: ClassVar[dict[str, Any]] = {
        "stream": {"source": "facts", "scenarios": [["changing", {"sessions": 5, "people": 8, "seed": 0}]]}
    }

    @validated
    def __init__(self) -> None:
        super().__init__()

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return self.store.read(question, k, scope=scope, mode="text")
