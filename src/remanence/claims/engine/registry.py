"""Every claim by the name of its system, and what can be checked about one before anything is run."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

from remanence import registry
from remanence.arena.axes import points
from remanence.arena.job import COUNTS
from remanence.arena.metrics import summarise
from remanence.arena.trials import system_of
from remanence.claims import experiments
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.results import stem
from remanence.composition import compose
from remanence.errors import UsageError, nearest
from remanence.footprint import parse_bytes
from remanence.models import networks
from remanence.streams.scenarios import find
from remanence.streams.sources import known

OWN = frozenset({"model", "limit"})
"""Settings of a claim's `training` that are not a learner's."""
METRICS = frozenset(summarise([[0.0]])) | {"online_accuracy", "bytes", "seconds", *COUNTS}


@functools.cache
def claims() -> dict[str, Claim | Experiment]:
    """Every claim by the name of its system; each lies in a file of its own, in the room of its system.

    Raises
    ------
    UsageError
        If two claims are about one system.
    """
    found: dict[str, Claim | Experiment] = {}
    for module in pkgutil.walk_packages(experiments.__path__, f"{experiments.__name__}."):
        claim = getattr(importlib.import_module(module.name), "CLAIM", None)
        if isinstance(claim, Claim | Experiment):
            if claim.name in found:
                raise UsageError(f"two claims are about {claim.name!r}: keep one")
            found[claim.name] = claim
    return dict(sorted(found.items()))


def get(name: str) -> Claim | Experiment:
    """The claim of one system."""
    claim = claim_about(name)
    if claim is None:
        raise UsageError(f"there is no claim about {name!r}: {nearest(name, claims())}")
    return claim


def claim_about(name: str) -> Claim | Experiment | None:
    """The claim of one system, None where there is none; no other system's is imported."""
    card = registry.all_systems().get(name)
    if card is None:
        return None
    module = ".".join([experiments.__name__, *card.room.split("/"), stem(name)])
    try:
        claim = getattr(importlib.import_module(module), "CLAIM", None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        return None
    return claim if isinstance(claim, Claim | Experiment) else None


def check(claim: Claim | Experiment) -> None:
    """Raise a `UsageError` for whatever of a claim could not be run as it is written.

    Learners, their settings and grids, scenarios with their options, the metric, the budget and the
    number of seeds are looked at; no data is loaded.
    """
    about = f"the claim about {claim.name}"
    if claim.seeds < 5:
        raise UsageError(f"{about} asks for {claim.seeds} seeds: ask for 5 or more")
    if isinstance(claim, Claim):
        _check_comparison(claim, about)
    _check_sides(claim, about)
    if isinstance(claim, Experiment):
        _check_measure(claim, about)
    else:
        for label in claim.labels:
            _check_learner(claim, label)


def _check_comparison(claim: Claim, about: str) -> None:
    if claim.metric not in METRICS:
        raise UsageError(f"{about} is about the metric {claim.metric!r}: {nearest(claim.metric, METRICS)}")
    if claim.budget is not None:
        parse_bytes(claim.budget)
    if claim.training.get("model") is not None:
        networks.check(claim.training["model"])
    _check_stream(claim, about)


def _check_sides(claim: Claim | Experiment, about: str) -> None:
    labels = claim.labels
    if claim.system == claim.baseline:
        raise UsageError(f"{about} compares it with itself: tell the two apart as '{claim.name}#one'")
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"{about} names {label!r} twice: tell the two apart by what follows '#'")
    for label in {*claim.settings, *claim.search} - set(labels):
        raise UsageError(f"{about} sets something for {label!r}: {nearest(label, labels)}")
    sizes = {label: len(points(claim.search.get(label, {}))) for label in labels[:2]}
    if len(set(sizes.values())) > 1 and claim.search.get(claim.system):
        told = " and ".join(f"{size} points for {label}" for label, size in sizes.items())
        raise UsageError(f"{about} searches {told}: give both as many, or the system none")
    for label in labels[2:]:
        if len(points(claim.search.get(label, {}))) > sizes[claim.baseline]:
            raise UsageError(f"{about} searches more points for {label!r} than for its sides: give it as many at most")
    for name, (low, high) in claim.limits.items():
        if low >= high:
            raise UsageError(f"{about} limits {name} to {low} to {high}: give the smaller number first")


def _check_measure(claim: Experiment, about: str) -> None:
    registry.get(claim.name)
    for label in set(claim.floors) - set(claim.beside):
        raise UsageError(f"{about} has the floor {label!r}: name it among beside, too")
    parameters = inspect.signature(claim.measure).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    accepted = list(parameters)[3:]
    given = {name for part in (claim.settings, claim.search) for settings in part.values() for name in settings}
    for name in sorted(given - set(accepted)):
        raise UsageError(f"{about} sets {name!r}, which its measure does not take: {nearest(name, accepted)}")


def _check_stream(claim: Claim, about: str) -> None:
    if set(claim.stream) != {"source", "scenarios"}:
        raise UsageError(f"{about} describes its stream by {sorted(claim.stream)}: give source and scenarios")
    known(claim.stream["source"])
    for name, options in claim.stream["scenarios"]:
        accepted = list(inspect.signature(find(name)).parameters)[1:]
        for option in options:
            if option not in accepted:
                raise UsageError(f"{about} gives {name} the option {option!r}: {nearest(option, accepted)}")


def _check_learner(claim: Claim, label: str) -> None:
    fixed = {key: value for key, value in claim.training.items() if key not in OWN} | claim.settings.get(label, {})
    composed = compose(system_of(label))
    for point in points(claim.search.get(label, {})):
        mine, _ = composed.split_settings({**fixed, **point})
        for card in composed.systems:
            card.check(mine[card.name])
