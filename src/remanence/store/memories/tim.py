"""Thoughts in hash buckets: what a turn states is kept as short thoughts, which are sought, revised and merged in one bucket.

A thought lies in the store under the bucket that its vector hashes to. It costs the thoughts' vectors, a random
matrix that follows from a seed, and a look at one bucket for each new thought and each question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import ROWS, Memory
from remanence.store.memories.thoughts import EVERY, Thought, thoughts
from remanence.store.record import Hit, Record


def bucket_of(vector: NDArray[np.float32], rotation: NDArray[np.float32]) -> int:
    """The bucket of a vector: the place of the largest of x R and -x R.

    Example
    -------
    >>> rotation = np.eye(2, dtype=np.float32)
    >>> [bucket_of(np.array(x, dtype=np.float32), rotation) for x in ([1, 0], [0, 1], [-1, 0], [0, -1])]
    [0, 1, 2, 3]
    """
    turned = vector @ rotation
    return int(np.argmax(np.concatenate([turned, -turned])))


@system(
    "tim[rules]",
    paper=Paper(
        "Think-in-Memory: Recalling and Post-thinking Enable LLMs with Long-Term Memory",
        "Liu, Yang, Shen, Hu, Zhang, Gu, Zhang",
        2023,
        "2311.08719",
        36,
    ),
    place="store",
    baseline="rag",
    variant="rules in place of the language model that thinks; one hash",
)
class TIM(Memory):
    """Insert, forget, merge within a bucket.

    A thought x goes to the bucket F(x) = argmax [xR; -xR], with R random (dimension, buckets / 2), as the question
    does, which is then answered from that bucket alone by cosine. After a thought is inserted, the thoughts of its
    bucket that it contradicts are forgotten, and those like it about the same head entity are merged with it.

    Parameters
    ----------
    buckets:
        How many, an even number; 2 halves the space.
    similar:
        The cosine from which on thoughts about the same head are merged; above 1 for never.
    forgets:
        Whether what a new thought contradicts goes.
    whole:
        Whether a turn in which no statement is found is kept as it is; else it is dropped.
    seed:
        From which R is drawn.

    Raises
    ------
    UsageError
        If `buckets` is odd, or the store has no encoder.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.changing("facts", sessions=2, people=1, seed=0)
    >>> learner = rm.make("tim[rules]", stream, buckets=2)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.predict(stream.tests[0].x).records.shape[1]
    1

    References
    ----------
    Liu et al., Think-in-Memory: Recalling and Post-thinking Enable LLMs with Long-Term Memory, 2023, arXiv:2311.08719.

    Departures
    ----------
    Rules (or a language model, by `on`) make, judge and merge the thoughts, with no fine-tuning. The paper states
    neither the number of buckets nor what counts as similar: `buckets` and `similar` are choices of this library.
    A thought that replaces another, or is merged with it, is its next version; one that is over is forgotten.
    A turn without a statement is kept as it is unless `whole` is off.
    """

    encodes: ClassVar[str] = "every input as thoughts: a subject, a relation and an object each"
    stores: ClassVar[str] = "one record a thought, in the bucket that its vector hashes to"
    retrieves: ClassVar[str] = "the bucket of the question, by cosine"
    manages: ClassVar[str] = (
        "after every input, in its thoughts' buckets: forget what it contradicts, merge what is like it"
    )
    needs_language: ClassVar[tuple[str, ...]] = ("facts", "relation", "merge")

    @validated
    def __init__(
        self,
        buckets: Annotated[int, Field(ge=2, le=4096, description="hash buckets, an even number")] = 4,
        similar: Annotated[float, Field(ge=0, le=2, description="cosine from which on thoughts are merged")] = 0.8,
        forgets: Annotated[bool, Field(description="whether what a new thought contradicts goes")] = True,
        whole: Annotated[bool, Field(description="keep a turn without a statement as it is")] = True,
        seed: Annotated[int, Field(ge=0, description="from which the hash is drawn")] = 0,
    ) -> None:
        super().__init__()
        if buckets % 2:
            raise UsageError(f"TIM: buckets must be even, got {buckets}")
        self.buckets, self.similar, self.forgets, self.whole, self.seed = buckets, similar, forgets, whole, seed
        self._rotation: NDArray[np.float32] | None = None

    def write(self, given: Mapping[str, Any]) -> list[str]:
        # Who is stopped on the way writes the input again: what has been inserted by then adds nothing new.
        ids = [self._think(thought, given) for thought in thoughts(self.language, given, self.whole)]
        return [one for one in ids if one]

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        where = {"metadata.bucket": self.bucket(question)}
        return self.store.read(question, k, scope=scope, where=where, mode="dense")

    def bucket(self, text: str) -> int:
        """Where a text belongs."""
        return bucket_of(self._vector(text), self._rotated())

    def _vector(self, text: str) -> NDArray[np.float32]:
        found = self.store.encoding.question(text)
        if found is None:
            raise UsageError("Think-in-Memory hashes vectors, and the store has no encoder: open it with one")
        return found.reshape(-1)

    def _rotated(self) -> NDArray[np.float32]:
        dimension = len(self._vector("a"))
        if self._rotation is None or len(self._rotation) != dimension:
            draw = np.random.default_rng(self.seed)
            self._rotation = draw.standard_normal((dimension, self.buckets // 2)).astype(np.float32)
        return self._rotation

    def _think(self, thought: Thought, given: Mapping[str, Any]) -> str | None:
        """Insert, forget, merge; the id of the record that now says it, None where it says nothing new."""
        gone, same, fresh = self._judged(thought, given)
        replaced = [*gone, *same] if fresh else []
        text = (
            self.language.merge([*(old.text for old in same), thought.text]) if fresh and same else ""
        ) or thought.text
        # Language models have been asked everything by now: none that fails leaves half a change.
        leaving = replaced[1:] if fresh else gone
        if leaving:
            self.store.forget([old.id for old in leaving])
        if not fresh:
            return None
        rows = list(dict.fromkeys([*thought.rows, *(row for old in same for row in old.metadata.get(ROWS, ()))]))
        place = {"bucket": self.bucket(text), "head": thought.head.lower(), ROWS: rows}
        metadata = {**given.get("metadata", {}), **place}
        if replaced:
            return self.store.revise(replaced[0].id, text, metadata=metadata, said_at=given.get("said_at")).id
        return self.store.write(**{**given, "text": text, "kind": "fact", "metadata": metadata}).id

    def _judged(self, thought: Thought, given: Mapping[str, Any]) -> tuple[list[Record], list[Record], bool]:
        """What it contradicts, what it is merged with (the oldest first), and whether it says anything new."""
        scope = given.get("scope", "").strip("/")
        where = {"metadata.bucket": self.bucket(thought.text), "metadata.head": thought.head.lower()}
        known = self.store.list(scope=scope, where=where, limit=EVERY, newest=False) if self._known(scope) else []
        gone: list[Record] = []
        same: list[Record] = []
        fresh = True
        for old in (old for old in known if old.scope == scope):
            operation = self.language.relation(old.text, thought.text) if self.forgets else "append"
            if operation in ("replace", "delete"):
                gone.append(old)
            elif operation == "append" and float(self._vector(old.text) @ self._vector(thought.text)) >= self.similar:
                same.append(old)
            fresh = fresh and operation in ("replace", "append")
        return gone, same, fresh

    def _known(self, scope: str) -> bool:
        return not scope or scope in self.store.scopes()
