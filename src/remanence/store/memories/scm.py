"""A stream of turns with a controller in front: is memory needed, which turns, in full or summed up.

Every turn is archived as it is, long ones with a summary; the latest turn is always at hand (flash memory), the
rest is retrieved by relevance and recency (activation memory). It costs a vector for each turn, and in the paper
a call of a language model for each question and for each turn that is retrieved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit

_SUMMARY = "summary"


@system(
    "scm[rules]",
    paper=Paper(
        "Unleashing Infinite-Length Input Capacity for Large-scale Language Models with Self-Controlled Memory System",
        "Wang, Liang, Yang, Huang, Wu, Wu, Lu, Ma, Li",
        2023,
        "2304.13343",
        454,
    ),
    place="store",
    baseline="recent",
    variant="summaries and the controller's questions by rules",
)
class SCM(Memory):
    """Self-controlled memory.

    The controller asks first whether a question needs memory at all; where not, the latest turn is the answer.
    Else turns are ranked by the sum of relevance (the cosine) and recency, which halves every `half_life` turns,
    and the last turn follows. A turn longer than `long` words is stored with a summary, and where the chosen turns
    have more than `budget` words together, the summary stands for the text if it suffices for the question.

    Parameters
    ----------
    long:
        Words from which a turn gets a summary (1 or more).
    budget:
        Words that the chosen turns may have together (1 or more).
    recency:
        Weight of recency beside relevance (0 or more).
    half_life:
        Turns in which recency halves (above 0).
    controller:
        Whether it is asked if memory is needed; without, always.

    Example
    -------
    >>> import remanence.store as store, tempfile, os
    >>> with store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as opened:
    ...     memory = SCM().bind(opened)
    ...     for text in ("The key is under the mat.", "Lunch was good."):
    ...         _ = memory.write({"text": text})
    ...     [hit.text for hit in memory.read("Where did I say that the key is?", 2)]
    ['The key is under the mat.', 'Lunch was good.']

    References
    ----------
    Wang et al., Unleashing Infinite-Length Input Capacity for Large-scale Language Models with Self-Controlled
    Memory System, 2023, arXiv:2304.13343.

    Departures
    ----------
    Lengths are counted in words, not in a model's tokens. The rank of relevance and recency is the paper's, its
    weights are not given there; the released code ranks by relevance alone. Turns come ranked, the latest last, and
    not in the order of time.
    """

    encodes: ClassVar[str] = "every turn as one record, its speaker's name before its text; a summary of long ones"
    stores: ClassVar[str] = "an archive of turns in order; the latest is at hand"
    retrieves: ClassVar[str] = "asked whether memory is needed; relevance and recency, then the latest turn"
    manages: ClassVar[str] = "summaries stand for texts where they suffice and room is short"
    needs_language: ClassVar[tuple[str, ...]] = ("summary", "needs_memory", "suffices")

    @validated
    def __init__(
        self,
        long: Annotated[int, Field(ge=1, description="words from which a turn gets a summary")] = 300,
        budget: Annotated[int, Field(ge=1, description="words that the chosen turns may have together")] = 2500,
        recency: Annotated[float, Field(ge=0, description="weight of recency beside relevance")] = 0.1,
        half_life: Annotated[float, Field(gt=0, description="turns in which recency halves")] = 100.0,
        controller: Annotated[bool, Field(description="whether it is asked if memory is needed")] = True,
    ) -> None:
        super().__init__()
        self.long, self.budget, self.recency = long, budget, recency
        self.half_life, self.controller = half_life, controller

    def write(self, given: Mapping[str, Any]) -> list[str]:
        speaker, text = given.get("speaker"), str(given["text"])
        metadata = dict(given.get("metadata", {}))
        if len(text.split()) > self.long:
            metadata[_SUMMARY] = self.language.summary([text])
        return super().write({**given, "text": f"{speaker}: {text}" if speaker else text, "metadata": metadata})

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        latest = [Hit(record, 0.0, {"flash": 1.0}) for record in self.store.list(scope=scope, limit=1)]
        if self.controller and not self.language.needs_memory(question):
            return latest[:k]
        mode = "text" if self.store.encoding.serving is None else "dense"
        found = self.store.read(question, 4 * k + 1, scope=scope, mode=mode)
        archived = [hit for hit in found if not latest or hit.id != latest[0].id]
        newest = latest[0].record.row if latest else 0
        ranked = sorted((self._aged(hit, newest) for hit in archived), key=lambda hit: -hit.score)[:k]
        chosen = [*ranked, *latest][:k]
        return self._fitted(question, chosen)

    def _aged(self, hit: Hit, newest: int) -> Hit:
        recency = self.recency * 0.5 ** ((newest - hit.record.row) / self.half_life)
        return Hit(hit.record, hit.score + recency, {"relevance": hit.score, "recency": recency})

    def _fitted(self, question: str, chosen: list[Hit]) -> list[Hit]:
        """Summaries for texts, where they suffice and the texts are too long together."""
        if sum(len(hit.text.split()) for hit in chosen) <= self.budget:
            return chosen
        fitted = []
        for hit in chosen:
            summary = hit.record.metadata.get(_SUMMARY)
            if summary and self.language.suffices(question, str(summary)):
                hit = replace(hit, record=replace(hit.record, text=str(summary)))
            fitted.append(hit)
        return fitted
