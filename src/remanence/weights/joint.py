"""Joint training: keep all data and train a fresh model on all of it, again and again.

What is remembered is every example ever seen, raw, and a model trained from scratch on them after each
experience. It costs the whole data, and each retraining costs as much as learning everything once; it
is a reference that stands outside any budget, not a way to live within one.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.answer import Answer
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.models import networks
from remanence.models.model import Frozen
from remanence.recipe import Recipe
from remanence.registry import system
from remanence.request import Removal, Request
from remanence.state import load_tensors
from remanence.streams.examples import Examples, Rows
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.trainer import Trainer


@system(
    "joint",
    variant="fresh model for each retraining, from the same initial weights",
    training={"lr": 0.1, "epochs": 5},
    training_by_source={"digits": {"epochs": 10}},
    tuning_note="lr among 0.03, 0.1, 0.3 on digits in two other class orders; five passes, since one does not suffice a reference",
)
class Joint(Trainer):
    """Retraining from scratch on everything seen so far.

    After each experience its rows join those kept, the model goes back to its initial weights, and is
    trained on all rows, shuffled, for `epochs` passes with the same settings as any other learner. While
    that lasts, questions are answered by the model of the retraining before; its updates count every row
    as rehearsed, and the last of them counts the new rows as learned.

    Without boundaries it retrains whenever the rows have grown by the share `growth`, and at the end of
    the stream, so that its answers lag by at most that share until the end.

    Forgetting is exact: the rows are dropped and the model is retrained, after which the learner equals
    one that never saw them, to the bit.

    Parameters
    ----------
    model, task, seed, **training:
        As in `Trainer`.
    growth:
        Share by which the rows grow between two retrainings where boundaries are hidden (above 0).

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("joint", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.kept), learner.reference
    (1438, True)

    Departures
    ----------
    None: it is the field's upper reference, which has no paper of its own.
    """

    reference: ClassVar[bool] = True

    @validated
    def __init__(
        self,
        model: nn.Module,
        *,
        task: str = "classification",
        seed: int = 0,
        growth: Annotated[
            float, Field(gt=0, description="share of new rows before it retrains, boundaries hidden")
        ] = 0.25,
        **training: Any,
    ) -> None:
        super().__init__(model, task=task, seed=seed, **training)
        self.growth = growth
        self.kept = SampleBuffer()
        self.initial = Frozen(self.model)
        self.trained = 0
        self._retraining: object = None
        self.tasks_seen: dict[int, list[int]] = {}

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        """Build from a recipe; the budget does not bind a reference."""
        kind = recipe.task[0]
        if model is None:
            model = networks.build(recipe.model, recipe.shape, outputs=int(kind == "regression"), seed=recipe.seed)
        return cls(model, task=kind, seed=recipe.seed, **settings, **recipe.training)

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used."""
        cls(nn.Sequential(nn.Linear(1, 1)), **settings)

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        # The rows are kept here, so that several passes need no second reading of the stream.
        cursor = self._enter(replace(experience, boundary=True, again=True), start)
        self._context.experience = 0  # every retraining draws as if all rows were one first experience
        while cursor.stage != "done":
            taken = cursor.marks.get("taken", 0)
            if cursor.stage == "begin":
                stop = self._next_stop(experience, taken)
                self._take(experience, taken, stop)
                cursor.marks["taken"] = stop
                self._renew()
                cursor.stage, cursor.k = "main", 0
            else:
                yield from self._retrain()
                cursor.stage = "begin" if taken < len(experience.examples) else "done"

    def _next_stop(self, experience: Experience, taken: int) -> int:
        """Up to which row of the experience the next retraining goes."""
        rows = len(experience.examples)
        if experience.boundary:
            return rows
        more = max(self.training_settings.batch_size, math.ceil(self.growth * len(self.kept)))
        return min(rows, taken + more)

    def _take(self, experience: Experience, first: int, stop: int) -> None:
        """Keep the rows from `first` to `stop`."""
        self.kept.reserve(stop - first)
        for start in range(first, stop, self.training_settings.batch_size):
            index = torch.arange(start, min(start + self.training_settings.batch_size, stop))
            self.kept.add(experience.examples.learn(index))
        self.seen += stop - first
        if experience.task is not None and experience.asks_task and experience.classes is not None:
            self.tasks_seen[experience.task] = list(experience.classes)

    def _renew(self) -> None:
        """Start again from the initial weights; the present model answers until the new one is trained."""
        self.previous = Frozen(self.model) if self.trained else None
        self.model.head.restructure(self.initial.head.structure())
        load_tensors(self.model, self.initial.state_dict(), self.device)
        self.optimizer = self._make_optimizer()
        if self._context.classification and len(self.kept):
            self._context.add_classes(list(dict.fromkeys(self.kept.targets.tolist())))
            for task, labels in self.tasks_seen.items():
                self.model.head.assign(task, [label for label in labels if label in self.model.classes])

    def _retrain(self) -> Iterator[Update]:
        """Train on everything kept, from where the cursor stands."""
        mine = self._retraining = object()
        total = -(-len(self.kept) // self.training_settings.batch_size) * self.training_settings.epochs
        for update in self._main(Experience(0, AllData(self.kept))):
            if self._context.cursor.k == total:  # only now do the answers know the new rows
                update = replace(update, examples=len(self.kept) - self.trained)
                self.trained, self.previous = len(self.kept), None
            yield update
            if self._retraining is not mine:  # a request to forget came now, and retrained on what is left
                return

    def _receive(self, rows: Rows) -> Batch:
        return replace(super()._receive(rows), fresh=0)

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        if self.previous is None:
            return super()._answer(x, task)
        head = self.previous.head
        return Answer(head.only(self.previous(x), task), tuple(head.classes))

    # Forgetting

    def _forgetting(self, request: Request, start: int) -> Generator[Update, None, tuple[dict[str, Removal], int, str]]:
        yield from ()  # the retraining is one step to whoever looks on: a half-trained model is no answer
        gone = self.kept.find(request)
        count = int(gone.sum())
        if count:
            # Rows of a retraining under way count as trained: it is finished here, on what is left.
            under_way = self._context.cursor.stage == "main"
            learned = len(gone) if under_way else self.trained
            self.trained = learned - int(gone[:learned].sum())
            self.kept.drop(gone)
            self._renew()
            self.previous = None
            self._context.cursor.k, yielded = 0, self._context.cursor.yielded
            for _ in self._retrain():
                pass
            self._context.cursor.yielded = yielded
        places: dict[str, Removal] = {"rehearsal": "removed", "weights": "removed"}
        return places, count, "retrained from the initial weights on the rows that are left"

    # Structure

    def structure(self) -> dict[str, Any]:
        tasks = [[task, labels] for task, labels in self.tasks_seen.items()]
        return {**super().structure(), "trained": self.trained, "tasks": tasks}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self.trained = structure["trained"]
        self.tasks_seen = {task: list(labels) for task, labels in structure["tasks"]}


class SampleBuffer(nn.Module):
    """All rows ever seen, raw, in the order in which they came."""

    kind = "rehearsal"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x", torch.empty(0))
        self.register_buffer("y", torch.empty(0))
        self.register_buffer("ids", torch.empty(0, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.x: Tensor
        self.y: Tensor
        self.ids: Tensor
        self.filled: Tensor

    def __len__(self) -> int:
        return int(self.filled)

    @property
    def targets(self) -> Tensor:
        """Targets of the rows held (n,)."""
        return self.y[: len(self)]

    def reserve(self, more: int) -> None:
        """Make room for `more` rows at once, so that adding them batch by batch copies nothing."""
        room = len(self) + more
        for name in ("x", "y", "ids"):
            held = self._column(name)
            if len(held):
                wider = held.new_empty((room, *held.shape[1:]))
                wider[: len(self)] = held[: len(self)]
                self._buffers[name] = wider
        self._room = room

    _room = 0

    def add(self, rows: Rows) -> None:
        first = len(self)
        for name, values in zip(("x", "y", "ids"), rows, strict=True):
            if len(self._column(name)) == 0:
                self._buffers[name] = values.new_empty((self._room, *values.shape[1:]), device=self.filled.device)
            self._column(name)[first : first + len(values)] = values
        self.filled += len(rows.ids)

    def find(self, request: Request) -> Tensor:
        """Which rows a request means (n,) bool."""
        held = len(self)
        gone = torch.isin(self.ids[:held], torch.tensor(request.ids, dtype=torch.int64, device=self.ids.device))
        if request.label is not None:
            gone |= self.targets == request.label
        if request.x is not None and request.y is not None and held:
            if request.x.shape[1:] != self.x.shape[1:]:
                raise UsageError(
                    f"rows of shape {tuple(request.x.shape[1:])} were to be forgotten, those kept are "
                    f"{tuple(self.x.shape[1:])}: give them as the stream did"
                )
            x = self.x[:held].flatten(1)
            for row, target in zip(request.x.to(self.x).flatten(1), request.y.to(self.y), strict=True):
                gone |= (x == row).all(1) & (self.targets == target)
        return gone

    def drop(self, gone: Tensor) -> None:
        """Remove rows, and the bytes they took."""
        stay = (~gone).nonzero().squeeze(1)
        for name in ("x", "y", "ids"):
            self._buffers[name] = self._column(name)[stay]
        self.filled.fill_(len(stay))

    def _column(self, name: str) -> Tensor:
        column: Tensor = getattr(self, name)
        return column


class AllData(Examples):
    """What was kept, as examples."""

    def __init__(self, kept: SampleBuffer) -> None:
        self.kept = kept

    def __len__(self) -> int:
        return len(self.kept)

    def cut(self, index: Tensor) -> Rows:
        return Rows(self.kept.x[index], self.kept.y[index], self.kept.ids[index])
