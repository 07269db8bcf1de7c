"""Scenarios that change what the learner is told, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Subset
from remanence.streams.experience import Stream
from remanence.streams.scenarios import Experiences, Seed, recorded, scenario, start


@scenario
def disclose(
    stream: str | Stream,
    *,
    boundaries: Annotated[bool | None, Field(description="that one experience ends and another begins")] = None,
    classes: Annotated[bool | None, Field(description="which classes an experience holds")] = None,
    task_ids: Annotated[bool | None, Field(description="the task of training examples")] = None,
    test_task_ids: Annotated[bool | None, Field(description="the task of questions")] = None,
    again: Annotated[bool | None, Field(description="that examples may be read a second time")] = None,
    seed: Seed = 0,
) -> Stream:
    """What the learner is told; whatever is left out stays as it is.

    Without boundaries the learner sees one long experience and can shuffle nothing itself, so the
    examples of each experience are put in an order drawn by the seed (those that come in the order of
    time keep it), and neither classes nor task ids of training examples are told.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    boundaries, classes, task_ids, test_task_ids, again:
        See `Disclosure`.
    seed:
        Seeds the order of the examples where boundaries are hidden.

    Raises
    ------
    UsageError
        If classes or task ids shall be told without boundaries.

    Example
    -------
    >>> from remanence.streams import split
    >>> stream = disclose(split("digits", experiences=5), boundaries=False)
    >>> [(experience.index, experience.classes) for experience in stream.experiences()]
    [(0, None)]
    """
    base = start(stream)
    given = {
        "boundaries": boundaries,
        "classes": classes,
        "task_ids": task_ids,
        "test_task_ids": test_task_ids,
        "again": again,
    }
    told = {word: value for word, value in given.items() if value is not None}
    segments = base.segments
    if not {"boundaries": base.disclosure.boundaries, **told}["boundaries"]:
        for word in ("classes", "task_ids"):
            if told.get(word):
                raise UsageError(f"disclose was asked for {word}=yes without boundaries: tell both or neither")
        told |= {"classes": False, "task_ids": False}
        segments = []
        for k, segment in enumerate(base.segments):
            examples = segment.examples
            if not examples.ordered:
                order = torch.randperm(len(examples), generator=generator(seed, "order", k))
                examples = Subset(examples, order, ordered=True)
            segments.append(replace(segment, examples=examples))
    recipe = recorded(base, "disclose", {**given, "seed": seed})
    return replace(base, segments=segments, recipe=recipe).disclose(**told)


@scenario
def online(stream: str | Stream) -> Stream:
    """A single pass: no example may be read a second time, so a learner takes one epoch.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.

    Example
    -------
    >>> from remanence.streams import split
    >>> [experience.again for experience in online(split("digits", experiences=2)).experiences()]
    [False, False]
    """
    base = start(stream)
    return replace(base, name=f"{base.name}/online", recipe=recorded(base, "online", {})).disclose(again=False)


@scenario
def unlabelled(stream: str | Stream, after: Experiences = 1) -> Stream:
    """Test-time adaptation: after the first experiences the learner gets inputs alone, without labels.

    A learner that adapts does so on them, in the order in which they lie; any other passes over them.
    Which classes such an experience holds is not told either. Test sets, and questions asked before a
    batch is learned, keep their labels, which only the arena sees.

    Parameters
    ----------
    stream:
        A stream of several experiences that tells its boundaries.
    after:
        How many experiences come with their labels (1 or more).

    Raises
    ------
    UsageError
        If boundaries are hidden, no experience would be left without labels, or examples have none.

    Example
    -------
    >>> from remanence.streams import rotate
    >>> stream = unlabelled(rotate("digits", experiences=3, degrees=30))
    >>> [(experience.labelled, int(experience.examples.span(0, 1).y)) for experience in stream.experiences()]
    [(True, 0), (False, -1), (False, -1)]

    References
    ----------
    Zhang et al., AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation, 2023, arXiv 2304.12566.
    """
    base = start(stream)
    if not base.disclosure.boundaries:
        raise UsageError(f"unlabelled needs boundaries, which the stream {base.name} hides: tell them")
    if base.task.about_records:
        raise UsageError(f"the examples of {base.name} are records, which have no labels to hide: leave unlabelled out")
    if after >= len(base):
        raise UsageError(
            f"labels were to end after {after} experiences, {base.name} has {len(base)}: give a smaller number"
        )
    segments = [replace(segment, labelled=segment.labelled and k < after) for k, segment in enumerate(base.segments)]
    return replace(
        base, name=f"{base.name}/unlabelled", segments=segments, recipe=recorded(base, "unlabelled", {"after": after})
    )
