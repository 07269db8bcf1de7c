"""How one kind of system is built, checked, shown and tested: what a base class names, so that nobody lists the kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from remanence.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from remanence.hyperparameters import Hyperparameter


class Card(Protocol):
    """What a runner reads of a system's card, see `remanence.registry.System`."""

    @property
    def name(self) -> str: ...
    @property
    def factory(self) -> Any: ...
    @property
    def tasks(self) -> frozenset[str]: ...
    @property
    def needs(self) -> frozenset[str]: ...
    @property
    def hyperparameters(self) -> Sequence[Hyperparameter]: ...


Build = Callable[[Recipe, Sequence[Card], Sequence[Mapping[str, Any]], "nn.Module | None"], Any]


@dataclass(frozen=True)
class Small:
    """A run that takes seconds, on which the contract of a system is tested.

    Parameters
    ----------
    stream:
        The recipe of its stream, as `remanence.streams.build` takes it.
    settings:
        Hyperparameters and training settings, as `remanence.make` takes them.
    model:
        The network, where the kind has one.
    """

    stream: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    model: str | None = None


def settings_of(cards: Sequence[Card], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The usual small settings that systems have, and over them those that each names itself (`small`)."""
    known = {h.name for card in cards for h in card.hyperparameters}
    settings = {name: value for name, value in usual.items() if name in known}
    for card in cards:
        settings |= getattr(card.factory, "small", {})
    return settings


def small_digits(cards: Sequence[Card], folder: Path) -> Small:
    """Digits, 150 of two classes an experience, with a network of one layer unless a system names another."""
    needs = {need for card in cards for need in card.needs}
    split: dict[str, Any] = {"experiences": 5}
    if {"task ids", "task ids at test time"} & needs:
        split["task_ids"] = True
    settings = {"lr": 0.1, **settings_of(cards, {"size": 30, "buffer": 40})}
    model = settings.pop("model", "mlp:24")
    stream = settings.pop("stream", {"source": "digits", "scenarios": [["split", split], ["limit", {"examples": 150}]]})
    return Small(stream, settings, model)


def _checked(card: Card, settings: Mapping[str, Any]) -> None:
    card.factory(**settings)


def _nothing(card: Card) -> list[tuple[str, str]]:
    return []


@dataclass(frozen=True)
class Runner:
    """One kind of system.

    A base class names its runner in a class attribute, ``runner = "module:NAME"``, which is looked up when a system of
    that kind is built, checked or shown. So a new kind is a new room with a runner of its own, and needs no edit
    elsewhere.

    Parameters
    ----------
    kind:
        What such a system is called in messages: ``"part"``.
    build:
        Recipe, cards, their settings (one mapping for each card) and the user's module, if any, to a `Learner`; None
        for what runs on no stream.
    check:
        Raises a `UsageError` where a system cannot have these settings; builds no model.
    shared:
        Constructors whose annotated hyperparameters every system of the kind has besides its own.
    composes:
        Whether several are joined by ``+`` into one learner.
    sized:
        Whether the hyperparameter ``size``, where nobody gave it, follows from a budget.
    hooks:
        Functions of the base class that a system may have of its own. Those it has must be reached while it learns and
        is asked on its small stream: the contract tests look.
    facts:
        Further rows for `remanence show`.
    small:
        A small run for the contract tests: of systems that are run together, with a folder in which models may be kept
        that it has to make first. A system has its say by a class attribute ``small``, a mapping of settings and, under
        ``model`` and ``stream``, a network and the recipe of a stream.

    Example
    -------
    >>> import remanence as rm
    >>> card = rm.registry.get("er")
    >>> card.runner.kind, card.runner.composes
    ('part', True)
    """

    kind: str
    build: Build | None
    check: Callable[[Card, Mapping[str, Any]], None] = _checked
    shared: tuple[Callable[..., Any], ...] = ()
    composes: bool = False
    sized: bool = True
    hooks: tuple[str, ...] = ()
    facts: Callable[[Card], list[tuple[str, str]]] = _nothing
    small: Callable[[Sequence[Card], Path], Small] = small_digits


def _built(
    recipe: Recipe, cards: Sequence[Card], settings: Sequence[Mapping[str, Any]], model: nn.Module | None
) -> Any:
    return cards[0].factory.build(recipe, dict(settings[0]), model, recipe.budget)


def _check(card: Card, settings: Mapping[str, Any]) -> None:
    card.factory.check(dict(settings))


LEARNER = Runner("learner", _built, check=_check)
"""Of learners, which build and check themselves."""

UNSTREAMED = Runner("system that runs on no stream", None)
"""Of indexes, maps between encoders and the like, which have an experiment of their own instead."""
