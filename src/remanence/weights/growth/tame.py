"""TAME: several experts, one learning at a time; a jump of its loss switches to another, and a selector answers.

What is remembered are the weights of every expert, a window of recent losses for each, and a reservoir
of inputs with the expert that learned them, from which a selector learns who answers what. It costs a
network per task found, the reservoir, and one more forward pass for each update.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.growth.experts import Experts, ExpertsHead
from remanence.weights.objective import plain_objective
from remanence.weights.part import Part
from remanence.weights.replay.memory import Memory


@system(
    "tame",
    paper=Paper(
        "TAME: Task Agnostic Continual Learning using Multiple Experts",
        "Zhu, Majzoubi, Jain, Choromanska",
        2024,
        "2210.03869",
        274,
    ),
    baseline="a-gem",
    variant="finds boundaries by the loss alone; experts are not pruned",
    training={"lr": 0.1},
    tuning_note="best of four learning rates on split MNIST, 2,000 examples an experience, one pass, 200 rows kept, two other class orders, by final accuracy on test rows",
)
class TAME(Part):
    """Task-agnostic learning with multiple experts.

    The loss of the active expert on each new batch is smoothed, s ← α l + (1 - α) s. When s exceeds mean + 3
    standard deviations of its recent losses, the experience is taken to have changed: the expert whose loss
    on the batch is within its own threshold becomes active, the best of them if there are several, or a
    new one if there is none. When an experience ends (on a stream without boundaries: the stream), a
    selector learns from the reservoir which expert answers which input.

    Parameters
    ----------
    size:
        Rows in the selector's reservoir (1 or more).
    window:
        Recent losses per expert (2 or more).
    smoothing:
        Weight α of the newest loss (above 0, up to 1).
    deviations:
        Standard deviations above the mean at which the loss has jumped (above 0).
    warm_up:
        Losses that an expert must have seen before it can raise an alarm (2 or more).
    floor:
        Smallest standard deviation (0 or more).
    sigmoid:
        Whether scores pass a sigmoid before the loss, which bounds its jumps early in training.
    hidden:
        Width of the selector's hidden layer (1 or more).
    selector_epochs, selector_lr:
        Passes over the reservoir when the selector learns, and its learning rate.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("tame", stream, model="mlp:32", window=20, warm_up=10, lr=0.1)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.model.body.experts)
    5

    References
    ----------
    Zhu et al., TAME: Task Agnostic Continual Learning using Multiple Experts, 2022, arXiv:2210.03869.

    Departures
    ----------
    Experts and selector are not pruned, and no rows are kept to retrain them. `warm_up` and `floor` are ours;
    other experts are judged by their loss on one batch. The window holds losses as they are, not smoothed, and
    none above the threshold, which would hide the change that they announce.
    Classes appear as the stream brings them: an expert scores a class that it never saw at -10.
    Before there is a selector the active expert answers. The paper's sigmoid is off by default: on split
    MNIST (2,000 examples an experience, one pass, best of three learning rates, one seed) accuracy
    was 0.59 with it and 0.79 without, and the boundaries were found either way.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="rows in the selector's reservoir")] = 5000,
        window: Annotated[int, Field(ge=2, description="recent losses per expert")] = 100,
        smoothing: Annotated[float, Field(gt=0, le=1, description="weight α of the newest loss")] = 0.2,
        deviations: Annotated[float, Field(gt=0, description="standard deviations that make an alarm")] = 3.0,
        warm_up: Annotated[int, Field(ge=2, description="losses before an expert can raise an alarm")] = 50,
        floor: Annotated[float, Field(ge=0, description="smallest standard deviation")] = 0.01,
        sigmoid: Annotated[bool, Field(description="scores pass a sigmoid before the loss")] = False,
        hidden: Annotated[int, Field(ge=1, description="width of the selector's hidden layer")] = 100,
        selector_epochs: Annotated[int, Field(ge=1, description="passes over the reservoir")] = 5,
        selector_lr: Annotated[float, Field(gt=0, description="learning rate of the selector")] = 0.05,
    ) -> None:
        super().__init__()
        self.memory: Memory = Memory(size)
        self.smoothing, self.deviations, self.floor, self.sigmoid = smoothing, deviations, floor, sigmoid
        self.window, self.warm_up, self.hidden = window, min(warm_up, window), hidden
        self.selector_epochs, self.selector_lr = selector_epochs, selector_lr
        self.active = 0
        self.register_buffer("losses", torch.zeros(1, window))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("smoothed", torch.full((1,), torch.nan))
        self.losses: Tensor
        self.filled: Tensor
        self.smoothed: Tensor

    def setup(self, context: Context) -> None:
        width = context.model.head.features
        context.model.body = Experts(context.model.body, width, self.hidden, context.seed)
        context.model.head = ExpertsHead(width, context.seed)

    def threshold(self, expert: int) -> float:
        """The loss above which an expert is not in its own; infinite while it has seen little."""
        count = min(int(self.filled[expert]), self.window)
        if count < self.warm_up:
            return float("inf")
        recent = self.losses[expert, :count]
        return float(recent.mean() + self.deviations * recent.std().clamp(min=self.floor))

    def before_batch(self, batch: Batch, context: Context) -> None:
        found = self._loss(batch, self.active, context)
        before = float(self.smoothed[self.active])
        smoothed = found if before != before else self.smoothing * found + (1 - self.smoothing) * before
        limit = self.threshold(self.active)
        if smoothed > limit:
            self._switch(batch, context)
            return
        self.smoothed[self.active] = smoothed
        if found > limit:  # the first losses after a change would hide it if they widened the threshold
            return
        self.losses[self.active, int(self.filled[self.active]) % self.window] = found
        self.filled[self.active] += 1

    def _loss(self, batch: Batch, expert: int, context: Context) -> float:
        body = context.model.body
        body.forced = expert  # type: ignore[assignment]
        features = context.features(batch.x)
        body.forced = None  # type: ignore[assignment]
        if batch.y is None:
            return 0.0
        with torch.no_grad():
            scores = context.model.head(features)
            scores = scores.sigmoid() if self.sigmoid else scores
            return float(cross_entropy(scores, context.model.head.columns(batch.y)))

    def _switch(self, batch: Batch, context: Context) -> None:
        """Go on with the expert that knows this batch best, or with a new one."""
        context.boundary()
        losses = {k: self._loss(batch, k, context) for k in range(len(self.filled)) if k != self.active}
        able = {k: loss for k, loss in losses.items() if loss <= self.threshold(k) < float("inf")}
        if able:
            self.active = min(able, key=lambda k: able[k])
            _turn_to(context.model, self.active)
            self.smoothed[self.active] = able[self.active]
        else:
            self.active = len(self.filled)
            self.losses = torch.cat([self.losses, self.losses.new_zeros(1, self.window)])
            self.filled = torch.cat([self.filled, self.filled.new_zeros(1)])
            self.smoothed = torch.cat([self.smoothed, self.smoothed.new_full((1,), torch.nan)])
            context.grow(_add)
        context.refresh_learning_rates(fresh=True)

    def lr_multiplier(self, name: str) -> float:
        place, _, rest = name.partition(".experts.") if ".experts." in name else name.partition(".weights.")
        if rest and place in ("body", "head"):
            return float(int(rest.partition(".")[0]) == self.active)
        return 0.0 if name.startswith("body.selector.") else 1.0

    def objective(self, step: Step) -> Tensor:
        if self.sigmoid:
            step.scores = step.scores.sigmoid()
        return plain_objective(step)

    def after_step(self, step: Step) -> None:
        owner = torch.full((step.batch.fresh,), self.active, device=step.batch.ids.device)
        self.memory.reservoir(step.batch, step.context.generator("reservoir"), {"expert": owner})

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        experts = len(self.filled)
        if experts == 1 or not len(self.memory):  # all may have been forgotten
            return
        if context.first_time("selector"):
            inputs = self.memory.x[0].numel()
            context.grow(lambda model: _renew_selector(model, experts, inputs))
        held = len(self.memory)
        owners = self.memory.extra("expert")
        rows = InMemory(self.memory.x[:held], self.memory.y[:held], self.memory.ids[:held])
        cut, updates = context.shuffled("selector", rows, self.selector_epochs, 64)

        def batches(k: int) -> Batch:
            slots = cut(k).to(owners.device)
            return self.memory.batch(slots)

        yield from context.phase(
            "selector",
            batches,
            updates,
            parameters=["body.selector"],
            objective=lambda step: cross_entropy(step.model.body.selector(step.x), owners[step.batch.origin]),
            lr=self.selector_lr,
            momentum=0.9,
            forward=False,
        )

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self.memory.forget(request)
        return {"rehearsal": "removed"}

    def shrink(self, excess: int) -> int:
        return self.memory.shrink(excess)

    def structure(self) -> dict[str, Any]:
        return {"active": self.active}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.active = structure["active"]


def _add(model: Any) -> None:
    model.body.add()
    model.head.add()


def _turn_to(model: Any, expert: int) -> None:
    model.body.active = model.head.active = expert


def _renew_selector(model: Any, choices: int, inputs: int) -> None:
    model.body.renew_selector(choices, inputs)
