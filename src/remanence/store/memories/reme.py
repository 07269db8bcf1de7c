"""Lessons from tasks, kept while they are of use.

Every outcome is distilled into a lesson that says when it applies and what to do; each counts how often it was
retrieved and how often that helped, and those of little use are deleted. It costs a vector for each lesson, a search
and two counts for each task, and in the paper a language model that distils.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.agentfly import helps
from remanence.store.memories.base import Memory
from remanence.store.record import Hit, Record


@system(
    "reme[rules]",
    paper=Paper(
        "Remember Me, Refine Me: A Dynamic Procedural Memory Framework for Experience-Driven Agent Evolution",
        "Cao, Deng, Yu, Zhou, Liu, Ding, Zhao",
        2025,
        "2512.10696",
        430,
    ),
    place="store",
    baseline="reme[rules]#append",
    variant="lessons by rules; refinement by utility as in the paper",
)
class ReMe(Memory):
    """Utility-based refinement of a pool of lessons.

    A task that worked adds a lesson, found by its scenario. Before that, the `retrieved` lessons for the task are
    looked up: each counts one retrieval, and one use if following the first of them would have worked. Every
    `every` tasks, lessons that were retrieved at least `often` times, and helped in at most the share `useful` of
    them, are deleted.

    Parameters
    ----------
    retrieved:
        Lessons that a task calls to mind (1 or more).
    often:
        Retrievals before a lesson may be deleted (1 or more; the paper's alpha).
    useful:
        The largest share of helpful retrievals at which it is (0 to 1; the paper's beta).
    every:
        Tasks between two refinements; 0 for never: the pool only grows.
    failures:
        Whether failed attempts add a lesson, on what to avoid; they are not answers.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.working("cases", experiences=1, tasks=5, seed=0)
    >>> learner = rm.make("reme[rules]", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.predict(stream.tests[0].x[:2]).records.shape
    torch.Size([1, 1])

    References
    ----------
    Cao et al., Remember Me, Refine Me: A Dynamic Procedural Memory Framework for Experience-Driven Agent Evolution,
    2025, arXiv:2512.10696.

    Departures
    ----------
    The stream is a log of single attempts: there are no several trajectories of a task to compare, and no retries.
    Success of a retrieval is judged from the log, by whether the first lesson's action is the one that worked;
    where the log does not tell, nothing is counted. Lessons are not rewritten for the task. Similar lessons are not
    merged.
    """

    encodes: ClassVar[str] = "every outcome as a lesson: when it applies, what to do"
    stores: ClassVar[str] = "lessons in one scope, found by when they apply, each with two counts"
    retrieves: ClassVar[str] = "the largest inner products of the task with when a lesson applies"
    manages: ClassVar[str] = "lessons that were retrieved often and seldom helped are deleted"
    needs_language: ClassVar[tuple[str, ...]] = ("lessons",)

    @validated
    def __init__(
        self,
        retrieved: Annotated[int, Field(ge=1, description="lessons that a task calls to mind")] = 5,
        often: Annotated[int, Field(ge=1, description="retrievals before a lesson may be deleted")] = 5,
        useful: Annotated[float, Field(ge=0, le=1, description="largest share of help at which it is")] = 0.5,
        every: Annotated[int, Field(ge=0, description="tasks between two refinements, 0 for never")] = 10,
        failures: Annotated[bool, Field(description="whether failures add lessons, on what to avoid")] = False,
    ) -> None:
        super().__init__()
        self.retrieved, self.often, self.useful = retrieved, often, useful
        self.every, self.failures = every, failures
        self._tasks = 0
        self._counts: dict[str, list[int]] = {}

    def write(self, given: Mapping[str, Any]) -> list[str]:
        outcome = given.get("metadata", {})
        worked = bool(outcome.get("reward", 1))
        scope = given.get("scope", "")
        if len(self.store) and (not scope or scope in self.store.scopes()) and "action" in outcome:
            self._credit([hit.record for hit in self.read(str(given["text"]), self.retrieved, scope)], outcome)
        made = self._distil(given, worked) if worked or self.failures else []
        self._tasks += 1
        if self.every and self._tasks % self.every == 0:
            self._refine()
        return made

    def _distil(self, given: Mapping[str, Any], worked: bool) -> list[str]:
        """A lesson's text is when it applies; what to do, or to avoid, is in its metadata."""
        outcome = given.get("metadata", {})
        text = str(given["text"])
        story = f"{text} {outcome['action']} {'worked' if worked else 'failed'}." if "action" in outcome else text
        lessons = self.language.lessons(story, worked)
        do = lessons[0].do if lessons else text
        kind = "skill" if worked else "note"
        return [self.store.write(**{**given, "kind": kind, "metadata": {**outcome, "do": do}}).id]

    def _credit(self, seen: Sequence[Record], outcome: Mapping[str, Any]) -> None:
        if not seen:
            return
        helped = helps(seen[0].metadata.get("action", ""), outcome["action"], bool(outcome.get("reward", 1)))
        if helped is None:
            return
        for record in seen:
            counts = self._counts.setdefault(record.id, [0, 0])
            counts[0] += 1
            counts[1] += helped

    def _refine(self) -> None:
        poor = [
            one for one, (seen, helped) in self._counts.items() if seen >= self.often and helped <= self.useful * seen
        ]
        there = [told.id for told in self.store.database.current(poor)]
        if there:
            self.store.forget(there)
        for one in poor:
            del self._counts[one]

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        mode = "text" if self.store.encoding.serving is None else "dense"
        return self.store.read(question, k, scope=scope, where={"kind": {"!=": "note"}}, mode=mode)

    def state(self) -> dict[str, Any]:
        return {"tasks": self._tasks, "counts": self._counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self._tasks = int(state["tasks"])
        self._counts = {one: [int(seen), int(helped)] for one, (seen, helped) in state["counts"].items()}
