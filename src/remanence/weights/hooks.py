"""The hooks of parts that act in updates and answers: which of them a part overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from remanence.weights.part import Part

HOOKS = (
    "before_batch",
    "rehearse",
    "augment",
    "objective",
    "loss",
    "lr_schedule",
    "on_gradient",
    "on_change",
    "after_step",
    "on_boundary",
    "after_growth",
    "on_scores",
)

Hooks = dict[str, list[Any]]
"""By the name of a hook, the methods of the parts that override it, in the order of the parts."""


def overrides(part: Part, hook: str) -> bool:
    """Whether a part says anything of its own in a hook."""
    return getattr(type(part), hook) is not getattr(Part, hook)


def overridden(parts: Sequence[Part]) -> Hooks:
    """The hooks that parts override: only these are called, so that plain training stays as fast as by hand."""
    return {hook: [getattr(part, hook) for part in parts if overrides(part, hook)] for hook in HOOKS}


def none_of(hooks: Hooks) -> Hooks:
    """The same hooks with nobody in them."""
    return {hook: [] for hook in hooks}
