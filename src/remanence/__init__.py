"""Remanence: lifelong memory for models and agents.

Names are loaded when they are first used, so that importing the package, or asking the command for
help, loads neither torch nor pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from remanence.version import __version__

_WHERE = {
    "make": "remanence.factory:make",
    "load": "remanence.factory:load",
    "Learner": "remanence.learner:Learner",
    "Update": "remanence.update:Update",
    "Answer": "remanence.answer:Answer",
    "Request": "remanence.request:Request",
    "Receipt": "remanence.request:Receipt",
    "Footprint": "remanence.footprint:Footprint",
    "Trainer": "remanence.weights.trainer:Trainer",
    "Part": "remanence.weights.part:Part",
    "Model": "remanence.models.model:Model",
    "system": "remanence.registry:system",
    "Paper": "remanence.registry:Paper",
    "run": "remanence.arena:run",
    "compare": "remanence.arena:compare",
    "attach": "remanence.weights.attach:attach",
    "streams": "remanence.streams",
    "registry": "remanence.registry",
    "factory": "remanence.factory",
    "models": "remanence.models",
    "store": "remanence.store",
    "context": "remanence.context",
    "errors": "remanence.errors",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'remanence' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    loaded = importlib.import_module(module)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from remanence import context, errors, factory, models, registry, store, streams
    from remanence.answer import Answer
    from remanence.arena import compare, run
    from remanence.factory import load, make
    from remanence.footprint import Footprint
    from remanence.learner import Learner
    from remanence.models.model import Model
    from remanence.registry import Paper, system
    from remanence.request import Receipt, Request
    from remanence.update import Update
    from remanence.weights.attach import attach
    from remanence.weights.part import Part
    from remanence.weights.trainer import Trainer
