"""Refresh learning: before each batch is learned, unlearn it a little.

What is remembered beside the weights is the diagonal Fisher information of what was learned before,
which holds back the unlearning where it matters. It costs one tensor per parameter, one more forward
and backward pass of the new rows per unlearning step, and one reading of each experience.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.objective import plain_objective
from remanence.weights.part import Part
from remanence.weights.penalties.fisher import diagonal_fisher
from remanence.weights.per_parameter import PerParameter

_NO_ROWS = InMemory(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.int64))


@system(
    "refresh",
    paper=Paper(
        "A Unified and General Framework for Continual Learning",
        "Wang, Li, Shen, Huang",
        2024,
        "2403.13249",
        5,
    ),
    baseline="er",
    host="er",
    variant="ascent relative to each layer's norm, damped by the Fisher, as in the authors' program",
)
class Refresh(Part):
    """Unlearn, then relearn; a plug-in beside any other part, ``er+refresh``, ``ewc+refresh``.

    Unlearning climbs the loss of the new rows: each layer moves by `length` times its own norm along its
    gradient, with some noise, divided by 1 + `damping` · F. The update that follows relearns.

    Parameters
    ----------
    length:
        δ, length of an unlearning step relative to the layer's norm (0 or more). Beside `er` on split
        MNIST (an MLP, lr 0.03, mean of three class orders) 1e-5 left the final accuracy at 0.616, 1e-3
        lowered it to 0.597 and 1e-2 to 0.138.
    times:
        J, unlearning steps per update (1 or more).
    noise:
        Standard deviation of what is added to the direction (0 or more).
    damping:
        How strongly the Fisher holds back (0 or more).
    kept:
        τ, share of older importances that stays at a boundary (0 to 1).

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("er+refresh", stream, size=50)
    >>> update = next(learner.steps(next(stream.experiences())))
    >>> update.examples, update.forwards
    (10, 20)

    References
    ----------
    Wang et al., A Unified and General Framework for Continual Learning, 2024, arXiv:2403.13249.

    Departures
    ----------
    The paper's text divides by the Fisher and draws noise to match; its program, followed here, damps
    by it. The program weighs squared gradients by the probability of the true class, here the Fisher is
    the exact true one. Only the new rows are unlearned, and the terms of other parts are left out, as
    in the program; no weight decay is added, which the program gives to this method alone.
    """

    kind = "importances"
    needs = frozenset({"boundaries", "a second reading"})

    @validated
    def __init__(
        self,
        length: Annotated[float, Field(ge=0, description="unlearning step relative to the layer's norm")] = 1e-5,
        times: Annotated[int, Field(ge=1, description="unlearning steps per update")] = 1,
        noise: Annotated[float, Field(ge=0, description="noise added to the direction")] = 0.001,
        damping: Annotated[float, Field(ge=0, description="how strongly the Fisher holds back")] = 0.001,
        kept: Annotated[float, Field(ge=0, le=1, description="share of older importances kept")] = 1e-5,
    ) -> None:
        super().__init__()
        self.length, self.times, self.noise, self.damping, self.kept = length, times, noise, damping, kept
        self.importances = PerParameter("importances")

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        if self.length and batch.y is not None and batch.entry is None and batch.fresh:
            draw = context.generator("unlearn") if self.noise else None
            for _ in range(self.times):
                self._unlearn(batch, context, draw)
        return batch

    def _unlearn(self, batch: Batch, context: Context, draw: torch.Generator | None) -> None:
        rows = slice(0, batch.fresh)
        mask = None if batch.mask is None else batch.mask[rows]
        weight = None if batch.weight is None else batch.weight[rows]
        y = None if batch.y is None else batch.y[rows]
        fresh = Batch(batch.x[rows], y, batch.ids[rows], batch.fresh, weight=weight, mask=mask)
        step = Step(context, Experience(context.experience, _NO_ROWS), fresh, context.k, 0)
        if y is not None and context.classification and not y.is_floating_point():
            step.columns = context.model.head.columns(y)
        step.scores = step.forward(fresh.x)
        gradients = step.gradients(plain_objective(step))
        kept = {name for name, _ in self.importances.items()}
        with torch.no_grad():
            for name, parameter in context.trainable().items():
                held = self.importances[name] if name in kept else None
                direction = ascent(parameter, gradients[name], held, self.noise, self.damping, draw)
                parameter.add_(direction, alpha=self.length)

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        if not context.first_time("refresh"):
            return
        forwards, backwards = context.forwards, context.backwards
        measured = diagonal_fisher(
            context.model,
            context.trainable(),
            context.chunks(experience.examples),
            "true",
            generator=context.generator("fisher"),
            count=context.count,
        )
        for name, older in self.importances.items():
            if name in measured:
                measured[name].add_(older, alpha=self.kept)
        self.importances.put(measured)
        yield Update(forwards=context.forwards - forwards, backwards=context.backwards - backwards)

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        if not len(self.importances):
            return {}
        self.importances.put({})
        return {"importances": "removed"}


def ascent(
    weights: Tensor,
    gradient: Tensor,
    importance: Tensor | None,
    noise: float,
    damping: float,
    draw: torch.Generator | None,
) -> Tensor:
    """The direction up the loss, as long as the layer, with noise, held back where the Fisher is large."""
    direction: Tensor = gradient * (weights.norm() / (gradient.norm() + 1e-20))
    if draw is not None:
        direction += noise * torch.randn(weights.shape, generator=draw).to(weights)
    return direction if importance is None else direction / (1 + damping * importance)
