"""Systems by name: one list that drives the command line, tests, docs, claims and benchmarks."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from remanence.errors import UsageError, nearest
from remanence.hyperparameters import Hyperparameter, hyperparameters
from remanence.runner import Runner

PLACES = ("weights", "context", "store")
GROUP = "remanence.systems"
"""The entry points by which other distributions name their systems, ``name = "module:Class"``."""
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

    Parameters
    ----------
    name:
        By which it is known everywhere.
    factory:
        Its class, whose attribute `runner` says of what kind it is.
    paper:
        Where it was published; None for a baseline.
    place:
        Where it remembers: ``weights``, ``context`` or ``store``.
    baseline:
        What its paper says it surpasses.
    training, training_by_source:
        Training settings that a search found for it on MNIST, and on other sources by name.
    tuning_note:
        How they were found.
    variant:
        Which of several published forms the defaults run.
    host:
        A system that it must be combined with, where it is a plug-in.
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
        """The folder it lives in, ``weights/replay``; of another distribution, its module."""
        first, *path = self.factory.__module__.split(".")
        return "/".join(path[:-1]) if first == "remanence" else self.factory.__module__

    @property
    def composed_name(self) -> str:
        """The name to run it by: itself, or behind its host."""
        return f"{self.host}+{self.name}" if self.host else self.name

    @property
    def runner(self) -> Runner:
        """What builds, checks and shows it: named by its base class, ``runner = "module:NAME"``."""
        module, _, name = self.factory.runner.partition(":")
        found: Runner = getattr(importlib.import_module(module), name)
        return found

    @property
    def runs_on_streams(self) -> bool:
        """Whether it runs on streams; an index or a map between encoders has an experiment of its own instead."""
        return self.runner.build is not None

    @property
    def needs(self) -> frozenset[str]:
        """What a stream must disclose to it."""
        return frozenset(getattr(self.factory, "needs", ()))

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks it can do."""
        return frozenset(getattr(self.factory, "tasks", ()))

    @property
    def reference(self) -> bool:
        """Whether it stands outside any budget, as joint training does."""
        return bool(getattr(self.factory, "reference", False))

    @property
    def training_settings_used(self) -> frozenset[str] | None:
        """The training settings that mean something to it, None for all."""
        used: frozenset[str] | None = getattr(self.factory, "training_settings_used", None)
        return used

    @property
    def summary(self) -> str:
        """The first sentences of its file: what it remembers, where, what it costs."""
        return inspect.cleandoc(inspect.getmodule(self.factory).__doc__ or "")

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """Its own, and those that every system of its kind has."""
        return [h for one in (self.factory, *self.runner.shared) for h in hyperparameters(one)]

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used, without building any model."""
        self.runner.check(self, settings)


_SYSTEMS: dict[str, System] = {}


def system(name: str, **card: Any) -> Callable[[Kind], Kind]:
    """Register a class under a name.

    Parameters
    ----------
    name:
        By which it is known everywhere.
    **card:
        What else stands on its card, see `System`.

    Raises
    ------
    UsageError
        If the class names no runner, or another has the name already.
    """

    def register(factory: Kind) -> Kind:
        if not isinstance(getattr(factory, "runner", None), str):
            raise UsageError(
                f"{factory.__name__} names no runner, so that nobody can build {name!r}: derive it from a base class of "
                "remanence such as Part or Learner, or give it a class attribute runner = 'module:NAME'"
            )
        held = _SYSTEMS.get(name)
        if held is not None and _whence(held.factory) != _whence(factory):
            raise UsageError(f"{name!r} is registered for {_whence(held.factory)} already: choose another name")
        _SYSTEMS[name] = System(name, factory, **card)
        return factory

    return register


def withdraw(name: str) -> None:
    """Take a system off the list again, so that another may have its name; for those that are there for a while.

    Raises
    ------
    UsageError
        If there is none of this name.
    """
    if name not in _SYSTEMS:
        raise UsageError(f"there is no system {name!r} to withdraw: {nearest(name, _SYSTEMS)}")
    del _SYSTEMS[name]


def _whence(factory: type) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"


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


def outside() -> dict[str, str]:
    """The systems that other distributions name and nobody has loaded yet, each with the name of its distribution."""
    return {name: _owner(entry) for name, entry in _advertised().items() if name not in _SYSTEMS}


def _advertised() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def get(name: str) -> System:
    """The card of one system; one of another distribution is loaded when it is asked for.

    Raises
    ------
    UsageError
        If there is none of that name, or it cannot be loaded.
    """
    known = all_systems()
    if name not in known:
        named = _advertised()
        if name not in named:
            raise UsageError(f"there is no system {name!r}: {nearest(name, [*known, *named])}")
        _load_outside(named[name])
        known = all_systems()
    return known[name]


def _load_outside(entry: EntryPoint) -> None:
    owner = _owner(entry)
    try:
        entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{entry.name!r} of {owner} cannot be loaded ({error}): install it again, or ask its makers"
        ) from error
    if entry.name not in _SYSTEMS:
        raise UsageError(
            f"{owner} names {entry.name!r}, but {entry.value} registers no system of that name: ask its makers"
        )


def names(composed: str) -> list[str]:
    """The systems that a composed name lists; a name of its own may end in pluses.

    >>> names("der+++fpf")
    ['der++', 'fpf']
    """
    return re.split(r"\+(?=[^+])", composed)
