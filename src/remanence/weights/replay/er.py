"""Experience replay: rehearse rows of a reservoir beside the new ones.

What is remembered are raw examples, in a memory of fixed size that holds a uniform sample of all that
was seen; each update learns as many old rows as new ones. It costs the memory's bytes and twice the
forward and backward passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.part import Part
from remanence.weights.replay.memory import Memory
from remanence.weights.replay.stacked import StackedRehearsal
from remanence.weights.stacked_part import StackedPart


@system(
    "er",
    paper=Paper(
        "On Tiny Episodic Memories in Continual Learning",
        "Chaudhry, Rohrbach, Elhoseiny, Ajanthan, Dokania, Torr, Ranzato",
        2019,
        "1902.10486",
    ),
    baseline="naive",
    variant="reservoir; new and remembered rows share one forward pass",
    training={"lr": 0.1},
    training_by_source={"digits": {"lr": 0.3}, "clinc150": {"lr": 30.0}},
    tuning_note="best of 0.01 (digits: 0.03) to 0.3 by mean final accuracy on held-out training rows, two seeds (digits: three) with other class orders; on clinc150 best of 1, 3, 10, 30 on held-out training rows",
)
class ER(Part):
    """Rehearsal from a reservoir.

    New and remembered rows share one forward pass and one mean loss (batch normalisation sees both).
    The new rows are offered to the reservoir after the update.

    Parameters
    ----------
    size:
        Rows in the memory (1 or more).
    rehearsed:
        Remembered rows per update; 0 means as many as there are new ones.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("er", stream, size=50)
    >>> _ = learner.learn(next(stream.experiences()))
    >>> learner.footprint().bytes["rehearsal"]
    4000

    References
    ----------
    Chaudhry et al., On Tiny Episodic Memories in Continual Learning, 2019, arXiv:1902.10486.

    Departures
    ----------
    None known.
    """

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="rows in the memory")] = 200,
        rehearsed: Annotated[int, Field(ge=0, description="remembered rows per update, 0: as many as new")] = 0,
    ) -> None:
        super().__init__()
        self.memory: Memory = Memory(size)
        self.rehearsed = rehearsed

    def stacked(self, parts: Sequence[Part]) -> StackedPart:
        return StackedRehearsal([part.memory for part in parts], self.rehearsed)

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        if not len(self.memory):
            return batch
        slots = self.memory.draw(self.rehearsed or batch.fresh, context.generator("rehearse"))
        return self.memory.append_to(batch, slots)

    def after_step(self, step: Step) -> None:
        self.memory.reservoir(step.batch, step.context.generator("reservoir"))

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return self.memory.shrink(excess)
