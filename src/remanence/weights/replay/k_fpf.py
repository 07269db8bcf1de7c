"""Periodic forgetting-prioritized finetuning: no rehearsal beside new rows, a short repair now and then.

What is remembered are raw examples in a reservoir, its own or that of another part. Every so many updates
the normalisation layers and the head are finetuned on it, whatever the boundaries are. It costs the
memory's bytes, and fewer backward passes than rehearsal at every step.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.request import Removal, Request
from remanence.weights.context import Context, Step
from remanence.weights.objective import plain_objective
from remanence.weights.replay.fpf import FPF, PAPER, Modules, forgetful
from remanence.weights.replay.memory import Memory


@system(
    "k-fpf",
    paper=PAPER,
    baseline="er",
    variant="modules chosen by kind; alone it keeps a reservoir of its own, as er+k-fpf it uses that of er",
)
class KFPF(FPF):
    """k-FPF: finetuning every `every` updates, and once more at the end of each experience.

    A repair inside the stream belongs to the update that it follows, so that a learner is never seen in
    the midst of one.

    Parameters
    ----------
    size:
        Rows in the memory (1 or more).
    every:
        Updates between two repairs (1 or more).
    updates, rows, rate, modules:
        As in `fpf`, for each repair.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("k-fpf", stream, every=10, updates=5, size=50)
    >>> [update.steps for update in learner.steps(next(stream.experiences()))][8:11]
    [1, 6, 1]

    References
    ----------
    Zhao et al., Does Continual Learning Equally Forget All Parameters?, 2023, arXiv:2304.04158.

    Departures
    ----------
    As in `fpf`. The variant that also matches remembered scores is left out.
    """

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="rows in the memory")] = 200,
        every: Annotated[int, Field(ge=1, description="updates between two repairs")] = 100,
        updates: Annotated[int, Field(ge=1, description="finetuning updates per repair")] = 50,
        rows: Annotated[int, Field(ge=0, description="remembered rows per update, 0: batch size")] = 0,
        rate: Annotated[float, Field(ge=0, description="learning rate of finetuning, 0: the training's")] = 0.0,
        modules: Annotated[Modules, Field(description="what is finetuned")] = "norms and head",
    ) -> None:
        super().__init__(updates=updates, rows=rows, rate=rate, modules=modules)
        self.every = every
        self.memory: Any = Memory(size)

    def setup(self, context: Context) -> None:
        if context.memory is not self.memory:
            self.memory = None

    def after_step(self, step: Step) -> None:
        context = step.context
        if self.memory is not None:
            self.memory.reservoir(step.batch, context.generator("reservoir"))
        if (step.k + 1) % self.every == 0 and len(context.memory):
            self._repair(step)

    def _repair(self, step: Step) -> None:
        context, model = step.context, step.context.model
        wanted = set(forgetful(model, self.modules_wanted))
        moved = [p for name, p in model.named_parameters() if name in wanted]
        draw = context.generator("repair")
        for k in range(self.updates):
            slots = context.memory.draw(self.rows or context.batch_size, draw)
            inner = Step(context, step.experience, context.memory.batch(slots), k, self.updates)
            inner.scores = step.forward(inner.batch.x)
            if context.classification and inner.batch.y is not None:
                inner.columns = model.head.columns(inner.batch.y)
            gradients = torch.autograd.grad(plain_objective(inner), moved, allow_unused=True)
            rate = (self.rate_at_start or context.lr) * 0.5 * (1 + math.cos(math.pi * k / self.updates))
            with torch.no_grad():
                for parameter, gradient in zip(moved, gradients, strict=True):
                    if gradient is not None:
                        parameter.sub_(gradient, alpha=rate)
        context.count(steps=self.updates)

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        if self.memory is None:
            return {}
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return 0 if self.memory is None else int(self.memory.shrink(excess))
