"""The context of a trainer: it owns the position, the draws and what is moved, and passes on what parts ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.models.model import Frozen, Model
from remanence.randomness import derive
from remanence.request import Removal
from remanence.schedules import Schedule
from remanence.streams.examples import Examples, Rows
from remanence.training import Training
from remanence.update import Update
from remanence.weights import normalisation, optimizers
from remanence.weights.batch import Batch
from remanence.weights.context import Step


@dataclass
class Cursor:
    """Where in an experience a trainer stands. Part of the saved state."""

    experience: int = -1
    stage: str = "done"
    part: int = 0
    k: int = 0
    yielded: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    places: dict[str, Removal] = field(default_factory=dict)
    """While forgetting: what became of the places so far."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "marks": dict(self.marks), "places": dict(self.places)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cursor:
        """What `as_dict` gave."""
        return cls(**{**data, "marks": dict(data["marks"]), "places": dict(data["places"])})


class Host(Protocol):
    """What a trainer does for its context."""

    previous: Frozen | None
    optimizer: optimizers.Optimizer

    @property
    def memory(self) -> Any: ...

    def grow(self, change: Callable[[Model], None]) -> None: ...

    def mark_boundary(self) -> None: ...

    def rebuild_optimizer(self, fresh: bool = False) -> None: ...

    def features(self, x: Tensor) -> Tensor: ...

    def enforce_budget(self) -> None: ...

    def phase(
        self,
        name: str,
        batches: Callable[[int], Batch],
        updates: int,
        parameters: Iterable[str] | None,
        objective: Callable[[Step], Tensor] | None,
        settings: dict[str, Any],
        schedule: str | Schedule,
        hooks: bool,
        forward: bool,
    ) -> Iterator[Update]: ...


class TrainerContext:
    """See `remanence.weights.context.Context`, which this is for the parts of a trainer.

    Parameters
    ----------
    host:
        The trainer.
    model:
        Its body and head.
    settings:
        Its training settings.
    seed, device:
        Of the trainer.
    shape:
        Shape of one raw input, where it is known.
    """

    def __init__(
        self,
        host: Host,
        model: Model,
        settings: Training,
        *,
        seed: int,
        device: torch.device,
        shape: tuple[int, ...] | None,
    ) -> None:
        self._host, self.model, self.seed, self.device = host, model, seed, device
        self.batch_size, self.lr, self.epochs = settings.batch_size, settings.lr, settings.epochs
        self.classification = model.head.outputs == 0
        self.experience = 0
        self.k = 0
        self.where = "main"
        self.forwards = 0
        self.backwards = 0
        self.steps = 0
        self.asked: int | None = None
        self.layers: list[str] = []
        self.cursor = Cursor()
        self.aside: Cursor | None = None
        """Where the learner stood when a forgetting began that is not at its end yet."""
        self.moved: dict[str, nn.Parameter] = {}
        """What the optimizer moves, by name."""
        self._shape = shape
        self._draw = torch.Generator()
        self._purposes: dict[tuple[str, int, str], int] = {}

    @property
    def previous(self) -> Frozen | None:
        return self._host.previous

    @property
    def memory(self) -> Any:
        memory = self._host.memory
        if memory is not None:
            return memory
        raise UsageError("no part holds a rehearsal memory: add one, for example 'er+…'")

    @property
    def shape(self) -> tuple[int, ...]:
        if self._shape is None:
            raise UsageError("a part asks for the shape of an input, which the trainer was not told: give it shape=…")
        return self._shape

    def generator(self, purpose: str) -> torch.Generator:
        return self._draw.manual_seed(self.derive(purpose))

    def derive(self, purpose: str) -> int:
        base = self._purposes.get((purpose, self.experience, self.where))
        if base is None:
            base = derive(self.seed, purpose, self.experience, self.where)
            self._purposes[(purpose, self.experience, self.where)] = base
        return (base + self.k * 0x9E3779B97F4A7C15) & ((1 << 63) - 1)

    def trainable(self) -> dict[str, nn.Parameter]:
        return self.moved

    def count(self, forwards: int = 0, backwards: int = 0, steps: int = 0) -> None:
        self.forwards += forwards
        self.backwards += backwards
        self.steps += steps

    def features(self, x: Tensor) -> Tensor:
        self.count(forwards=len(x))
        return self._host.features(x)

    def chunks(self, examples: Examples, size: int = 256) -> Iterator[Rows]:
        for rows in examples.chunks(size):
            yield Rows(*(column.to(self.device) for column in rows))

    def first_time(self, mark: str) -> bool:
        if mark in self.cursor.marks:
            return False
        self.cursor.marks[mark] = 1
        return True

    def grow(self, change: Callable[[Model], None]) -> None:
        self._host.grow(change)

    def add_classes(self, labels: Iterable[int]) -> None:
        known = set(self.model.head.classes)
        new = [label for label in labels if label not in known]
        if new:
            self._host.grow(lambda model: model.head.grow(new))

    def boundary(self) -> None:
        self._host.mark_boundary()

    def refresh_learning_rates(self, *, fresh: bool = False) -> None:
        self._host.rebuild_optimizer(fresh)

    def clear_moments(self, entries: Mapping[str, Tensor]) -> None:
        optimizers.clear(self._host.optimizer, self.moved, entries)

    def renormalise(self, examples: Examples, size: int = 256) -> None:
        inputs = (rows.x for rows in self.chunks(examples, size))
        self.count(forwards=normalisation.recompute(self.model, inputs))

    def enforce_budget(self) -> None:
        self._host.enforce_budget()

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
        schedule: str | Schedule = "constant",
        hooks: bool = False,
        forward: bool = True,
    ) -> Iterator[Update]:
        asked = {"optimizer": optimizer, "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        given = {key: value for key, value in asked.items() if value is not None}
        return self._host.phase(name, batches, updates, parameters, objective, given, schedule, hooks, forward)

    def shuffled(self, purpose: str, examples: Examples, epochs: int, size: int) -> tuple[Callable[[int], Tensor], int]:
        rows = len(examples)
        per_epoch = max(1, -(-rows // size))

        def indices(k: int) -> Tensor:
            epoch, place = divmod(k, per_epoch)
            draw = torch.Generator().manual_seed(derive(self.seed, purpose, self.experience, epoch))
            return torch.randperm(rows, generator=draw)[place * size : (place + 1) * size]

        return indices, per_epoch * epochs
