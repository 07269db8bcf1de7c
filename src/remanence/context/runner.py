"""How cache policies and memory layers are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from remanence.context.cache_settings import CacheSettings, split_settings
from remanence.context.learner import CacheLearner
from remanence.context.recurrent.learner import LayerSettings, RecurrentLearner, language_model_for
from remanence.context.recurrent.small import small_recurrent_model
from remanence.models.small import TALK, small_language_model
from remanence.recipe import Recipe
from remanence.runner import Card, Runner, Small, settings_of


def _cached(
    recipe: Recipe, cards: Sequence[Card], settings: Sequence[Mapping[str, Any]], model: nn.Module | None
) -> CacheLearner:
    own, kept = split_settings(dict(settings[0]))
    return CacheLearner(recipe.system, own, CacheSettings(**kept), budget=recipe.budget, seed=recipe.seed)


def _check_policy(card: Card, settings: Mapping[str, Any]) -> None:
    own, kept = split_settings(dict(settings))
    card.factory(**own)
    CacheSettings(**kept)


def _small_policy(cards: Sequence[Card], folder: Path) -> Small:
    return Small(TALK, {**settings_of(cards, {}), "language_model": small_language_model(folder)})


def _layer(
    recipe: Recipe, cards: Sequence[Card], settings: Sequence[Mapping[str, Any]], model: nn.Module | None
) -> RecurrentLearner:
    name = recipe.system
    return RecurrentLearner(name, language_model_for(name, dict(settings[0])), budget=recipe.budget, seed=recipe.seed)


def _check_layer(card: Card, settings: Mapping[str, Any]) -> None:
    language_model_for(card.name, dict(settings))


def _small_layer(cards: Sequence[Card], folder: Path) -> Small:
    # A layer's own hyperparameters were settled when the model around it was made
    return Small(TALK, {"language_model": small_recurrent_model(cards[0].name, folder)})


POLICY = Runner(
    "cache policy",
    _cached,
    check=_check_policy,
    shared=(CacheSettings,),
    hooks=("score", "merge", "on_attention", "on_logits", "on_forward_end"),
    small=_small_policy,
)
"""Of what a cache keeps, inside a `CacheLearner`."""

LAYER = Runner(
    "memory layer",
    _layer,
    check=_check_layer,
    shared=(LayerSettings,),
    sized=False,
    hooks=("initial", "forward"),
    small=_small_layer,
)
"""Of memory layers, inside a `RecurrentLearner`."""
