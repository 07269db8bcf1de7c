"""Scenarios: functions from stream to stream, so that they compose."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field, TypeAdapter, ValidationError

from remanence.errors import UsageError, nearest
from remanence.hyperparameters import first_problem
from remanence.randomness import generator
from remanence.streams.examples import Subset
from remanence.streams.experience import Disclosure, Segment, Stream, TestSet
from remanence.streams.sources import whole

Scenario = TypeVar("Scenario", bound=Callable[..., Stream])
SCENARIOS: dict[str, Callable[..., Stream]] = {}
_READERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}

Experiences = Annotated[int, Field(ge=1, description="how many experiences")]
Seed = Annotated[int, Field(ge=0, description="seeds what is drawn")]


def scenario(function: Scenario) -> Scenario:
    """Register a function from stream (or the name of a source) to stream under its own name.

    Its options are annotated with type and range, and checked at each call: a value of the wrong type
    or out of range is a one-sentence `UsageError`. Texts are read as the annotated type.
    """
    name = function.__name__
    signature = inspect.signature(function)
    options = list(signature.parameters)[1:]

    @functools.cache
    def adapter(option: str) -> TypeAdapter[Any]:
        return TypeAdapter(typing.get_type_hints(function, include_extras=True)[option])

    def read(given: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for option, value in given.items():
            if option not in options:
                hint = nearest(option, options) if options else "it has none"
                raise UsageError(f"the scenario {name} has no option {option!r}: {hint}")
            try:
                values[option] = adapter(option).validate_python(value)
            except ValidationError as error:
                problem = first_problem(error).removeprefix("a setting ")
                raise UsageError(f"scenario {name}: {option} {problem}") from None
        return values

    @functools.wraps(function)
    def checked(stream: str | Stream, *given: Any, **named: Any) -> Stream:
        values = read(named)
        bound = signature.bind(stream, *given, **values).arguments
        return function(stream, **read({option: bound[option] for option in options if option in bound}))

    _READERS[name] = read
    SCENARIOS[name] = checked
    return typing.cast(Scenario, checked)


def start(stream: str | Stream) -> Stream:
    """The stream itself, or the source of that name as a stream of one experience."""
    return whole(stream) if isinstance(stream, str) else stream


def recorded(stream: Stream, name: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The recipe of a stream with one more scenario, None where the stream has none."""
    if stream.recipe is None:
        return None
    scenarios = list(stream.recipe["scenarios"])  # type: ignore[call-overload]
    return {**stream.recipe, "scenarios": [*scenarios, [name, options]]}


def find(name: str) -> Callable[..., Stream]:
    """A scenario by name."""
    if name not in SCENARIOS:
        raise UsageError(f"there is no scenario {name!r}: {nearest(name, SCENARIOS)}")
    return SCENARIOS[name]


def options_read(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a scenario as their types, checked before any stream is there."""
    find(name)
    return _READERS[name](options)


def apply(name: str, stream: Stream, options: dict[str, Any]) -> Stream:
    """One scenario by name, with its options checked."""
    return find(name)(stream, **options)


@scenario
def split(
    stream: str | Stream,
    experiences: Experiences = 5,
    *,
    order: Annotated[Literal["ascending", "shuffled"], Field(description="of the classes")] = "ascending",
    task_ids: Annotated[bool, Field(description="tell the task of examples and of questions")] = False,
    seed: Seed = 0,
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
    segment, test = single(base, "split")
    labels = segment.examples.labels()
    classes = sorted(set(labels.tolist()))
    if experiences > len(classes):
        raise UsageError(
            f"{experiences} experiences were asked for, {base.name} has {len(classes)} classes: ask for 1 to {len(classes)}"
        )
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
        name = group_name(base, group)
        segments.append(Segment(Subset(segment.examples, index), group, task, name))
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


def single(stream: Stream, name: str) -> tuple[Segment, TestSet]:
    """The one experience and the one test set of a whole dataset; `name` is the scenario that asks."""
    if not isinstance(stream, Stream):
        raise UsageError(
            f"{name} was given a {type(stream).__name__}: give the name of a source or a stream, such as "
            "remanence.streams.tensors(x, y, test=(u, v))"
        )
    if len(stream.segments) != 1 or len(stream.tests) != 1:
        raise UsageError(
            f"{name} starts from a whole dataset, {stream.name} has {len(stream)} experiences: put {name} first"
        )
    return stream.segments[0], stream.tests[0]


def group_name(stream: Stream, group: tuple[int, ...]) -> str:
    """What a group of classes is called in tables: its first three, by name where they have names."""
    names = stream.class_names
    first = (names[label] if label < len(names) else str(label) for label in group[:3])
    return ", ".join(first) + ("…" if len(group) > 3 else "")
