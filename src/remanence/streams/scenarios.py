"""Scenarios: functions from stream to stream, so that they compose."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from remanence.errors import UsageError, nearest
from remanence.randomness import generator
from remanence.streams.experience import Chosen, Disclosure, Examples, Segment, Stream, TestSet
from remanence.streams.folder import folder
from remanence.streams.sources import whole
from remanence.streams.table import table

Scenario = TypeVar("Scenario", bound=Callable[..., Stream])
SCENARIOS: dict[str, Callable[..., Stream]] = {}


def scenario(function: Scenario) -> Scenario:
    """Register a function from stream (or the name of a source) to stream under its own name."""
    SCENARIOS[function.__name__] = function
    return function


def start(stream: str | Stream) -> Stream:
    """The stream itself, or the source of that name as a stream of one experience."""
    return whole(stream) if isinstance(stream, str) else stream


def recorded(stream: Stream, name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The recipe of a stream with one more scenario, None where the stream has none."""
    if stream.recipe is None:
        return None
    scenarios = list(stream.recipe["scenarios"])  # type: ignore[call-overload]
    return {**stream.recipe, "scenarios": [*scenarios, [name, options]]}


def build(recipe: dict[str, Any]) -> Stream:
    """The stream that a recipe describes."""
    stream = opened(recipe)
    for name, options in recipe["scenarios"]:
        stream = apply(name, stream, options)
    return stream


def opened(recipe: dict[str, Any]) -> Stream:
    """The source of a recipe: a dataset by name, or a file or folder of the user's by its path."""
    if "path" not in recipe:
        return whole(recipe["source"])
    openers: dict[str, Callable[..., Stream]] = {"table": table, "folder": folder}
    return openers[recipe["source"]](recipe["path"], **recipe["options"])


def apply(name: str, stream: Stream, options: dict[str, Any]) -> Stream:
    """One scenario by name, with its options checked."""
    if name not in SCENARIOS:
        raise UsageError(f"there is no scenario {name!r}: {nearest(name, SCENARIOS)}")
    known = list(inspect.signature(SCENARIOS[name]).parameters)[1:]
    for option in options:
        if option not in known:
            raise UsageError(f"the scenario {name} has no option {option!r}: {nearest(option, known)}")
    return SCENARIOS[name](stream, **options)


def labels_of(examples: Examples) -> torch.Tensor:
    """All labels (n,) of some examples."""
    return examples.labels()


@scenario
def split(
    stream: str | Stream, experiences: int = 5, *, order: str = "ascending", task_ids: bool = False, seed: int = 0
) -> Stream:
    """Class-incremental: the classes come in equal groups, one group an experience.

    Parameters
    ----------
    stream:
        A stream of one experience, or the name of a source.
    experiences:
        How many (1 to the number of classes).
    order:
        ``ascending`` by label, or ``shuffled`` by the seed.
    task_ids:
        Tell the task of examples and of questions (task-incremental).
    seed:
        Seeds the shuffling.

    Raises
    ------
    UsageError
        If there are fewer classes than experiences.

    Example
    -------
    >>> [segment.classes for segment in split("digits", experiences=5).segments]
    [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    """
    base = start(stream)
    segment, test = _single(base, "split")
    labels = labels_of(segment.examples)
    classes = sorted(set(labels.tolist()))
    if not 1 <= experiences <= len(classes):
        raise UsageError(
            f"{experiences} experiences were asked for, {base.name} has {len(classes)} classes: ask for 1 to {len(classes)}"
        )
    if order not in ("ascending", "shuffled"):
        raise UsageError(f"the order {order!r} is unknown: use ascending or shuffled")
    if order == "shuffled":
        places = torch.randperm(len(classes), generator=generator(seed, "class order"))
        classes = [classes[place] for place in places.tolist()]
    bounds = [round(k * len(classes) / experiences) for k in range(experiences + 1)]
    groups = [tuple(classes[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    segments, tests = [], []
    for task, group in enumerate(groups):
        wanted = torch.tensor(group)
        index = torch.isin(labels, wanted).nonzero().squeeze(1)
        asked = torch.isin(test.y, wanted)
        name = ", ".join(_name(base, label) for label in group[:3]) + ("…" if len(group) > 3 else "")
        segments.append(Segment(Chosen(segment.examples, index), group, task, name))
        tests.append(TestSet(name, test.x[asked], test.y[asked], task, group))
    options = {"experiences": experiences, "order": order, "task_ids": task_ids, "seed": seed}
    return replace(
        base,
        name=f"{base.name}/split",
        segments=segments,
        tests=tests,
        disclosure=Disclosure(task_ids=task_ids, test_task_ids=task_ids),
        recipe=recorded(base, "split", options),
    )


def _single(stream: Stream, name: str) -> tuple[Segment, TestSet]:
    if len(stream.segments) != 1 or len(stream.tests) != 1:
        raise UsageError(
            f"{name} starts from a whole dataset, {stream.name} has {len(stream)} experiences: put {name} first"
        )
    return stream.segments[0], stream.tests[0]


def _name(stream: Stream, label: int) -> str:
    return stream.class_names[label] if label < len(stream.class_names) else str(label)
