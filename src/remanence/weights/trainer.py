"""The one loop that all gradient-trained learners share; they differ in their parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from remanence.answer import Answer
from remanence.errors import BudgetError, Diverged, StateError, Unsupported, UsageError
from remanence.footprint import format_bytes
from remanence.learner import Learner
from remanence.models.model import Frozen, Model, split
from remanence.modes import evaluation
from remanence.randomness import derive, seed_global
from remanence.request import Removal, Request
from remanence.streams.experience import Experience, Rows
from remanence.training import Training, pick_device
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.context import Context
from remanence.weights.objective import plain_objective
from remanence.weights.part import Batch, BatchSampler, Part, PerParameter, Step


@dataclass
class Cursor:
    """Where in an experience the trainer stands. Part of the saved state."""

    experience: int = -1
    stage: str = "done"
    part: int = 0
    k: int = 0
    yielded: int = 0
    marks: dict[str, int] = field(default_factory=dict)


class Trainer(Learner):
    """Learns by gradient steps; what keeps it from forgetting are its parts.

    Parameters
    ----------
    model:
        A `Model`, or any module whose last linear layer becomes a growing head.
    parts:
        What is added to plain training, in the order in which their hooks are called.
    head:
        Name of the layer to take as the head, where `model` is a module of the user's.
    task:
        ``"classification"`` or ``"regression"``.
    budget:
        The largest footprint in bytes, or None. A rehearsal memory gives up examples to keep it.
    seed:
        From which every random number is derived.
    **training:
        See `remanence.training.Training`: `optimizer`, `lr`, `epochs`, `batch_size`…

    Raises
    ------
    UsageError
        If a setting is out of range or two parts both replace the objective.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    >>> learner = Trainer(net, lr=0.1)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.model.classes
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

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
        **training: Any,
    ) -> None:
        super().__init__(seed=seed)
        self.training_settings = Training.read(training)
        self.batch_size = self.training_settings.batch_size
        self.device = pick_device(self.training_settings.device)
        self.model = split(model, head, outputs=int(task == "regression"), seed=seed)
        self.parts = nn.ModuleList(parts)
        self._parts = tuple(parts)
        self.previous: Frozen | None = None
        self.budget = budget
        self.seen = 0
        self._cursor = Cursor()
        self._purposes: dict[tuple[str, int, str], int] = {}
        self._draw = torch.Generator()
        self._context = Context(self)
        self._phase_optimizer: optimizers.Optimizer | None = None
        self._phase_names: dict[str, nn.Parameter] = {}
        self._trainable: dict[str, nn.Parameter] = {}
        self._hooks = _overridden(parts)
        if len(self._hooks["objective"]) > 1:
            names = " and ".join(type(part).__name__ for part in parts if overrides(part, "objective"))
            raise UsageError(f"{names} both replace the objective: use one of them")
        self._objective: Callable[[Step], Tensor] = (self._hooks["objective"] or [plain_objective])[0]
        self.needs = frozenset().union(*(part.needs for part in parts))
        self._layers: list[str] = []
        for part in parts:
            part.setup(self._context)
        self._layers = list(dict.fromkeys(layer for part in parts for layer in part.layers))
        with self.model.record(self._layers):  # names a layer that is missing now, not in the first step
            pass
        self._frozen = {name for name, p in self.model.named_parameters() if not p.requires_grad}
        self.to(self.device)
        self.optimizer = self._make_optimizer()

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        cursor = self._enter(experience, start)
        context = self._context
        context.experience = experience.index
        while cursor.stage != "done":
            if cursor.stage == "begin":
                yield from self._in_turn("before_experience", experience)
                self._open(experience)
                cursor.stage = "main"
            elif cursor.stage == "main":
                yield from self._main(experience)
                cursor.stage, cursor.part, cursor.k = "end", 0, 0
            else:
                yield from self._in_turn("after_experience", experience)
                self.enforce_budget()  # importances, Gaussians and the like are made when an experience ends
                cursor.stage = "done"

    def _enter(self, experience: Experience, start: int) -> Cursor:
        cursor = self._cursor
        if start == 0:
            self._cursor, self._phase_optimizer = Cursor(experience.index, "begin"), None
            if experience.boundary and experience.index > 0:
                self._boundary()
        elif (cursor.experience, cursor.yielded) != (experience.index, start):
            raise StateError(
                f"update {start} of experience {experience.index} was asked for, the learner stands at "
                f"update {cursor.yielded} of experience {cursor.experience}: go on from there"
            )
        if len(experience.examples) == 0:
            raise UsageError(f"experience {experience.index} has no examples: leave it out of the stream")
        if not experience.boundary and self.training_settings.epochs > 1:
            raise UsageError(
                f"epochs is {self.training_settings.epochs}, but a stream without boundaries passes once: use epochs 1"
            )
        if not experience.again and self.training_settings.epochs > 1:
            raise UsageError(
                f"epochs is {self.training_settings.epochs}, but this stream may be read once only: use epochs 1"
            )
        return self._cursor

    def _in_turn(self, hook: str, experience: Experience) -> Iterator[Update]:
        """Run `before_experience` or `after_experience` of every part, from where the cursor stands."""
        cursor = self._cursor
        while cursor.part < len(self._parts):
            self._context.where, self._context.k = f"{_PLACES[hook]} {cursor.part}", 0
            for update in getattr(self._parts[cursor.part], hook)(self._context, experience) or ():
                yield self._counted(update)
            cursor.part += 1
        cursor.part = 0

    def _open(self, experience: Experience) -> None:
        """Let the head grow for the classes that an experience is said to hold."""
        if experience.classes is not None and self._context.classification:
            self._add_classes(list(experience.classes))
            if experience.task is not None and experience.asks_task:
                self.model.head.assign(experience.task, list(experience.classes))
        self.enforce_budget()

    def _main(self, experience: Experience) -> Iterator[Update]:
        sampler = self._batch_sampler(experience)
        for part in self._parts:
            sampler = part.batch_sampler(sampler, self._context, experience)
        cursor, context = self._cursor, self._context
        context.where = "main"
        noise = derive(self.seed, "noise", experience.index)
        examples, total = experience.examples, len(sampler)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"]
        while cursor.k < total:
            k = context.k = cursor.k
            seed_global((noise + k) & 0x7FFFFFFFFFFFFFFF, self.device)
            rows = examples.learn(sampler[k])
            update = self._update(experience, self._receive(rows), k, total)
            if k == 0:
                self.enforce_budget()  # memories are made when the first rows arrive
            cursor.k += 1
            yield self._counted(update)

    def _batch_sampler(self, experience: Experience) -> BatchSampler:
        rows, size = len(experience.examples), self.training_settings.batch_size
        per_epoch = -(-rows // size)
        if experience.examples.ordered:
            return BatchSampler(
                per_epoch * self.training_settings.epochs,
                lambda k: torch.arange((k % per_epoch) * size, min((k % per_epoch + 1) * size, rows)),
            )
        orders: dict[int, Tensor] = {}

        def indices(k: int) -> Tensor:
            epoch, place = divmod(k, per_epoch)
            if epoch not in orders:
                orders.clear()
                draw = torch.Generator().manual_seed(derive(self.seed, "order", experience.index, epoch))
                orders[epoch] = torch.randperm(rows, generator=draw)
            return orders[epoch][place * size : (place + 1) * size]

        return BatchSampler(per_epoch * self.training_settings.epochs, indices)

    def _receive(self, rows: Rows) -> Batch:
        """Put new rows on the device and let the head grow for labels that nobody announced."""
        x, y, ids = rows
        if self.device.type != "cpu":
            x, y, ids = x.to(self.device), y.to(self.device), ids.to(self.device)
        head = self.model.head
        if head.outputs == 0:
            new = head.unseen(y)
            if new:
                self._add_classes(new)
        return Batch(x, y, ids, len(ids))

    def _update(self, experience: Experience, batch: Batch, k: int, total: int) -> Update:
        context, hooks = self._context, self._hooks
        context.forwards = context.backwards = context.steps = 0
        for before_batch in hooks["before_batch"]:
            before_batch(batch, context)
        for rehearse in hooks["rehearse"]:
            batch = rehearse(batch, context)
        step = Step(context, experience, batch, k, total)
        self._forward(step)
        loss = self._objective(step)
        for term in hooks["loss"]:
            added = term(step)
            if added is not None:
                loss = loss + added
        step.loss = loss
        if self.training_settings.schedule == "cosine":  # here, since growth may have made a new optimizer
            optimizers.set_rates(self.optimizer, 0.5 * (1 + math.cos(math.pi * k / total)))
        value = self._change(step, self.optimizer, hooks)
        object.__setattr__(self, "seen", self.seen + batch.fresh)  # a module's own way looks through all its parts
        rows = len(batch)
        return Update(
            batch.fresh, rows - batch.fresh, rows + context.forwards, rows + context.backwards, 1 + context.steps, value
        )

    def _forward(self, step: Step) -> None:
        batch, model = step.batch, self.model
        head = model.head
        if batch.y is not None and batch.y.dtype == torch.int64 and head.outputs == 0:
            step.columns = head.columns_of_seen(batch.y)
        with self._precision():
            if batch.entry is None:
                step.x = model.prepare(batch.x)
                for augment in self._hooks["augment"]:
                    step.x = augment(step.x, batch, self._context)
                if self._layers:
                    with model.record(self._layers) as step.maps:
                        step.features = model.body(step.x)
                else:
                    step.features = model.body(step.x)
            else:
                step.features = model.from_entry(batch.x, batch.entry)
            step.scores = head(step.features)
        if self.training_settings.precision == "bf16":  # losses and memories are computed in full precision
            step.features, step.scores = _full(step.features), _full(step.scores)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.training_settings.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return _AS_IT_IS

    def _change(self, step: Step, optimizer: optimizers.Optimizer, hooks: dict[str, list[Any]]) -> float:
        """Backward pass, `on_gradient`, optimizer, `on_change`, `after_step`; the loss as a number."""
        value = float(step.loss.detach())
        if not math.isfinite(value):
            where = f"update {step.k} of experience {step.experience.index}"
            raise Diverged(f"the loss became {value} at {where}: lower lr")
        optimizer.zero_grad()
        step.loss.backward()  # type: ignore[no-untyped-call]
        step._optimizer = optimizer
        for on_gradient in hooks["on_gradient"]:
            on_gradient(step)
        if hooks["on_change"]:
            moved = self._trainable if optimizer is self.optimizer else self._phase_names
            before = {name: parameter.detach().clone() for name, parameter in moved.items()}
            optimizer.step()
            with torch.no_grad():
                step.change = {name: parameter - before[name] for name, parameter in moved.items()}
                for on_change in hooks["on_change"]:
                    on_change(step)
                for name, parameter in moved.items():
                    torch.add(before[name], step.change[name], out=parameter)
        else:
            optimizer.step()
        for after_step in hooks["after_step"]:
            after_step(step)
        return value

    def _consolidate(self, budget: int) -> Iterator[Update]:
        for number, part in enumerate(self._parts):
            self._context.where = f"consolidate {number}"
            for update in part.consolidate(self._context, budget) or ():
                yield update
                budget -= 1
                if budget <= 0:
                    return

    def _counted(self, update: Update) -> Update:
        self._cursor.yielded += 1
        return update

    # Boundaries and growth

    def _boundary(self) -> None:
        """An experience ended: keep the model as it is for the parts that compare with it."""
        if any("previous" in part.uses for part in self._parts):
            self.previous = Frozen(self.model)
        for on_boundary in self._hooks["on_boundary"]:
            on_boundary(self._context)

    def _add_classes(self, labels: list[int]) -> None:
        new = [label for label in labels if label not in set(self.model.head.classes)]
        if new:
            self._grow(lambda model: model.head.grow(new))

    def _grow(self, change: Callable[[Model], None]) -> None:
        change(self.model)
        self.model.to(self.device)
        self._rebuild()
        named = self._named()
        for module in self.parts.modules():
            if isinstance(module, PerParameter):
                module.widen(named)
        for after_growth in self._hooks["after_growth"]:
            after_growth(self._context)
        self.enforce_budget()

    def _rebuild(self, fresh: bool = False) -> None:
        kept = {} if fresh else optimizers.tensors(self.optimizer, self._trainable)
        self.optimizer = self._make_optimizer()
        optimizers.put(self.optimizer, self._trainable, kept)

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

    def _named(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def _make_optimizer(self) -> optimizers.Optimizer:
        groups: dict[float, dict[str, nn.Parameter]] = {}
        for name, parameter in self._named().items():
            rate = math.prod(part.lr_multiplier(name) for part in self._parts)
            parameter.requires_grad_(rate > 0 and name not in self._frozen)
            if parameter.requires_grad:
                groups.setdefault(rate, {})[name] = parameter
        self._trainable = {name: p for group in groups.values() for name, p in group.items()}
        return optimizers.make(self.training_settings.model_dump(), list(groups.items()))

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        kept = optimizers.tensors(self.optimizer, self._trainable)
        if self._phase_optimizer is not None:
            found = optimizers.tensors(self._phase_optimizer, self._phase_names)
            kept |= {f"phase:{key}": value for key, value in found.items()}
        return kept

    def _set_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.optimizer = self._make_optimizer()
        main = {k: v for k, v in tensors.items() if not k.startswith("phase:")}
        optimizers.put(self.optimizer, self._trainable, main)
        phase = {k.removeprefix("phase:"): v for k, v in tensors.items() if k.startswith("phase:")}
        self._phase_optimizer = None
        if phase:
            names = {key.split("|")[0] for key in phase}
            self._phase_names = {name: p for name, p in self._named().items() if name in names}
            self._phase_optimizer = optimizers.make(self.training_settings.model_dump(), [(1.0, self._phase_names)])
            optimizers.put(self._phase_optimizer, self._phase_names, phase)

    # Answering

    def _features(self, x: Tensor) -> Tensor:
        with torch.no_grad(), evaluation(self):
            return self.model.features(x.to(self.device))

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        head = self.model.head
        with self._precision():
            features = self.model.features(x)
            scores = head(features)
        scores = scores.float()
        self._context.asked = task
        for on_scores in self._hooks["on_scores"]:
            scores = on_scores(scores, features, self._context)
        return Answer(head.only(scores, task), tuple(head.classes))

    # Forgetting, keeping, coming back

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        places: dict[str, Removal] = {}
        held = self._remembered()
        for part in self._parts:
            places |= part.forget(request, self._context)
        if not places:
            raise Unsupported(
                f"{self.recipe.system if self.recipe else 'this learner'} keeps no examples that could be removed: "
                "its weights carry what they learned"
            )
        if self.previous is not None:
            self.previous = None
            places["previous model"] = "removed"
        places["weights"] = "remains"
        return places, held - self._remembered(), "the ids were searched for in every part's memory after the removal"

    def _remembered(self) -> int:
        return 0 if self.memory is None else len(self.memory)

    @property
    def memory(self) -> Any:
        """The rehearsal memory that one of the parts holds, or None."""
        return next((found for part in self._parts if (found := getattr(part, "memory", None)) is not None), None)

    def structure(self) -> dict[str, Any]:
        return {
            **super().structure(),
            "cursor": {**self._cursor.__dict__, "marks": dict(self._cursor.marks)},
            "seen": self.seen,
            "previous": self.previous is not None,
        }

    def restructure(self, structure: dict[str, Any]) -> None:
        self._cursor = Cursor(**{**structure["cursor"], "marks": dict(structure["cursor"]["marks"])})
        self.seen = structure["seen"]
        self.previous = Frozen(self.model) if structure["previous"] else None
        super().restructure(structure)
        self.to(self.device)


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values


_AS_IT_IS = nullcontext()
_HOOKS = (
    "before_batch",
    "rehearse",
    "augment",
    "objective",
    "loss",
    "on_gradient",
    "on_change",
    "after_step",
    "on_boundary",
    "after_growth",
    "on_scores",
)
_PLACES = {"before_experience": "begin", "after_experience": "end"}
"""What random numbers of a hook are drawn for, and its phases are marked by."""


def overrides(part: Part, hook: str) -> bool:
    return getattr(type(part), hook) is not getattr(Part, hook)


def _overridden(parts: Sequence[Part]) -> dict[str, list[Any]]:
    return {hook: [getattr(part, hook) for part in parts if overrides(part, hook)] for hook in _HOOKS}
