"""Settings of gradient training, as flags, keys of a configuration and keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from remanence import schedules
from remanence.errors import UsageError, nearest
from remanence.hyperparameters import first_problem

if TYPE_CHECKING:
    import torch


class Training(BaseModel):
    """How a learner is trained.

    Example
    -------
    >>> Training.read({"lr": 0.1, "epochs": 2}).lr
    0.1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="which optimizer")
    lr: float = Field(0.03, gt=0, description="learning rate")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(0.0, ge=0, description="decay of the weights per step")
    schedule: str = Field(
        "constant", description="learning rate within an experience: constant, cosine, linear, milestones:0.5,0.8"
    )
    epochs: int = Field(1, ge=1, description="passes over each experience")
    batch_size: int = Field(10, ge=1, description="new examples per update")
    device: str = Field("cpu", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$", description="where to compute")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="precision of the forward pass")

    @field_validator("schedule")
    @classmethod
    def _is_a_schedule(cls, name: str) -> str:
        schedules.named(name)
        return name

    @classmethod
    def read(cls, given: dict[str, Any]) -> Training:
        """Check settings by name; the first problem is raised as one sentence."""
        for name in given:
            if name not in cls.model_fields:
                raise UsageError(f"there is no training setting {name!r}: {nearest(name, cls.model_fields)}")
        try:
            return cls(**given)
        except ValidationError as error:
            raise UsageError(f"training setting {first_problem(error)}") from None


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes the fastest there is.

    Raises
    ------
    UsageError
        If the device is not present.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, here in available.items() if here))
    if not available[name.split(":")[0]]:
        raise UsageError(f"the device {name!r} is not available here: use --device auto or cpu")
    return torch.device(name)
