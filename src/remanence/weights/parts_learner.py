"""What a trainer holds: a model, parts, an optimizer; how they grow, keep a budget, forget, and are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from remanence import schedules
from remanence.errors import BudgetError, StateError, Unsupported, UsageError
from remanence.footprint import format_bytes
from remanence.learner import Learner
from remanence.models.model import Frozen, Model, split
from remanence.modes import evaluation
from remanence.request import Removal, Request
from remanence.training import Training, pick_device
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.hooks import overridden, overrides
from remanence.weights.loop import Loop
from remanence.weights.objective import plain_objective
from remanence.weights.part import Part
from remanence.weights.per_parameter import PerParameter
from remanence.weights.phase import Phases
from remanence.weights.trainer_context import Cursor, TrainerContext


class PartsLearner(Learner):
    """A model with its parts and its optimizer. `remanence.weights.trainer.Trainer` makes updates of it."""

    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    def __init__(
        self,
        model: nn.Module,
        parts: Sequence[Part] = (),
        *,
        head: str | None = None,
        task: str = "classification",
        budget: int | None = None,
        seed: int = 0,
        shape: tuple[int, ...] | None = None,
        **training: Any,
    ) -> None:
        super().__init__(seed=seed)
        settings = self.training_settings = Training.read(training)
        self.batch_size = settings.batch_size
        self.device = pick_device(settings.device)
        self.model = split(model, head, outputs=int(task == "regression"), seed=seed)
        self.parts = nn.ModuleList(parts)
        self._parts = tuple(parts)
        self.previous: Frozen | None = None
        self.budget = budget
        self.seen = 0
        self._context = TrainerContext(self, self.model, settings, seed=seed, device=self.device, shape=shape)
        self._hooks = overridden(parts)
        if len(self._hooks["objective"]) > 1:
            names = " and ".join(type(part).__name__ for part in parts if overrides(part, "objective"))
            raise UsageError(f"{names} both replace the objective: use one of them")
        self._objective: Callable[[Step], Tensor] = (self._hooks["objective"] or [plain_objective])[0]
        self._schedule = schedules.named(settings.schedule)
        self.needs = frozenset().union(*(part.needs for part in parts))
        for part in parts:
            part.setup(self._context)
        layers = self._context.layers = list(dict.fromkeys(layer for part in parts for layer in part.layers))
        with self.model.record(layers):  # names a layer that is missing now, not in the first step
            pass
        self._loop = Loop(self.model, self._hooks, layers, settings.precision, self.device)
        self._phases = Phases(self._loop, self._context, settings)
        self._frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        self.to(self.device)
        self.optimizer = self._make_optimizer()

    @property
    def context(self) -> TrainerContext:
        """The view that parts work with, and whoever drives the updates in the trainer's place."""
        return self._context

    # What parts ask for through their context

    def features(self, x: Tensor) -> Tensor:
        """Features (n, width) of raw inputs, in evaluation mode and without gradients."""
        with torch.no_grad(), evaluation(self):
            return self.model.features(x.to(self.device))

    def phase(
        self,
        name: str,
        batches: Callable[[int], Batch],
        updates: int,
        parameters: Iterable[str] | None,
        objective: Callable[[Step], Tensor] | None,
        settings: dict[str, Any],
        schedule: str | schedules.Schedule,
        hooks: bool,
        forward: bool,
    ) -> Iterator[Update]:
        """Train outside the main loop; see `Context.phase`, by which parts do."""
        return self._phases.run(name, batches, updates, parameters, objective, settings, schedule, hooks, forward)

    # Boundaries and growth

    def mark_boundary(self) -> None:
        """An experience ended: keep the model as it is for the parts that compare with it."""
        if any("previous" in part.uses for part in self._parts):
            self.previous = Frozen(self.model)
        for on_boundary in self._hooks["on_boundary"]:
            on_boundary(self._context)

    def grow(self, change: Callable[[Model], None]) -> None:
        """Change the model's modules; optimizer state and per-parameter stores follow by name."""
        change(self.model)
        self.model.to(self.device)
        self.rebuild_optimizer()
        named = dict(self.model.named_parameters())
        for module in self.parts.modules():
            if isinstance(module, PerParameter):
                module.widen(named)
        for after_growth in self._hooks["after_growth"]:
            after_growth(self._context)
        self.enforce_budget()

    def rebuild_optimizer(self, fresh: bool = False) -> None:
        """Read `lr_multiplier` of every part again and regroup the parameters; `fresh` drops the optimizer's state."""
        kept = {} if fresh else optimizers.tensors(self.optimizer, self._context.moved)
        self.optimizer = self._make_optimizer()
        optimizers.put(self.optimizer, self._context.moved, kept)

    def enforce_budget(self) -> None:
        """Keep the budget: elastic parts give up what is over it."""
        if self.budget is None:
            return
        excess = self.footprint().total - self.budget
        for part in reversed(self._parts):
            if excess > 0:
                excess -= part.shrink(excess)
        footprint = self.footprint()
        if footprint.total > self.budget:
            held = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in footprint.bytes.items())
            smaller = "a smaller --model" + (" or size of the memory" if "rehearsal" in footprint.bytes else "")
            raise BudgetError(
                f"the learner holds {format_bytes(footprint.total)} ({held}), more than the budget of "
                f"{format_bytes(self.budget)}: raise --budget or choose {smaller}"
            )

    # Optimizer

    def _make_optimizer(self) -> optimizers.Optimizer:
        groups: dict[float, dict[str, nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            rate = math.prod(part.lr_multiplier(name) for part in self._parts)
            parameter.requires_grad_(rate > 0 and name not in self._frozen)
            if parameter.requires_grad:
                groups.setdefault(rate, {})[name] = parameter
        self._context.moved = {name: p for group in groups.values() for name, p in group.items()}
        return optimizers.make(self.training_settings.model_dump(), list(groups.items()))

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        kept = optimizers.tensors(self.optimizer, self._context.moved)
        return kept | {f"phase:{key}": value for key, value in self._phases.tensors().items()}

    def _set_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.optimizer = self._make_optimizer()
        main = {k: v for k, v in tensors.items() if not k.startswith("phase:")}
        optimizers.put(self.optimizer, self._context.moved, main)
        self._phases.put({k.removeprefix("phase:"): v for k, v in tensors.items() if k.startswith("phase:")})

    # Forgetting, keeping, coming back

    def _forgetting(self, request: Request, start: int) -> Generator[Update, None, tuple[dict[str, Removal], int, str]]:
        context = self._context
        if start == 0:
            context.aside, context.cursor = context.aside or context.cursor, Cursor(context.experience, "forget")
            context.cursor.marks["held"] = self._remembered()
            self._phases.stop()
        elif context.aside is None or context.cursor.yielded != start:
            raise StateError(
                f"update {start} of a forgetting was asked for, and none that made so many updates is under way: "
                "begin it anew"
            )
        cursor = context.cursor
        while cursor.part < len(self._parts):
            context.where, context.k = f"forget {cursor.part}", 0
            found = self._parts[cursor.part].forget(request, context)
            cursor.places |= found if isinstance(found, dict) else (yield from _counted(found, cursor))
            cursor.part += 1
        context.cursor, context.aside = context.aside or context.cursor, None
        places = dict(cursor.places)
        if not places:
            raise Unsupported(
                f"{self.recipe.system if self.recipe else 'this learner'} keeps no examples that could be removed: "
                "its weights carry what they learned"
            )
        if self.previous is not None:
            self.previous = None
            places["previous model"] = "removed"
        places.setdefault("weights", "remains")
        count = cursor.marks["held"] - self._remembered()
        return places, count, "the ids were searched for in every part's memory after the removal"

    def _remembered(self) -> int:
        return 0 if self.memory is None else len(self.memory)

    @property
    def memory(self) -> Any:
        """The rehearsal memory that one of the parts holds, or None."""
        return next((found for part in self._parts if (found := getattr(part, "memory", None)) is not None), None)

    def structure(self) -> dict[str, Any]:
        return {
            **super().structure(),
            "cursor": self._context.cursor.as_dict(),
            "aside": None if self._context.aside is None else self._context.aside.as_dict(),
            "seen": self.seen,
            "previous": self.previous is not None,
        }

    def restructure(self, structure: dict[str, Any]) -> None:
        aside = structure["aside"]
        self._context.cursor = Cursor.from_dict(structure["cursor"])
        self._context.aside = None if aside is None else Cursor.from_dict(aside)
        self.seen = structure["seen"]
        self.previous = Frozen(self.model) if structure["previous"] else None
        super().restructure(structure)
        self.to(self.device)


def _counted(
    updates: Generator[Update, None, dict[str, Removal]], cursor: Cursor
) -> Generator[Update, None, dict[str, Removal]]:
    """The same updates, each counted where the learner stands."""
    while True:
        try:
            update = next(updates)
        except StopIteration as end:
            places: dict[str, Removal] = end.value
            return places
        cursor.yielded += 1
        yield update
