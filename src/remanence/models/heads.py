"""Heads of gradient-trained models: from features to one score per class, growing as classes appear."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.randomness import generator

LARGEST_LABEL = 10_000_000


class Head(nn.Module):
    """Scores for the classes seen so far.

    A class is a label (any integer from 0 to ten million); its column is its place in the order of
    appearance. A head of a multi-head model also knows which classes belong to which task, and lets
    a row compete only among those.

    Parameters
    ----------
    features:
        Width of the features (1 or more).
    outputs:
        0 for classification, where columns appear with classes; the number of values for regression.
    seed:
        Seeds the rows of new classes.
    """

    def __init__(self, features: int, outputs: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.features, self.outputs, self.seed = features, outputs, seed
        self.classes: list[int] = []
        self.tasks: dict[int, list[int]] = {}
        self._column = torch.empty(0, dtype=torch.int64)
        self._competitors: Tensor | None = None

    def columns(self, labels: Tensor) -> Tensor:
        """The column of each label (n,) int64, -1 where the class was never seen."""
        if len(self._column) == 0:
            return torch.full_like(labels, -1)
        if self._dense:
            return torch.where(labels < len(self._column), labels, -1)
        return self._column.to(labels.device)[labels.clamp(max=len(self._column) - 1)]

    def columns_of_seen(self, labels: Tensor) -> Tensor:
        """As `columns`, for labels that are all known to have one; free where column and label are the same."""
        return labels if self._dense else self.columns(labels)

    def unseen(self, labels: Tensor) -> list[int]:
        """The labels that have no column yet, in order of appearance."""
        if self._dense:
            low, high = torch.aminmax(labels)
            if low.item() >= 0 and high.item() < len(self.classes):
                return []
        known = set(self.classes)
        return [label for label in dict.fromkeys(labels.tolist()) if label not in known]

    def grow(self, labels: list[int]) -> None:
        """Add a column for each label that has none."""
        new = [label for label in dict.fromkeys(labels) if label not in set(self.classes)]
        for label in new:
            if not 0 <= label <= LARGEST_LABEL:
                raise UsageError(f"a label is {label}, expected an integer from 0 to {LARGEST_LABEL}")
        if new:
            self.widen(len(self.classes), len(self.classes) + len(new))
            self._set_classes(self.classes + new)

    def assign(self, task: int, labels: list[int]) -> None:
        """Say that these classes form a task: they compete among themselves only."""
        self.tasks[task] = list(labels)
        self._competitors = None

    def competitors(self, columns: Tensor) -> Tensor | None:
        """Which columns each row competes among (n, classes), or None where all compete with all."""
        if not self.tasks:
            return None
        if self._competitors is None or len(self._competitors) != len(self.classes):
            table = torch.zeros(len(self.classes), len(self.classes), dtype=torch.bool)
            for labels in self.tasks.values():
                mine = self.columns(torch.tensor(labels))
                table[mine.unsqueeze(1), mine] = True
            self._competitors = table.to(columns.device)
        return self._competitors[columns]

    def only(self, scores: Tensor, task: int | None) -> Tensor:
        """Scores with the classes of other tasks out of the running, where the task is known."""
        if task is None or task not in self.tasks:
            return scores
        mine = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
        mine[self.columns(torch.tensor(self.tasks[task])).to(scores.device)] = True
        return scores.masked_fill(~mine, -torch.inf)

    def widen(self, old: int, new: int) -> None:
        """Make room for the columns from `old` up to `new`: what a head of one's own overrides, and `grow` calls."""

    def _set_classes(self, classes: list[int]) -> None:
        self.classes = classes
        self._dense = classes == list(range(len(classes)))
        self._column = torch.full((max(classes, default=-1) + 2,), -1, dtype=torch.int64)
        self._column[torch.tensor(classes, dtype=torch.int64)] = torch.arange(len(classes))
        if self._dense:
            self._column = self._column[:-1]
        self._competitors = None

    _dense = False

    def structure(self) -> dict[str, Any]:
        tasks = [[task, labels] for task, labels in self.tasks.items()]
        return {"classes": self.classes, "tasks": tasks, "features": self.features}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.features = structure["features"]
        self._set_classes(list(structure["classes"]))
        self.tasks = {task: list(labels) for task, labels in structure["tasks"]}


class LinearHead(Head):
    """One linear map; the row of a new class starts as torch's own linear layer would start it.

    Example
    -------
    >>> head = LinearHead(4)
    >>> head.grow([7, 3])
    >>> head(torch.zeros(2, 4)).shape, head.columns(torch.tensor([3, 7, 1])).tolist()
    (torch.Size([2, 2]), [1, 0, -1])
    """

    def __init__(self, features: int, outputs: int = 0, seed: int = 0) -> None:
        super().__init__(features, outputs, seed)
        self.weight = nn.Parameter(torch.empty(0, features))
        self.bias = nn.Parameter(torch.empty(0))
        if outputs:
            self.widen(0, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, self.weight, self.bias)

    def extend(self, width: int) -> None:
        """Read `width` more features behind the present ones; what is new starts as a new layer would."""
        bound = 1 / math.sqrt(self.features + width)
        draw = generator(self.seed, "head features", self.features, len(self.weight))
        more = torch.empty(len(self.weight), width).uniform_(-bound, bound, generator=draw)
        self.weight = nn.Parameter(torch.cat([self.weight.data, more.to(self.weight.device, self.weight.dtype)], 1))
        self.features += width

    def reset(self, *purpose: str | int) -> None:
        """Draw every weight anew, as a new layer would start."""
        bound = 1 / math.sqrt(self.features)
        draw = generator(self.seed, "head reset", *purpose)
        with torch.no_grad():
            for parameter in (self.weight, self.bias):
                parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=draw))

    def widen(self, old: int, new: int) -> None:
        bound = 1 / math.sqrt(self.features)
        draw = generator(self.seed, "head", old)
        rows = torch.empty(new - old, self.features).uniform_(-bound, bound, generator=draw)
        offsets = torch.empty(new - old).uniform_(-bound, bound, generator=draw)
        self.weight = extended(self.weight, rows)
        self.bias = extended(self.bias, offsets)


class CosineHead(Head):
    """Cosine similarity between features and class vectors, times a learned scale.

    Source: Hou et al., Learning a Unified Classifier Incrementally via Rebalancing, 2019.
    """

    def __init__(self, features: int, outputs: int = 0, seed: int = 0, scale: float = 10.0) -> None:
        if outputs:
            raise UsageError("a cosine head was asked for regression: use a linear head")
        super().__init__(features, outputs, seed)
        self.weight = nn.Parameter(torch.empty(0, features))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, features: Tensor) -> Tensor:
        normalize = nn.functional.normalize
        return self.scale * nn.functional.linear(normalize(features, dim=1), normalize(self.weight, dim=1))

    def widen(self, old: int, new: int) -> None:
        draw = generator(self.seed, "head", old)
        rows = torch.randn(new - old, self.features, generator=draw) / math.sqrt(self.features)
        self.weight = extended(self.weight, rows)


def extended(parameter: nn.Parameter, rows: Tensor) -> nn.Parameter:
    """A parameter with further rows behind its own."""
    return nn.Parameter(torch.cat([parameter.data, rows.to(parameter.device, parameter.dtype)]))
