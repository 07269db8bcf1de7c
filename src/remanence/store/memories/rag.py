"""Retrieval over passages: every input is kept as it is, in the store, and found by the inner product of vectors.

It costs a vector and the text for each input, and never changes or drops one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit


@system(
    "rag",
    paper=Paper(
        "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks", "Lewis et al.", 2020, "2005.11401", 68
    ),
    place="store",
    baseline="bm25",
)
class RAG(Memory):
    """The retriever of retrieval-augmented generation.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.changing("facts", sessions=2, people=1, seed=0)
    >>> learner = rm.make("rag", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.predict(stream.tests[0].x).records.shape[1]
    1

    References
    ----------
    Lewis et al., Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks, 2020, arXiv:2005.11401.

    Departures
    ----------
    The retriever alone: the encoder of questions and passages is one packaged, frozen model instead of DPR's two,
    and no generator is trained with it.
    """

    encodes: ClassVar[str] = "every input as one passage, its speaker's name before its text"
    retrieves: ClassVar[str] = "the largest inner products with the question's vector"

    @validated
    def __init__(self) -> None:
        super().__init__()

    def write(self, given: Mapping[str, Any]) -> list[str]:
        speaker = given.get("speaker")
        return super().write({**given, "text": f"{speaker}: {given['text']}"} if speaker else given)

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return self.store.read(question, k, scope=scope, mode="dense")
