"""Sentences about people that are kept up to date: after each session what it said is set against what is remembered.

Remembered is a list of short sentences in the store; for every pair of an old and a new one an operator says
whether to keep the old, the new, both or neither. It costs a judgement for every pair, once a session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import ROWS, Memory
from remanence.store.memories.thoughts import EVERY, Thought, thoughts
from remanence.store.record import Hit, Record

_TURN, _SENTENCE = "episode", "fact"


@system(
    "keep-me-updated[rules]",
    paper=Paper(
        "Keep Me Updated! Memory Management in Long-term Conversations",
        "Bae, Kwak, Kang, Lee, Kim, Jeong, Kim, Lee, Park, Sung",
        2022,
        "2210.08750",
        150,
    ),
    place="store",
    baseline="keep-me-updated[rules]#accumulate",
    variant="rules in place of the summarizer and of the trained operator",
)
class KeepMeUpdated(Memory):
    """Pass, replace, append, delete.

    With M the sentences about a person and S those of the session that has ended, the operator judges every pair
    (m, s): *pass* drops s, *replace* drops m, *delete* drops both, *append* drops neither. What no pair has dropped
    is remembered. A session ends when it is said so, or when an input names another `source`.

    Parameters
    ----------
    update:
        Whether sentences are set against each other; without, they accumulate (the paper's baseline).
    nearest:
        A new sentence is judged against so many old ones, those most like it; 0 for all, as in the paper.
    whole:
        Whether a turn in which no statement is found is remembered as it is; else it is dropped.

    Example
    -------
    >>> import remanence.store as store, tempfile, os
    >>> with store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as opened:
    ...     memory = KeepMeUpdated().bind(opened)
    ...     for text, session in [("I live in Porto.", "1"), ("I moved to Lisbon!", "2"), ("Bye!", "3")]:
    ...         _ = memory.write({"text": text, "speaker": "Ana", "source": session})
    ...     [record.text for record in opened.list(where={"kind": "fact"})]
    ['Ana lives in Lisbon.']

    References
    ----------
    Bae et al., Keep Me Updated! Memory Management in Long-term Conversations, 2022, arXiv:2210.08750.

    Departures
    ----------
    Language rules (or a language model, by `on`) stand in for the fine-tuned summarizer and operator, hence
    ``[rules]``. Sentences are compared within one speaker's. The sentence that replaces another is its next version,
    and one that is over is closed in time, so that history and `as_of` still know it; the paper deletes. A turn
    without a statement is remembered as it is unless `whole` is off. Turns of the running session are found too.
    """

    encodes: ClassVar[str] = "at the end of a session, its turns as sentences about their speakers"
    stores: ClassVar[str] = "one record a sentence; turns only until their session ends"
    retrieves: ClassVar[str] = "the largest inner products with the question's vector"
    manages: ClassVar[str] = "every old sentence against every new one: pass, replace, append, delete"
    needs_language: ClassVar[tuple[str, ...]] = ("facts", "relation")

    @validated
    def __init__(
        self,
        update: Annotated[bool, Field(description="whether old sentences are set against new ones")] = True,
        nearest: Annotated[int, Field(ge=0, description="old sentences a new one is judged against, 0: all")] = 0,
        whole: Annotated[bool, Field(description="keep a turn without a statement as it is")] = True,
    ) -> None:
        super().__init__()
        self.update, self.nearest, self.whole = update, nearest, whole

    def write(self, given: Mapping[str, Any]) -> list[str]:
        scope = given.get("scope", "")
        last = self._kept(scope, {"kind": _TURN}, 1)
        if last and last[0].source != given.get("source"):
            self.session_end(scope)
        return super().write({**given, "kind": _TURN})

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return self.store.read(question, k, scope=scope, mode="dense" if self._meaning else "text")

    @property
    def _meaning(self) -> bool:
        return self.store.encoding.serving is not None

    def session_end(self, scope: str = "") -> None:
        turns = self._kept(scope, {"kind": _TURN})
        # Judged before anything is changed: a language model that fails leaves the turns for the next time.
        ended = [(turn, self._said(turn)) for turn in turns]
        changes = [self._judged(turn, said, scope) for turn, said in ended]
        dropped = {one.id for change in changes for _, old, _ in change for one in old}
        replaced: set[str] = set()
        for (turn, _), change in zip(ended, changes, strict=True):
            for thought, olds, kept in change:
                fields = _fields(turn, thought)
                successor = next((old for old in olds if old.id not in replaced), None) if kept else None
                if successor is not None:
                    replaced.add(successor.id)
                    self.store.revise(successor.id, thought.text, valid_from=turn.said_at or turn.recorded_at, **fields)
                elif kept:
                    self.store.write(thought.text, scope=turn.scope, speaker=turn.speaker, **fields)
        for one in sorted(dropped - replaced):
            self._end(one, turns[-1])
        # Last: who is stopped before this judges the turns again, and finds what was written already as passed.
        if turns:
            self.store.forget([turn.id for turn in turns])

    def _end(self, record_id: str, turn: Record) -> None:
        """Close a sentence in time: what was true until now is so no longer."""
        old = self.store.get(record_id)
        ends = turn.said_at or turn.recorded_at
        if ends is not None and old.valid_from is not None:
            ends = max(ends, old.valid_from)
        self.store.revise(record_id, valid_to=ends, correction=True)

    def consolidate(self, scope: str = "*") -> None:
        for path in {turn.scope for turn in self.store.list(scope=scope, where={"kind": _TURN}, limit=EVERY)}:
            self.session_end(path)

    def _kept(self, scope: str, where: dict[str, Any], limit: int = EVERY) -> list[Record]:
        """Records of just this scope; the latest first where few are asked for, else in order."""
        found = self.store.list(scope=scope, where=where, limit=limit, newest=limit != EVERY)
        return [record for record in found if record.scope == scope.strip("/")]

    def _said(self, turn: Record) -> list[Thought]:
        given = {"text": turn.text, "speaker": turn.speaker, "metadata": turn.metadata}
        return thoughts(self.language, given, self.whole)

    def _judged(self, turn: Record, said: Sequence[Thought], scope: str) -> list[tuple[Thought, list[Record], bool]]:
        """For every new sentence: the old ones that it drops, and whether it is kept itself."""
        if not self.update:
            return [(thought, [], True) for thought in said]
        change = []
        for thought in said:
            dropped, kept = [], True
            for old in self._against(thought, turn, scope):
                operation = self.language.relation(old.text, thought.text)
                if operation in ("replace", "delete"):
                    dropped.append(old)
                kept = kept and operation in ("replace", "append")
            change.append((thought, dropped, kept))
        return change

    def _against(self, thought: Thought, turn: Record, scope: str) -> list[Record]:
        where = {"kind": _SENTENCE, "speaker": turn.speaker}
        if not self.nearest or not self._meaning:
            return self._kept(scope, where)
        hits = self.store.read(thought.text, self.nearest, scope=scope, where=where, mode="dense")
        return [hit.record for hit in hits if hit.record.scope == turn.scope]


def _fields(turn: Record, thought: Thought) -> dict[str, Any]:
    return {
        "kind": _SENTENCE,
        "said_at": turn.said_at,
        "source": turn.source,
        "metadata": {**turn.metadata, ROWS: list(thought.rows)} if thought.rows else dict(turn.metadata),
    }
