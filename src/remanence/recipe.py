"""How to build a learner again, in names and numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remanence.errors import StateError


@dataclass(frozen=True)
class Recipe:
    """How to build a learner again in another process: names and numbers, no objects.

    `settings` holds the hyperparameters by system name; `model` is ``"own"`` for a module of the
    user's, which has to be handed over again when the learner is loaded.
    """

    system: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    task: tuple[str, str] = ("classification", "accuracy")
    seed: int = 0
    budget: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "shape": list(self.shape), "task": list(self.task)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        try:
            return cls(**{**data, "shape": tuple(data["shape"]), "task": tuple(data["task"])})
        except (TypeError, KeyError) as error:
            raise StateError(f"the recipe of the learner cannot be read ({error}): use an intact copy") from None
