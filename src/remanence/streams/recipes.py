"""Recipes of streams: read from the command line, seeded anew, and turned away from the test data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Subset
from remanence.streams.experience import Stream, TestSet
from remanence.streams.folder import folder
from remanence.streams.scenarios import Seed, apply, find, options_read, recorded, scenario, start
from remanence.streams.sources import default_experiences, known, whole
from remanence.streams.table import table

MAKES_EXPERIENCES = frozenset({"split", "permute", "rotate", "blur", "recur"})


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


def parse(
    source: str, scenarios: Sequence[str] = (), *, seed: int | None = None, experiences: int | None = None
) -> Stream:
    """The stream that a source and scenarios in words name, as on the command line.

    Where none of the scenarios makes experiences of a whole dataset, the source's classes are split
    first, into the number that suits it.

    Parameters
    ----------
    source:
        The name of a source.
    scenarios:
        Each ``name`` or ``name:option=value,option=value``; several values of one option are separated
        by slashes.
    seed:
        The seed of every scenario that draws and names none itself.
    experiences:
        How many experiences the first scenario that makes them shall make.

    Raises
    ------
    UsageError
        If a name, an option or a value is unknown.

    Example
    -------
    >>> stream = parse("digits", ["split:experiences=2,order=shuffled", "limit:examples=100"], seed=3)
    >>> stream.name, [len(segment.examples) for segment in stream.segments]
    ('digits/split/limit', [100, 100])
    """
    usual = known(source).scenario
    wanted = [_words(text) for text in scenarios]
    maker = next((name for name, _ in wanted if name in MAKES_EXPERIENCES), None)
    if maker is None and usual != "split":
        if experiences is not None:
            how = f"set by an option of the scenario {usual}" if usual else "what they are"
            raise UsageError(f"the experiences of {source} are {how}: leave --experiences out")
        if usual and all(name != usual for name, _ in wanted):
            wanted.insert(0, (usual, {}))
    elif maker is None:
        wanted.insert(0, ("split", {"experiences": experiences or default_experiences(whole(source), source)}))
    elif experiences is not None:
        options = next(options for name, options in wanted if name == maker)
        if options.setdefault("experiences", experiences) != experiences:
            raise UsageError(
                f"{experiences} experiences were asked for, and {options['experiences']} in the scenario {maker}: "
                "give one of them"
            )
    recipe: dict[str, Any] = {"source": source, "scenarios": wanted}
    if seed is not None:
        recipe = with_seed(recipe, seed, replace_given=False)
    return build(recipe)


def _words(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.strip().partition(":")
    find(name)
    options: dict[str, Any] = {}
    for piece in filter(None, rest.split(",")):
        option, equals, value = (part.strip() for part in piece.partition("="))
        if not equals:
            raise UsageError(f"{piece!r} in the scenario {text!r} has no value: write option=value")
        if option in options:
            raise UsageError(f"the option {option} is given twice in the scenario {text!r}: give it once")
        options[option] = value.split("/") if "/" in value else value
    return name, options_read(name, options)


def with_seed(recipe: dict[str, Any], seed: int, *, replace_given: bool = True) -> dict[str, Any]:
    """The recipe with the option `seed` of every scenario that has one set, for paired runs.

    Parameters
    ----------
    recipe:
        As in `Stream.recipe`.
    seed:
        The new seed.
    replace_given:
        Set it also where the recipe names a seed.

    Example
    -------
    >>> with_seed({"source": "digits", "scenarios": [["split", {"order": "shuffled"}], ["online", {}]]}, 7)
    {'source': 'digits', 'scenarios': [['split', {'order': 'shuffled', 'seed': 7}], ['online', {}]]}
    """
    scenarios = []
    for name, options in recipe["scenarios"]:
        draws = "seed" in inspect.signature(find(name)).parameters
        if draws and (replace_given or "seed" not in options):
            options = {**options, "seed": seed}
        scenarios.append([name, dict(options)])
    return {**recipe, "scenarios": scenarios}


@scenario
def held_out(
    stream: str | Stream,
    share: Annotated[float, Field(gt=0, lt=1, description="of the training examples")] = 0.1,
    *,
    seed: Seed = 0,
) -> Stream:
    """The test sets give way to a share of the training examples, which are then no longer learned.

    Each experience gives up its share, drawn evenly from its classes. Where examples come back in
    several experiences, start from the whole dataset: `hold_out` does so by itself.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    share:
        The share held out (between 0 and 1); at least one example of each class with two or more.
    seed:
        Seeds which.

    Example
    -------
    >>> stream = held_out("digits", share=0.1)
    >>> [len(stream.segments[0].examples), len(stream.tests[0].y)]
    [1294, 144]
    """
    base = start(stream)
    if base.task.about_records:
        raise UsageError(f"{base.name} asks questions, which are no training examples: nothing can be held out of it")
    segments, tests = [], []
    for k, segment in enumerate(base.segments):
        labels = segment.examples.labels()
        groups = labels if base.task.kind == "classification" else torch.zeros(len(labels), dtype=torch.int64)
        asked = _even(groups, share, generator(seed, "held out", k))
        if asked.all():
            raise UsageError(f"experience {k} of {base.name} has one example only: nothing can be held out of it")
        rows = segment.examples.cut(asked.nonzero().squeeze(1))
        kept = Subset(segment.examples, (~asked).nonzero().squeeze(1))
        segments.append(replace(segment, examples=kept))
        name = segment.name or (base.tests[0].name if len(base.tests) == 1 else f"experience {k}")
        tests.append(TestSet(name, rows.x, rows.y, segment.task, segment.classes))
    recipe = recorded(base, "held_out", {"share": share, "seed": seed})
    return replace(base, name=f"{base.name}/held_out", segments=segments, tests=tests, recipe=recipe)


def _even(labels: Tensor, share: float, draw: torch.Generator) -> Tensor:
    """A mask (n,) of a share of each class, at least one of each that has two."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        places = (labels == label).nonzero().squeeze(1)
        count = min(max(round(share * len(places)), 1), len(places) - 1)
        mask[places[torch.randperm(len(places), generator=draw)[:count]]] = True
    return mask


def hold_out(stream: Stream, share: float = 0.1, seed: int = 0) -> Stream:
    """The same stream, tested on a share of its training examples instead of its test data.

    For searching hyperparameters: the search never sees the test data, and what it is tested on is never
    learned, however often the scenarios repeat it.

    Parameters
    ----------
    stream:
        A stream. One with a recipe is built anew from what is left of its source; of others each
        experience gives up a share.
    share:
        The share held out (between 0 and 1).
    seed:
        Seeds which.

    Example
    -------
    >>> stream = hold_out(parse("digits", ["permute:experiences=2"]), share=0.1)
    >>> [[len(segment.examples), len(test.y)] for segment, test in zip(stream.segments, stream.tests)]
    [[1294, 144], [1294, 144]]
    """
    if stream.recipe is None or stream.prequential:
        return apply("held_out", stream, {"share": share, "seed": seed})
    first = ["held_out", {"share": share, "seed": seed}]
    scenarios: list[Any] = list(stream.recipe["scenarios"])  # type: ignore[call-overload]
    built = build({**stream.recipe, "scenarios": [first, *scenarios]})
    return replace(built, disclosure=stream.disclosure, defaults=stream.defaults)
