"""Memory in activations: caches that hold less, and layers that hold on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "cache": "remanence.context.caches.factory:cache",
    "reopen": "remanence.context.caches.factory:reopen",
    "policies": "remanence.context.caches.factory:policies",
    "Policy": "remanence.context.caches.policy:Policy",
    "MemoryLayer": "remanence.context.layers.layer:MemoryLayer",
    "tree": "remanence.context.tree",
}

__all__ = ["MemoryLayer", "Policy", "cache", "policies", "reopen", "tree"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'remanence.context' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


if TYPE_CHECKING:
    from remanence.context import tree
    from remanence.context.caches.factory import cache, policies, reopen
    from remanence.context.caches.policy import Policy
    from remanence.context.layers.layer import MemoryLayer
