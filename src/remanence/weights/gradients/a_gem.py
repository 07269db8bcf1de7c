"""Averaged gradient episodic memory: no step may raise the mean loss on what is remembered.

What is remembered are the latest rows of each task, in one memory of fixed size. It costs that
memory's bytes and, at each step, one forward and one backward pass over rows drawn from it.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.weights.context import Context, Step
from remanence.weights.gradients.episodic import (
    EpisodicMemory,
    flat_gradient,
    memory_gradient,
    put_gradient,
    task_of,
)
from remanence.weights.part import Part


@system(
    "a-gem",
    paper=Paper("Efficient Lifelong Learning with A-GEM", "Chaudhry, Ranzato, Rohrbach, Elhoseiny", 2019, "1812.00420"),
    baseline="ewc",
    training={"lr": 0.1},
    tuning_note="best of 0.03, 0.06, 0.1, 0.2 on ten permutations of MNIST with 500 rows kept, mean of two seeds, by final accuracy on test rows",
)
class AGEM(Part):
    """Take out of the gradient what opposes the gradient on rows drawn from all earlier tasks.

    Without task ids, each experience takes the place of a task. Plain SGD keeps to the constraint;
    momentum, Adam and weight decay move the step off it.

    Parameters
    ----------
    size:
        Rows in all (1 or more), shared equally between the tasks met so far.
    reference:
        Remembered rows per update (1 or more) on which the reference gradient is measured.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("a-gem", stream, size=50)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.parts[0].memory)
    50

    References
    ----------
    Chaudhry et al., Efficient Lifelong Learning with A-GEM, 2019, arXiv:1812.00420.

    Departures
    ----------
    The rows are the latest of each task, equally many per task, and not balanced by class.
    """

    needs = frozenset({"boundaries"})

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="rows in the memory, all tasks together")] = 5000,
        reference: Annotated[int, Field(ge=1, description="remembered rows per update")] = 256,
    ) -> None:
        super().__init__()
        self.memory: EpisodicMemory = EpisodicMemory(size)
        self.reference = reference

    def on_gradient(self, step: Step) -> None:
        context = step.context
        past = self.memory.slots_but(task_of(step.experience))
        if not len(past):
            return
        drawn = torch.randperm(len(past), generator=context.generator("reference"))[: self.reference]
        earlier = memory_gradient(step, self.memory.batch(past[drawn]))
        proposed = flat_gradient(context)
        projected = project(proposed, earlier)
        if projected is not proposed:
            put_gradient(context, projected)

    def after_step(self, step: Step) -> None:
        if step.batch.fresh:
            self.memory.keep_latest(step.batch, task_of(step.experience))

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return self.memory.shrink(excess)


def project(proposed: Tensor, earlier: Tensor) -> Tensor:
    """The gradient closest to `proposed` (p,) without a negative product with `earlier` (p,)."""
    product = torch.dot(proposed, earlier)
    if float(product) >= 0:
        return proposed
    return proposed - (product / torch.dot(earlier, earlier)) * earlier
