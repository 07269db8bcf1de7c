"""Learners by name, from recipes, and from files: it asks the runner, and knows no kind."""

from __future__ import annotations

import math
import os
from typing import Any, cast

from torch import nn

from remanence.composition import Composition, compose
from remanence.errors import NeedsError, StateError, UsageError
from remanence.footprint import parse_bytes
from remanence.learner import Learner
from remanence.recipe import Recipe
from remanence.registry import System
from remanence.state import read_structure
from remanence.training import Training


def make(
    name: str,
    stream: Any,
    *,
    model: str | nn.Module | None = None,
    seed: int = 0,
    budget: int | str | None = None,
    **settings: Any,
) -> Learner:
    """Build a learner by name for a stream.

    Parameters
    ----------
    name:
        A system, or several joined by ``+``: ``"er"``, ``"er+fpf"``.
    stream:
        The stream it will learn: its shape, task and default settings are read.
    model:
        The name of a network, a module of your own, or None for the stream's default.
    seed:
        From which every random number is derived.
    budget:
        The largest footprint: a number of bytes, or ``"200KB"``.
    **settings:
        Hyperparameters of the system and training settings, by name.

    Raises
    ------
    UsageError
        If a name is unknown or a value out of range.
    NeedsError
        If the learner needs what the stream hides.

    Example
    -------
    >>> import remanence as rm
    >>> rm.make("er", rm.streams.split("digits", experiences=5), size=20, lr=0.1).parts[0].memory.size
    20
    """
    size = None if budget is None else parse_bytes(budget)
    composed = compose(name)
    recipe = recipe_for(composed, stream, model=model, seed=seed, budget=size, settings=settings)
    made = build(recipe, model if isinstance(model, nn.Module) else None, composed)
    refuse_unmet(name, made.needs, stream)
    return made


def recipe_for(
    name: str | Composition,
    stream: Any,
    *,
    model: str | nn.Module | None = None,
    seed: int = 0,
    budget: int | None = None,
    settings: dict[str, Any] | None = None,
) -> Recipe:
    """The recipe of a learner by name: what was given, then what the system's card and the stream suggest.

    With a budget, a suggested memory size gives way to what the budget holds; a given one stays.
    """
    composed = name if isinstance(name, Composition) else compose(name)
    require_stream(stream)
    if not isinstance(seed, int):
        raise UsageError(f"the seed is {seed!r}, expected a whole number")
    suggested = dict(stream.defaults or {})
    network = suggested.pop("model", "mlp:100,100")
    known = {h.name for card in composed.systems for h in card.hyperparameters} | set(Training.model_fields)
    if budget is not None:
        suggested.pop("size", None)
    merged = {key: value for key, value in suggested.items() if key in known}
    source = (stream.recipe or {}).get("source", "")
    for card in composed.systems:
        merged |= card.training | card.training_by_source.get(source, {})
    mine, training = composed.split_settings({**merged, **(settings or {})})
    Training.read(training)
    if isinstance(model, nn.Module):
        network = "own"
    elif model is not None:
        network = model
    return Recipe(composed.name, mine, network, training, tuple(stream.shape), tuple(stream.task), seed, budget)


def build(recipe: Recipe, model: nn.Module | None = None, composed: Composition | None = None) -> Learner:
    """Build a learner from its recipe.

    Parameters
    ----------
    recipe:
        System, settings, model, training, shape, task and seed.
    model:
        The user's module, for a recipe whose `model` is ``"own"``.
    composed:
        The systems that the recipe names, where they are known already.

    Raises
    ------
    UsageError
        If the recipe's task is none of theirs.
    StateError
        If the recipe was made around a module, and none was given.
    """
    composed = composed or compose(recipe.system)
    kind = recipe.task[0]
    for card in composed.systems:
        if kind not in card.tasks:
            able = ", ".join(sorted(card.tasks))
            raise UsageError(f"{card.name} does {able}, and the stream asks for {kind}: choose another learner")
    if recipe.model == "own" and model is None:
        raise StateError("the learner was built around a module of your own: hand one over as model=…")
    builds = composed.runner.build
    if builds is None:
        raise UsageError(f"{composed.name!r} learns from no stream: run its experiment instead")
    settings = [_sized(card, recipe) for card in composed.systems]
    return cast(Learner, builds(recipe, composed.systems, settings, model)).built_from(recipe, build)


def _sized(card: System, recipe: Recipe) -> dict[str, Any]:
    """A system's settings; a memory whose size nobody gave starts as large as the budget could hold."""
    settings = dict(recipe.settings.get(card.name, {}))
    if (
        recipe.budget is not None
        and card.runner.sized
        and "size" not in settings
        and "size" in {h.name for h in card.hyperparameters}
    ):
        settings["size"] = max(1, recipe.budget // max(1, math.prod(recipe.shape)))
    return settings


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Learner:
    """Load a learner saved by `Learner.save` (or a checkpoint of a run), ready to predict and to go on.

    Parameters
    ----------
    path:
        The file.
    model:
        The user's own module, if the learner was built around one; its weights are replaced.

    Raises
    ------
    StateError
        If the file is missing, truncated or foreign, or needs a `model` that was not given.

    Example
    -------
    >>> import remanence as rm, tempfile, os
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("ncm", stream)
    >>> path = os.path.join(tempfile.mkdtemp(), "memory.safetensors")
    >>> learner.learn(next(stream.experiences())).save(path)
    >>> bool((rm.load(path).predict(stream.tests[0].x).labels == learner.predict(stream.tests[0].x).labels).all())
    True
    """
    recipe = read_structure(path).get("recipe")
    if not recipe:
        raise StateError(f"{path} holds no recipe: build the learner by hand and call its load_state")
    learner = build(Recipe.from_dict(recipe), model=model)
    learner.load_state(path)
    return learner


def require_stream(stream: Any) -> None:
    """Raise a `UsageError` if this is not a stream."""
    if not hasattr(stream, "disclosure"):
        raise UsageError(
            f"a {type(stream).__name__} was given as the stream: make one, for example with "
            "remanence.streams.split('digits') or remanence.streams.tensors(x, y)"
        )


def refuse_unmet(name: str, needs: frozenset[str], stream: Any) -> None:
    """Raise a `NeedsError` naming both if the stream hides what the learner needs."""
    hidden = sorted(needs - stream.disclosure.disclosed())
    if hidden:
        raise NeedsError(
            f"{name} needs {' and '.join(hidden)}, which the stream {stream.name} does not disclose: "
            "choose another learner or another scenario"
        )
