"""Empty stand-ins for packages that a peer imports and this comparison does not use.

Avalanche imports torchvision and some others at its top for datasets, transforms, loggers and solvers.
No build of torchvision goes with every build of torch, and none of it takes part in training or in
evaluation on tensors in memory.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Any

NAMES = ("torchvision", "torchaudio", "torchmetrics", "pytorchcv", "wandb", "gdown", "GPUtil", "qpsolvers")


class _Anything(types.ModuleType):
    """A module in which every name is an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__init__": lambda self, *given, **named: None, "__call__": lambda self, x: x})
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the packages in `NAMES`, and whatever lies below them, where they are not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in NAMES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Put the finder last, so that what is installed is found first."""
    sys.meta_path.append(Finder())
    sys.modules["torch.utils.tensorboard"] = _Anything("torch.utils.tensorboard")
