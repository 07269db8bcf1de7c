"""Parts of a stream of questions, so that several runs ask different ones: some questions, or one experience."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from remanence.errors import UsageError
from remanence.streams.experience import Stream
from remanence.streams.scenarios import Seed, recorded, scenario, start


@scenario
def fold(
    stream: str | Stream,
    folds: Annotated[int, Field(ge=2, le=100, description="into how many parts the questions go")] = 5,
    *,
    seed: Seed = 0,
) -> Stream:
    """Only every so many-th question is asked; seeds 0 to folds - 1 ask all of them, each once.

    Parameters
    ----------
    stream:
        A stream of questions, or the name of a source.
    folds:
        How many parts (2 or more).
    seed:
        Which part: its remainder by `folds`.

    Raises
    ------
    UsageError
        If the stream asks no questions, or a part of a test set would be empty.

    Example
    -------
    >>> from remanence.streams.facts import changing
    >>> stream = changing("facts", sessions=3, people=2, seed=1)
    >>> [len(fold(stream, 5, seed=k).tests[0].y) for k in range(5)]
    [3, 3, 2, 2, 2]
    """
    base = start(stream)
    if not base.task.about_records:
        raise UsageError(f"{base.name} asks no questions, which fold would part: choose another scenario")
    tests = []
    for test in base.tests:
        asked = torch.arange(len(test.y))[seed % folds :: folds]
        if not len(asked):
            raise UsageError(f"{test.name} has {len(test.y)} questions, too few for {folds} folds: ask for fewer")
        tests.append(replace(test, x=test.x[asked], y=test.y[asked]))
    recipe = recorded(base, "fold", {"folds": folds, "seed": seed})
    return replace(base, name=f"{base.name}/fold", tests=tests, recipe=recipe)


@scenario
def alone(stream: str | Stream, *, seed: Seed = 0) -> Stream:
    """Only one experience, with the questions about it: which, the seed says.

    Parameters
    ----------
    stream:
        A stream of questions with a test set for every experience (``locomo``), or the name of a source.
    seed:
        Which experience: its remainder by their number.

    Raises
    ------
    UsageError
        If the stream has no test set for every experience.

    Example
    -------
    >>> from remanence.streams.text_rows import Chapter, Question, question_stream
    >>> chapters = [
    ...     Chapter(name, [(number, {"text": f"I am {name}"})], [Question("Who are you?", (number,))])
    ...     for number, name in enumerate(["Ana", "Bruno"])
    ... ]
    >>> alone(question_stream("names", chapters, "hit@1"), seed=1).segments[0].name
    'Bruno'
    """
    base = start(stream)
    if not base.task.about_records or len(base.tests) != len(base.segments):
        raise UsageError(f"{base.name} has no questions for every experience, of which alone keeps one: use locomo")
    place = seed % len(base.segments)
    recipe = recorded(base, "alone", {"seed": seed})
    return replace(
        base,
        name=f"{base.name}/alone",
        segments=[base.segments[place]],
        tests=[base.tests[place]],
        recipe=recipe,
        distances=base.distances[:1],
    )
