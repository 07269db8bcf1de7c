"""Systems by name: one list that drives the command line, tests, docs, claims and benchmarks."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from remanence.errors import NeedsError, StateError, UsageError, nearest
from remanence.footprint import parse_bytes
from remanence.hyperparameters import Hyperparameter, hyperparameters

if TYPE_CHECKING:
    from torch import nn

    from remanence.learner import Learner, Recipe

PLACES = ("weights", "context", "store")
Kind = TypeVar("Kind", bound=type)


@dataclass(frozen=True)
class Paper:
    """A source: title, authors, year, arXiv number, and its id in the project's list of papers."""

    title: str
    authors: str
    year: int
    arxiv: str = ""
    id: int | None = None

    def __str__(self) -> str:
        where = f", arXiv:{self.arxiv}" if self.arxiv else ""
        return f"{self.authors}, {self.title}, {self.year}{where}"


@dataclass(frozen=True)
class System:
    """One system's card.

    `factory` is a `Learner` or a part of a trainer; `training` holds the training settings that a
    search found for it on MNIST, `training_by_source` those for other sources by name, `variant` says which of several published forms the defaults run, and `tuning_note`
    how the settings were found. `host` names a system that a plug-in must be combined with.
    """

    name: str
    factory: Any
    paper: Paper | None = None
    place: str = "weights"
    baseline: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    tuning_note: str = ""
    host: str = ""
    training_by_source: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def room(self) -> str:
        """The folder it lives in, ``weights/replay``."""
        return "/".join(self.factory.__module__.split(".")[1:-1])

    @property
    def composed_name(self) -> str:
        """The name to run it by: itself, or behind its host."""
        return f"{self.host}+{self.name}" if self.host else self.name

    @property
    def runs_on_streams(self) -> bool:
        """Whether it runs on streams; an index or a map between encoders has an experiment of its own instead."""
        return bool(self.tasks)

    @property
    def is_part(self) -> bool:
        within = self.is_memory or self.is_policy or self.is_layer
        return self.runs_on_streams and not within and not hasattr(self.factory, "steps")

    @property
    def is_memory(self) -> bool:
        """Whether it is a composition over the store, which runs on a stream inside a `TextMemory`."""
        return hasattr(self.factory, "manages")

    @property
    def is_policy(self) -> bool:
        """Whether it says what a cache keeps, and runs on a stream inside a `CacheLearner`."""
        return hasattr(self.factory, "score")

    @property
    def is_layer(self) -> bool:
        """Whether it is a memory layer, which runs on a stream inside a `RecurrentLearner`."""
        return hasattr(self.factory, "state_bytes")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(getattr(self.factory, "needs", ()))

    @property
    def tasks(self) -> frozenset[str]:
        return frozenset(getattr(self.factory, "tasks", ("classification", "regression")))

    @property
    def summary(self) -> str:
        """The first sentences of its file: what it remembers, where, what it costs."""
        return inspect.cleandoc(inspect.getmodule(self.factory).__doc__ or "")

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        known = hyperparameters(self.factory)
        if self.is_memory:
            from remanence.store.reading import Reading

            known += hyperparameters(Reading)
        if self.is_policy:
            from remanence.context.cache_settings import CacheSettings

            known += hyperparameters(CacheSettings)
        if self.is_layer:
            from remanence.context.recurrent.learner import LayerSettings

            known += hyperparameters(LayerSettings)
        return known

    def check(self, settings: dict[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used, without building any model."""
        if self.is_memory:
            from remanence.store.reading import Reading, parted

            own, reading = parted(settings)
            self.factory(**own)
            Reading(**reading)
        elif self.is_policy:
            from remanence.context.cache_settings import CacheSettings, split_settings

            own, kept = split_settings(settings)
            self.factory(**own)
            CacheSettings(**kept)
        elif self.is_layer:
            from remanence.context.recurrent.learner import language_model_for

            language_model_for(self.name, settings)
        elif self.is_part or not self.runs_on_streams:
            self.factory(**settings)
        else:
            self.factory.check(settings)


_SYSTEMS: dict[str, System] = {}


def system(name: str, **card: Any) -> Callable[[Kind], Kind]:
    """Register a `Learner` or a `Part` under a name; see `System` for what a card holds."""

    def register(factory: Kind) -> Kind:
        _SYSTEMS[name] = System(name, factory, **card)
        return factory

    return register


def all_systems() -> dict[str, System]:
    """Every system by name. Its file is found by lying in one of the rooms; nothing lists it."""
    for place in PLACES:
        _load(f"remanence.{place}")
    return dict(sorted(_SYSTEMS.items()))


@functools.cache
def _load(package: str) -> None:
    """Import every file of a package, once: looking through the folders again takes longer than building a learner."""
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        # What a store lies in holds no system, and needs a database's own packages
        if not found.name.startswith("remanence.store.database."):
            importlib.import_module(found.name)


def in_room(package: str) -> dict[str, System]:
    """The systems of one package by name, without loading the others."""
    _load(package)
    return {name: card for name, card in sorted(_SYSTEMS.items()) if card.factory.__module__.startswith(f"{package}.")}


def memories() -> dict[str, System]:
    """The text memories by name; torch is not loaded for it."""
    return in_room("remanence.store.memories")


def get(name: str) -> System:
    """The card of one system."""
    known = all_systems()
    if name not in known:
        raise UsageError(f"there is no system {name!r}: {nearest(name, known)}")
    return known[name]


def names(composed: str) -> list[str]:
    """The systems that a composed name lists; a name of its own may end in pluses.

    >>> names("der+++fpf")
    ['der++', 'fpf']
    """
    return re.split(r"\+(?=[^+])", composed)


def components(name: str) -> list[System]:
    """The systems that a composed name such as ``er+fpf`` lists; all but the first must be parts.

    Raises
    ------
    UsageError
        If one is unknown, runs on no stream, or cannot be combined.
    """
    found = [get(part) for part in names(name)]
    still = next((card for card in found if not card.runs_on_streams), None)
    if still is not None:
        claimed = f", and run its claim with 'remanence prove {still.name}'" if still.baseline else ""
        raise UsageError(
            f"{still.name!r} learns from no stream: see what it does with 'remanence show {still.name}'{claimed}"
        )
    if len(found) > 1:
        whole = next((card.name for card in found if not card.is_part), None)
        if whole is not None:
            raise UsageError(
                f"{whole!r} has no trainer to add parts to, and cannot be combined as {name!r}: run it alone"
            )
        if len({card.name for card in found}) < len(found):
            raise UsageError(f"{name!r} names a system twice: name each once")
    return found


def split_settings(name: str, given: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Sort settings into hyperparameters by component and training settings.

    A key that several components know goes to all of them.
    """
    from remanence.training import Training

    cards = components(name)
    mine: dict[str, dict[str, Any]] = {card.name: {} for card in cards}
    training: dict[str, Any] = {}
    for key, value in given.items():
        owners = [card for card in cards if key in {h.name for h in card.hyperparameters}]
        for card in owners:
            mine[card.name][key] = value
        if not owners:
            if key not in Training.model_fields:
                used = [getattr(card.factory, "training_settings_used", None) for card in cards]
                trained = set(Training.model_fields) if None in used else set().union(*filter(None, used))
                names = {h.name for card in cards for h in card.hyperparameters} | trained
                raise UsageError(f"{name} has no hyperparameter {key!r}: {nearest(key, names)}")
            training[key] = value
    return mine, training


def build(recipe: Recipe, model: nn.Module | None = None) -> Learner:
    """Build a learner from its recipe.

    Parameters
    ----------
    recipe:
        System, settings, model, training, shape, task and seed.
    model:
        The user's module, for a recipe whose `model` is ``"own"``.
    """
    from remanence.models import networks
    from remanence.weights.trainer import Trainer

    cards = components(recipe.system)
    kind = recipe.task[0]
    for card in cards:
        if kind not in card.tasks:
            able = ", ".join(sorted(card.tasks))
            raise UsageError(f"{card.name} does {able}, and the stream asks for {kind}: choose another learner")
    outputs = int(kind == "regression")
    if recipe.model == "own" and model is None:
        raise StateError("the learner was built around a module of your own: hand one over as model=…")
    settings = [_sized(card, recipe) for card in cards]
    learner: Learner
    if cards[0].is_memory:
        from remanence.store.learner import TextMemory

        learner = TextMemory.build(cards[0].factory, recipe, settings[0])
    elif cards[0].is_policy:
        from remanence.context.learner import CacheLearner

        learner = CacheLearner.build(recipe, settings[0])
    elif cards[0].is_layer:
        from remanence.context.recurrent.learner import RecurrentLearner

        learner = RecurrentLearner.build(recipe, settings[0])
    elif cards[0].is_part:
        network = (
            model
            if model is not None
            else networks.build(recipe.model, recipe.shape, outputs=outputs, seed=recipe.seed)
        )
        parts = [card.factory(**given) for card, given in zip(cards, settings, strict=True)]
        for part, card in zip(parts, cards, strict=True):
            if (
                recipe.budget is not None
                and "size" not in recipe.settings.get(card.name, {})
                and hasattr(part, "memory")
            ):
                part.memory.elastic = True
        learner = Trainer(network, parts, task=kind, budget=recipe.budget, seed=recipe.seed, **recipe.training)
    else:
        learner = cards[0].factory.build(recipe, settings[0], model, recipe.budget)
    learner.recipe = recipe
    return learner


def _sized(card: System, recipe: Recipe) -> dict[str, Any]:
    """A component's settings; a memory whose size nobody gave starts as large as the budget could hold."""
    settings = dict(recipe.settings.get(card.name, {}))
    if (
        recipe.budget is not None
        and not card.is_layer
        and "size" not in settings
        and "size" in {h.name for h in card.hyperparameters}
    ):
        settings["size"] = max(1, recipe.budget // max(1, math.prod(recipe.shape)))
    return settings


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
    from torch import nn

    size = None if budget is None else parse_bytes(budget)
    recipe = recipe_for(name, stream, model=model, seed=seed, budget=size, settings=settings)
    made = build(recipe, model if isinstance(model, nn.Module) else None)
    refuse_unmet(name, made.needs, stream)
    return made


def recipe_for(
    name: str,
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
    from torch import nn

    from remanence.learner import Recipe
    from remanence.training import Training

    if not isinstance(name, str):
        raise UsageError(f"{name!r} is no name of a system: give one, or several joined by +, as in 'er+fpf'")
    require_stream(stream)
    if not isinstance(seed, int):
        raise UsageError(f"the seed is {seed!r}, expected a whole number")
    cards = components(name)
    suggested = dict(stream.defaults or {})
    network = suggested.pop("model", "mlp:100,100")
    known = {h.name for card in cards for h in card.hyperparameters} | set(Training.model_fields)
    if budget is not None:
        suggested.pop("size", None)
    merged = {key: value for key, value in suggested.items() if key in known}
    source = (stream.recipe or {}).get("source", "")
    for card in cards:
        merged |= card.training | card.training_by_source.get(source, {})
    mine, training = split_settings(name, {**merged, **(settings or {})})
    Training.read(training)
    if isinstance(model, nn.Module):
        network = "own"
    elif model is not None:
        network = model
    return Recipe(name, mine, network, training, tuple(stream.shape), tuple(stream.task), seed, budget)


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
