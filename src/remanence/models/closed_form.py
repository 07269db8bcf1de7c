"""What learners without gradient steps share: a frozen encoder, batches in order, classes as they appear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from remanence.answer import Answer
from remanence.errors import BudgetError, StateError, UsageError
from remanence.footprint import format_bytes
from remanence.learner import Learner
from remanence.models.heads import LARGEST_LABEL
from remanence.models.model import Model
from remanence.randomness import derive
from remanence.recipe import Recipe
from remanence.streams.experience import Experience
from remanence.training import Training
from remanence.update import Update


class ClosedForm(Learner):
    """A learner that absorbs batches of features once, in closed form.

    Subclasses take their hyperparameters as keyword arguments of ``__init__`` (with `inputs`, the
    width of the features, `encoder` and `seed` before them) and implement `_absorb`, `_scores` and
    `_widen`, and where they can `_remove` and `_remove_label`.

    Parameters
    ----------
    inputs:
        Width of the features that the encoder gives.
    encoder:
        A frozen module from prepared inputs to features (n, inputs); None flattens the inputs.
    seed:
        From which every random number is derived.
    batch_size:
        Rows absorbed per update (1 or more).
    """

    kind = "statistics"
    training_settings_used: ClassVar[frozenset[str] | None] = frozenset({"batch_size"})

    def __init__(self, inputs: int, encoder: nn.Module | None, *, seed: int, batch_size: int) -> None:
        super().__init__(seed=seed)
        self.inputs, self.batch_size = inputs, batch_size
        self.encoder = encoder if encoder is not None else nn.Flatten()
        self.encoder.requires_grad_(False).eval()
        self.classes: list[int] = []
        self.position = (-1, 0)
        self.tasks_seen: dict[int, list[int]] = {}
        """The classes of each task, where questions come with their task id."""
        self.budget: int | None = None
        self.elastic = False
        """Whether it may become smaller to keep a budget: where the budget chose its size, and no person."""

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        """Build from a recipe; a user's own model becomes the frozen encoder, without its last linear layer."""
        from remanence.models.model import split

        encoder: nn.Module | None = None
        if model is not None:
            encoder = split(model).body
            with torch.no_grad():
                probe = Model.prepare(torch.zeros(1, *recipe.shape))
                inputs = encoder.eval()(probe).shape[1]
        else:
            inputs = int(torch.tensor(recipe.shape).prod())
        size = Training.read(recipe.training).batch_size
        sized = cls.sized(inputs, settings, budget)
        made = cls(inputs, encoder, seed=recipe.seed, batch_size=size, **sized)
        made.budget, made.elastic, made.recipe = budget, sized != settings, recipe
        made.enforce_budget()
        return made

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used."""
        cls(1, None, seed=0, batch_size=1, **settings)

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        """Settings that fit the budget, where a size was not given and can be chosen."""
        return settings

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        if start and self.position != (experience.index, start):
            raise StateError(
                f"update {start} of experience {experience.index} was asked for, the learner stands at {self.position}"
            )
        rows = len(experience.examples)
        if rows == 0:
            raise UsageError(f"experience {experience.index} has no examples: leave it out of the stream")
        if experience.task is not None and experience.asks_task and experience.classes is not None:
            self.tasks_seen[experience.task] = list(experience.classes)
        for first in range(start * self.batch_size, rows, self.batch_size):
            index = torch.arange(first, min(first + self.batch_size, rows))
            x, y, ids = experience.examples.learn(index)
            self._add_classes(y)
            self._absorb(self.features(x.to(self.device)), y.to(self.device), ids)
            self.position = (experience.index, first // self.batch_size + 1)
            yield Update(examples=len(y), forwards=len(y))

    def features(self, x: Tensor) -> Tensor:
        """What the encoder makes of raw inputs (n, inputs) float64, without gradients."""
        with torch.no_grad():
            found: Tensor = self.encoder(Model.prepare(x)).flatten(1).double()
            return found

    def columns(self, y: Tensor) -> Tensor:
        """The column of each label (n,)."""
        table = {label: column for column, label in enumerate(self.classes)}
        return torch.tensor([table.get(label, -1) for label in y.tolist()], device=y.device)

    def one_hot(self, y: Tensor) -> Tensor:
        """(n, classes) float64."""
        return nn.functional.one_hot(self.columns(y), len(self.classes)).double()

    def _add_classes(self, y: Tensor) -> None:
        known = set(self.classes)
        new = [label for label in dict.fromkeys(y.tolist()) if label not in known]
        if new:
            if min(new) < 0 or max(new) > LARGEST_LABEL:
                raise UsageError(f"a label is {min(new)}, expected an integer from 0 to {LARGEST_LABEL}")
            self._widen(len(self.classes), len(self.classes) + len(new))
            self.classes = self.classes + new
            self.enforce_budget()

    def enforce_budget(self) -> None:
        """Keep the budget: become smaller where that is possible, else refuse."""
        if self.budget is None:
            return
        held = self.footprint().total
        if held > self.budget and self.elastic:
            self._shrink(held - self.budget)
            held = self.footprint().total
        if held > self.budget:
            raise BudgetError(
                f"{self.recipe.system if self.recipe else type(self).__name__} holds {format_bytes(held)} for "
                f"{len(self.classes)} classes, more than the budget of {format_bytes(self.budget)}: "
                "raise --budget"
            )

    def _shrink(self, excess: int) -> None:
        """Give up at least `excess` bytes, where that is possible."""

    def _widen(self, old: int, new: int) -> None:
        """Make room for the columns from `old` up to `new`."""

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        """Learn some rows."""
        raise NotImplementedError

    def _scores(self, features: Tensor) -> Tensor:
        """Scores (n, classes)."""
        raise NotImplementedError

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        return self._answered(self.features(x), task)

    def _answered(self, features: Tensor, task: int | None) -> Answer:
        """The answer to questions whose features are known."""
        if not self.classes:
            return Answer(features.new_zeros(len(features), 0))
        scores = self._scores(features)
        if task is not None and task in self.tasks_seen:
            own = set(self.tasks_seen[task])
            mine = torch.tensor([label in own for label in self.classes], device=scores.device)
            scores = scores.masked_fill(~mine, -torch.inf) if bool(mine.any()) else scores
        return Answer(scores, tuple(self.classes))

    # Structure

    def structure(self) -> dict[str, Any]:
        tasks = [[task, labels] for task, labels in self.tasks_seen.items()]
        return {**super().structure(), "classes": self.classes, "position": list(self.position), "tasks": tasks}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self.classes = list(structure["classes"])
        self.tasks_seen = {task: list(labels) for task, labels in structure["tasks"]}
        first, second = structure["position"]
        self.position = (first, second)

    def draw(self, purpose: str) -> torch.Generator:
        """A generator for one purpose."""
        return torch.Generator().manual_seed(derive(self.seed, purpose))
