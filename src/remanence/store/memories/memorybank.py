"""Turns that fade along the forgetting curve unless they are recalled, with a summary of each day and a portrait of
each person.

Everything lies in the store; what a new turn brings to mind becomes stronger, and what fades is deleted. It costs a
search for every turn, and the summaries at the end of a day.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import ROWS, Memory, rows_of
from remanence.store.memories.thoughts import EVERY
from remanence.store.record import Hit, Record
from remanence.store.times import instant

_TURN, _SUMMARY, _PORTRAIT = "episode", "note", "fact"
_DAY = 86_400_000_000


@system(
    "memorybank[rules]",
    paper=Paper(
        "MemoryBank: Enhancing Large Language Models with Long-Term Memory",
        "Zhong, Guo, Gao, Ye, Wang",
        2023,
        "2305.10250",
        446,
    ),
    place="store",
    baseline="memorybank[rules]#age",
    variant="summaries and portraits by rules; the forgetting curve as in the paper's formula",
)
class MemoryBank(Memory):
    r"""The forgetting curve.

    A turn is retained with :math:`R = e^{-t/S}`, where t is the time since it was last brought to mind, in units of
    `days`, and the strength S is 1 at first and 1 more for each time that it was: a new turn recalls the `recalls`
    turns most like it, as the paper's chatbot does with what its user says. At the end of a day (a session, when
    its `source` changes) each turn is kept with chance R, or, with a `capacity`, the most retained are kept.

    Parameters
    ----------
    days:
        The unit of t: a turn never recalled is kept with chance 1/e after so many days.
    recalls:
        How many turns a new one brings to mind.
    strengthen:
        Whether that makes them stronger; without, turns are forgotten by age alone.
    capacity:
        At most so many turns, those of the largest R; 0 to draw each by its chance, as in the paper.
    summaries:
        Whether a day is summed up and its people portrayed.

    Example
    -------
    >>> import remanence.store as store, tempfile, os
    >>> with store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as opened:
    ...     memory = MemoryBank(recalls=1).bind(opened)
    ...     ids = [memory.write({"text": text, "speaker": "Ana"})[0] for text in ("My dog is ill.", "The dog is well.")]
    ...     [opened.get(one).uses for one in ids]
    [1, 0]

    References
    ----------
    Zhong et al., MemoryBank: Enhancing Large Language Models with Long-Term Memory, 2023, arXiv:2305.10250.

    Departures
    ----------
    The unit of t, which the paper leaves open, is `days` (the released code divides by five, and multiplies by S what
    the paper divides by it). Each turn draws once, from its id, and not anew at every look, so that the chance that
    it is still there at t is R. The summary of all days is left out. A portrait is stored, and not found by
    questions. `capacity` is not in the paper.
    """

    encodes: ClassVar[str] = "every input as one record, its speaker's name before its text; a summary of each day"
    stores: ClassVar[str] = "turns, summaries of days and portraits of people in one scope"
    retrieves: ClassVar[str] = "the largest inner products with the question's vector, among turns and summaries"
    manages: ClassVar[str] = "retention exp(-t/S) of each turn, stronger by every recall; what fades is deleted"
    needs_language: ClassVar[tuple[str, ...]] = ("summary", "portrait")

    @validated
    def __init__(
        self,
        days: Annotated[
            float, Field(gt=0, description="days after which 1/e of what was never recalled is left")
        ] = 5.0,
        recalls: Annotated[int, Field(ge=0, description="turns that a new one brings to mind")] = 6,
        strengthen: Annotated[bool, Field(description="whether being recalled makes stronger")] = True,
        capacity: Annotated[int, Field(ge=0, description="at most so many turns, 0: each by its chance")] = 0,
        summaries: Annotated[bool, Field(description="whether days are summed up and people portrayed")] = True,
    ) -> None:
        super().__init__()
        self.days, self.recalls, self.strengthen = days, recalls, strengthen
        self.capacity, self.summaries = capacity, summaries

    def write(self, given: Mapping[str, Any]) -> list[str]:
        scope, speaker = given.get("scope", ""), given.get("speaker")
        last = self.store.list(scope=scope, where={"kind": _TURN}, limit=1) if self._known(scope) else []
        if last and last[0].source != given.get("source"):
            self.session_end(scope)
        text = f"{speaker}: {given['text']}" if speaker else given["text"]
        if last and self.recalls and self.strengthen:
            self._find(text, self.recalls, scope, {"kind": _TURN}, reinforce=True)
        return super().write({**given, "text": text, "kind": _TURN})

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        return self._find(question, k, scope, {"kind": {"in": [_TURN, _SUMMARY]}})

    def _find(self, question: str, k: int, scope: str, where: dict[str, Any], reinforce: bool = False) -> Sequence[Hit]:
        mode = "text" if self.store.encoding.serving is None else "dense"
        return self.store.read(question, k, scope=scope, where=where, mode=mode, reinforce=reinforce)

    def _known(self, scope: str) -> bool:
        return not scope or scope in self.store.scopes()

    def session_end(self, scope: str = "") -> None:
        if not self._known(scope):
            return
        if self.summaries:
            self._sum_up(scope)
        self.consolidate(scope)

    def retention(self, record: Record) -> float:
        """R of a turn now, between 0 and 1."""
        recalled = instant(record.used_at or record.said_at or record.recorded_at, "used_at") or 0
        elapsed = max(0.0, (self.store.clock() - recalled) / (_DAY * self.days))
        return math.exp(-elapsed / (1 + record.uses))

    def consolidate(self, scope: str = "*") -> None:
        turns = self.store.list(scope=scope, where={"kind": _TURN}, limit=EVERY)
        if self.capacity:
            ranked = sorted(turns, key=lambda turn: (self.retention(turn), turn.row))
            faded = ranked[: max(0, len(turns) - self.capacity)]
        else:
            faded = [turn for turn in turns if _lot(turn.id) >= self.retention(turn)]
        if faded:
            self.store.forget([turn.id for turn in faded])

    def _sum_up(self, scope: str) -> None:
        """The day's summary and its people's portraits, from the turns since the last one."""
        last = self.store.list(scope=scope, where={"kind": _SUMMARY}, limit=1)
        where: dict[str, Any] = {"kind": _TURN}
        if last:
            where["recorded_at"] = {">=": last[0].recorded_at}
        # A turn may have come in the same instant as the last summary: rows tell which was first.
        after = last[0].row if last else 0
        day = [one for one in self.store.list(scope=scope, where=where, limit=EVERY, newest=False) if one.row > after]
        if not day:
            return
        summary = self.language.summary([turn.text for turn in day])
        portraits = [self._portrait(person, day, scope) for person in dict.fromkeys(turn.speaker for turn in day)]
        if summary:
            # First the turns whose words it repeats, then the others that it may have come from.
            stored = sorted(day, key=lambda turn: (turn.text not in summary, -turn.row))
            self.store.write(
                summary, kind=_SUMMARY, scope=scope, said_at=day[-1].said_at, metadata={ROWS: rows_of(stored)}
            )
        for person, old, text, rows in (one for one in portraits if one is not None):
            if old is None:
                self.store.write(
                    text, scope=scope, kind=_PORTRAIT, speaker=person, tags=("portrait",), metadata={ROWS: rows}
                )
            else:
                self.store.revise(old.id, text, metadata={ROWS: rows})

    def _portrait(
        self, person: str | None, day: Sequence[Record], scope: str
    ) -> tuple[str, Record | None, str, list[int]] | None:
        """What a person's portrait becomes, from the one before and the day; None where nothing is to be said."""
        if not person:
            return None
        where = {"kind": _PORTRAIT, "speaker": person, "tags": "portrait"}
        old = next(iter(self.store.list(scope=scope, where=where, limit=1)), None)
        said = [turn for turn in day if turn.speaker == person]
        text = self.language.portrait([*([old.text] if old else []), *(turn.text for turn in said)], person)
        rows = rows_of([*reversed(said), *([old] if old else [])])
        return (person, old, text, rows) if text and (old is None or text != old.text) else None


def _lot(record_id: str) -> float:
    """A number in [0, 1), always the same for a record."""
    return int.from_bytes(hashlib.sha256(record_id.encode()).digest()[:8]) / 2**64
