"""A composed name such as ``er+fpf``, resolved once and handed down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remanence.errors import UsageError, nearest
from remanence.registry import System, get, names
from remanence.runner import Runner, Small
from remanence.training import Training


@dataclass(frozen=True)
class Composition:
    """Systems that are run together, in the order in which they were named.

    Example
    -------
    >>> composed = compose("er+fpf")
    >>> [card.name for card in composed.systems], composed.runner.kind
    (['er', 'fpf'], 'part')
    """

    name: str
    systems: tuple[System, ...]

    @property
    def runner(self) -> Runner:
        """What builds them together."""
        return self.systems[0].runner

    @property
    def needs(self) -> frozenset[str]:
        """What a stream must disclose to any of them."""
        return frozenset().union(*(card.needs for card in self.systems))

    @property
    def reference(self) -> bool:
        """Whether it stands outside any budget."""
        return any(card.reference for card in self.systems)

    @property
    def training_settings_used(self) -> frozenset[str] | None:
        """The training settings that mean something to one of them, None for all."""
        used = [card.training_settings_used for card in self.systems]
        return None if None in used else frozenset().union(*filter(None, used))

    def split_settings(self, given: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Sort settings into hyperparameters by system and training settings.

        A key that several systems know goes to all of them.

        Raises
        ------
        UsageError
            If nobody knows a key.
        """
        known = {card.name: {h.name for h in card.hyperparameters} for card in self.systems}
        mine: dict[str, dict[str, Any]] = {name: {} for name in known}
        training: dict[str, Any] = {}
        for key, value in given.items():
            owners = [name for name, own in known.items() if key in own]
            for name in owners:
                mine[name][key] = value
            if not owners:
                if key not in Training.model_fields:
                    used = self.training_settings_used
                    every = set().union(*known.values(), Training.model_fields if used is None else used)
                    raise UsageError(f"{self.name} has no hyperparameter {key!r}: {nearest(key, every)}")
                training[key] = value
        return mine, training

    def check(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise a `UsageError` if one of them cannot have the settings under its name."""
        for card in self.systems:
            card.check(settings.get(card.name, {}))

    def small(self, folder: Path) -> Small:
        """A run that takes seconds, for the contract tests; models that it needs are kept in the folder."""
        return self.runner.small(self.systems, folder)


def compose(name: str) -> Composition:
    """The systems that a composed name lists; where there are several, all must compose.

    Raises
    ------
    UsageError
        If one is unknown, runs on no stream, or cannot be combined.
    """
    if not isinstance(name, str):
        raise UsageError(f"{name!r} is no name of a system: give one, or several joined by +, as in 'er+fpf'")
    found = tuple(get(part) for part in names(name))
    still = next((card for card in found if not card.runs_on_streams), None)
    if still is not None:
        claimed = f", and run its claim with 'remanence prove {still.name}'" if still.baseline else ""
        raise UsageError(
            f"{still.name!r} learns from no stream: see what it does with 'remanence show {still.name}'{claimed}"
        )
    if len(found) > 1:
        _check_together(name, found)
    return Composition(name, found)


def _check_together(name: str, cards: Sequence[System]) -> None:
    whole = next((card.name for card in cards if not card.runner.composes), None)
    if whole is not None:
        raise UsageError(f"{whole!r} has no trainer to add parts to, and cannot be combined as {name!r}: run it alone")
    other = next((card for card in cards if card.runner is not cards[0].runner), None)
    if other is not None:
        raise UsageError(
            f"{cards[0].name!r} is a {cards[0].runner.kind} and {other.name!r} a {other.runner.kind}, which do not go "
            f"together as {name!r}: run them one by one"
        )
    if len({card.name for card in cards}) < len(cards):
        raise UsageError(f"{name!r} names a system twice: name each once")
