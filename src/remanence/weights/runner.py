"""How parts of a trainer are run, and learners around a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from remanence.models import networks
from remanence.models.small import TALK, small_language_model
from remanence.recipe import Recipe
from remanence.runner import LEARNER, Card, Runner, Small, settings_of
from remanence.weights.trainer import Trainer


def _trainer(
    recipe: Recipe, cards: Sequence[Card], settings: Sequence[Mapping[str, Any]], model: nn.Module | None
) -> Trainer:
    kind = recipe.task[0]
    if model is None:
        model = networks.build(recipe.model, recipe.shape, outputs=int(kind == "regression"), seed=recipe.seed)
    parts = [card.factory(**given) for card, given in zip(cards, settings, strict=True)]
    for part, card in zip(parts, cards, strict=True):
        chosen_by_budget = recipe.budget is not None and "size" not in recipe.settings.get(card.name, {})
        if chosen_by_budget and hasattr(part, "memory"):
            part.memory.elastic = True
    return Trainer(
        model, parts, task=kind, budget=recipe.budget, seed=recipe.seed, shape=recipe.shape, **recipe.training
    )


def _small(cards: Sequence[Card], folder: Path) -> Small:
    return Small(TALK, {**settings_of(cards, {}), "lr": 0.05, "language_model": small_language_model(folder)})


_HOOKS = (
    "setup",
    "before_experience",
    "after_growth",
    "batch_sampler",
    "before_batch",
    "rehearse",
    "augment",
    "objective",
    "loss",
    "on_gradient",
    "on_change",
    "after_step",
    "on_boundary",
    "after_experience",
    "lr_multiplier",
    "on_scores",
)

PART = Runner("part", _trainer, composes=True, hooks=_HOOKS)
"""Of parts, which are listed in one trainer."""

READER = replace(LEARNER, small=_small)
"""Of learners that train a language model."""
