"""The narrow view of a trainer that parts work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.models.model import Frozen, Model
from remanence.randomness import derive
from remanence.streams.experience import Examples, Rows
from remanence.weights.phase import phase

if TYPE_CHECKING:
    from remanence.update import Update
    from remanence.weights.part import Batch, Step
    from remanence.weights.trainer import Trainer


class Context:
    """What a part may see and ask for.

    `model` is the body and head being trained, `previous` a frozen copy of it from the last boundary
    (``None`` before the first; only for parts whose `uses` names it), `memory` the shared rehearsal
    memory. `experience` and `k` are the position: the index of the experience, and of the update in it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.experience = 0
        self.k = 0
        self.where: str = "main"
        self.forwards = 0
        self.backwards = 0
        self.steps = 0
        self.asked: int | None = None
        """The task id that came with the questions being answered, in the hook `on_scores` only."""

    @property
    def model(self) -> Model:
        return self._trainer.model

    @property
    def previous(self) -> Frozen | None:
        return self._trainer.previous

    @property
    def seed(self) -> int:
        return self._trainer.seed

    @property
    def device(self) -> torch.device:
        return self._trainer.device

    @property
    def classification(self) -> bool:
        return self.model.head.outputs == 0

    @property
    def batch_size(self) -> int:
        return self._trainer.training_settings.batch_size

    @property
    def lr(self) -> float:
        return self._trainer.training_settings.lr

    @property
    def epochs(self) -> int:
        return self._trainer.training_settings.epochs

    @property
    def memory(self) -> Any:
        """The rehearsal memory that one of the parts holds."""
        memory = self._trainer.memory
        if memory is not None:
            return memory
        raise UsageError("no part holds a rehearsal memory: add one, for example 'er+…'")

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for one purpose at this position; asking again starts it again."""
        return self._trainer._draw.manual_seed(self.derive(purpose))

    def derive(self, purpose: str) -> int:
        """A seed for one purpose at this position."""
        base = self._trainer._purposes.get((purpose, self.experience, self.where))
        if base is None:
            base = derive(self.seed, purpose, self.experience, self.where)
            self._trainer._purposes[(purpose, self.experience, self.where)] = base
        return (base + self.k * 0x9E3779B97F4A7C15) & ((1 << 63) - 1)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that the optimizer moves, by name."""
        return self._trainer._trainable

    def count(self, forwards: int = 0, backwards: int = 0, steps: int = 0) -> None:
        """Count rows that a part sent through the network, and steps that it took, by itself."""
        self.forwards += forwards
        self.backwards += backwards
        self.steps += steps

    def features(self, x: Tensor) -> Tensor:
        """Features of raw inputs in evaluation mode and without gradients, counted."""
        self.count(forwards=len(x))
        return self._trainer._features(x)

    def chunks(self, examples: Examples, size: int = 256) -> Iterator[Rows]:
        """All examples front to back, on the learner's device."""
        for rows in examples.chunks(size):
            yield Rows(*(column.to(self.device) for column in rows))

    def first_time(self, mark: str) -> bool:
        """True the first time it is asked in an experience, also across a resume.

        `before_experience` and `after_experience` are entered again from their top after a resume; what must not be done twice
        stands behind this.
        """
        marks = self._trainer._cursor.marks
        if mark in marks:
            return False
        marks[mark] = 1
        return True

    def grow(self, change: Callable[[Model], None]) -> None:
        """Change the model's modules; optimizer state and per-parameter stores follow by name.

        The part that grows replays its growth in its own `restructure` when a saved learner is loaded.
        """
        self._trainer._grow(change)

    def add_classes(self, labels: Iterable[int]) -> None:
        """Let the head grow for labels it has not met."""
        self._trainer._add_classes(list(labels))

    def boundary(self) -> None:
        """Say that one experience ended and another begins here: the same as a disclosed boundary."""
        self._trainer._boundary()

    def refresh_learning_rates(self, *, fresh: bool = False) -> None:
        """Read `lr_multiplier` of every part again and rebuild the optimizer's groups; `fresh` drops its state."""
        self._trainer._rebuild(fresh)

    def enforce_budget(self) -> None:
        """Keep the budget after something was stored: elastic parts give up what is over it."""
        self._trainer.enforce_budget()

    def phase(
        self,
        name: str,
        batches: Callable[[int], Batch],
        updates: int,
        *,
        parameters: Iterable[str] | None = None,
        objective: Callable[[Step], Tensor] | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        schedule: str = "constant",
        hooks: bool = False,
        forward: bool = True,
    ) -> Iterator[Update]:
        """Train outside the main loop (balanced fine-tuning, alignment, compression), counted and resumable.

        Parameters
        ----------
        name:
            Names the phase within its experience.
        batches:
            The batch of update k, a function of k alone.
        updates:
            How many.
        parameters:
            Names of the parameters to move, or prefixes of them (``"head"``); all by default.
        objective:
            Loss of a step; by default the plain objective of the task.
        optimizer, lr, momentum, weight_decay, schedule:
            As in the training settings, which are the defaults.
        hooks:
            Whether the parts' `loss`, `on_gradient`, `on_change` and `after_step` act in it too.
        forward:
            Whether the batch passes through the model; False where the objective runs what it needs.
        """
        asked = {"optimizer": optimizer, "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        given = {key: value for key, value in asked.items() if value is not None}
        settings = {**given, "schedule": schedule}
        return phase(self._trainer, name, batches, updates, parameters, objective, settings, hooks, forward)

    def shuffled(self, purpose: str, examples: Examples, epochs: int, size: int) -> tuple[Callable[[int], Tensor], int]:
        """Positions of each batch of a phase over `examples`, shuffled per epoch, and their number."""
        rows = len(examples)
        per_epoch = max(1, -(-rows // size))

        def indices(k: int) -> Tensor:
            epoch, place = divmod(k, per_epoch)
            draw = torch.Generator().manual_seed(derive(self.seed, purpose, self.experience, epoch))
            return torch.randperm(rows, generator=draw)[place * size : (place + 1) * size]

        return indices, per_epoch * epochs
