"""What a language model of the library's own follows from: enough to train it again, and to know where it lies."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from remanence.cache import cache_folder
from remanence.errors import StateError

FORMAT = 1
"""Raised when the same recipe would give another model (its kinds of text changed, say), so that it is trained anew."""

CONFIGURATION = "config.json"
"""Written last: the folder that has it holds a whole model."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """All that a small language model follows from.

    Parameters
    ----------
    name:
        What it is called.
    stages:
        Pairs of a text length and the number of updates at it, from short to long.
    tokens:
        In one update.
    mix:
        The share of each kind of text (see `remanence.models.reading_matter`).
    rate, warm_up, decay:
        The largest learning rate (it falls along a cosine to a twentieth), the updates in which it rises, and the
        weight decay.
    seed:
        From which weights and texts are drawn.
    """

    kind: ClassVar[str]
    """What kind of model it is; of each kind there is one way in which a folder is written."""

    name: str
    stages: tuple[tuple[int, int], ...]
    tokens: int
    mix: dict[str, float] = field(
        default_factory=lambda: {"shakespeare": 0.35, "planted": 0.4, "pairs": 0.2, "copy": 0.05}
    )
    rate: float = 2e-3
    warm_up: int = 20
    decay: float = 0.05
    seed: int = 0

    @property
    def updates(self) -> int:
        """How many updates there are in all."""
        return sum(count for _, count in self.stages)

    @property
    def folder(self) -> Path:
        """Where the model lies in the library's cache; another recipe has another place."""
        told = json.dumps({"format": FORMAT, "kind": self.kind, **asdict(self)}, sort_keys=True)
        return cache_folder() / "models" / f"{self.name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @property
    def ready(self) -> bool:
        """Whether the trained model lies there."""
        return (self.folder / CONFIGURATION).exists()

    def check_ready(self) -> None:
        """Raise a `StateError` where the model has not been prepared."""
        if not self.ready:
            raise StateError(
                f"{self.name} has not been trained on this machine yet: run `remanence prepare {self.name}`"
            )

    @abstractmethod
    def build(self) -> nn.Module:
        """The model as its training begins, its weights drawn from the seed."""

    @abstractmethod
    def scores(self, model: nn.Module, tokens: Tensor) -> Tensor:
        """Its scores (rows, length, vocabulary) of what follows each of ``tokens`` (rows, length)."""

    @abstractmethod
    def kept(self, model: nn.Module) -> tuple[dict[str, Tensor], str]:
        """The weights of a trained model by name, and its configuration as JSON."""

    @abstractmethod
    def load(self) -> nn.Module:
        """The trained model, in evaluation mode.

        Raises
        ------
        StateError
            If it has not been prepared.
        """

    @property
    @abstractmethod
    def longest(self) -> int:
        """Of the texts that it reads at once, in tokens."""
