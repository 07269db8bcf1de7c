"""Scenarios that make a stream harder or smaller: wrong labels, rare classes, fewer examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Relabelled, Subset
from remanence.streams.experience import Segment, Stream, TestSet
from remanence.streams.scenarios import Seed, recorded, scenario, start


@scenario
def noise(
    stream: str | Stream,
    rate: Annotated[float, Field(ge=0, le=1, description="share of the training labels that are wrong")] = 0.2,
    *,
    seed: Seed = 0,
) -> Stream:
    """Wrong labels: a share of the training examples of each experience gets another class of that experience.

    The wrong class is drawn evenly from the other classes of the experience, so that no class shows up
    before its time. Test sets keep their labels. Where examples come back in several experiences, each
    time is drawn anew; put `noise` before the scenario that repeats them if they shall stay the same.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    rate:
        The share of wrong labels (0 to 1).
    seed:
        Seeds which, and what they become.

    Raises
    ------
    UsageError
        If the task is not classification, or an experience has one class only.

    Example
    -------
    >>> clean, noisy = start("digits"), noise("digits", rate=0.25)
    >>> wrong = clean.segments[0].examples.labels() != noisy.segments[0].examples.labels()
    >>> float(wrong.float().mean().round(decimals=3))
    0.25
    """
    base = start(stream)
    _classification(base, "noise")
    segments = []
    for k, segment in enumerate(base.segments):
        labels = segment.examples.labels()
        classes = torch.unique(labels)
        if len(classes) < 2 and rate:
            raise UsageError(f"experience {k} of {base.name} has one class only: noise has no wrong one to give")
        draw = generator(seed, "noise", k)
        wrong = torch.randperm(len(labels), generator=draw)[: round(rate * len(labels))]
        ranks = torch.searchsorted(classes, labels[wrong])
        shift = torch.randint(1, max(len(classes), 2), (len(wrong),), generator=draw)
        noisy = labels.clone()
        noisy[wrong] = classes[(ranks + shift) % len(classes)]
        segments.append(replace(segment, examples=Relabelled(segment.examples, noisy)))
    recipe = recorded(base, "noise", {"rate": rate, "seed": seed})
    return replace(base, name=f"{base.name}/noise", segments=segments, recipe=recipe)


@scenario
def imbalance(
    stream: str | Stream,
    factor: Annotated[float, Field(ge=1, description="examples of the commonest class over those of the rarest")] = 100,
    *,
    seed: Seed = 0,
) -> Stream:
    """Long-tailed: the classes get exponentially rarer, in an order shuffled by the seed.

    The class at place r of C keeps ``n * factor ** (-r / (C - 1))`` of its training examples, n being the
    number that all classes have at least, and never less than one. Test sets stay whole.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    factor:
        How many times more examples the commonest class has than the rarest (1 or more).
    seed:
        Seeds which classes are rare, and which examples are kept.

    Raises
    ------
    UsageError
        If the task is not classification, or an experience would be left empty.

    Example
    -------
    >>> labels = imbalance("digits", factor=10).segments[0].examples.labels()
    >>> counts = labels.bincount().sort().values
    >>> [int(counts[0]), int(counts[-1])]
    [13, 127]

    References
    ----------
    Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number of Samples, 2019,
    arXiv 1901.05555.
    """
    base = start(stream)
    _classification(base, "imbalance")
    labels = torch.cat([segment.examples.labels() for segment in base.segments])
    classes, counts = torch.unique(labels, return_counts=True)
    order = torch.randperm(len(classes), generator=generator(seed, "rarity"))
    rank = order.to(torch.float64) / max(len(classes) - 1, 1)
    quota = (float(counts.min()) * factor**-rank).round().clamp(min=1).long()
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in zip(classes.tolist(), quota.tolist(), strict=True):
        places = (labels == label).nonzero().squeeze(1)
        kept[places[torch.randperm(len(places), generator=generator(seed, "kept", label))[:count]]] = True
    segments, begin = [], 0
    for k, segment in enumerate(base.segments):
        index = kept[begin : begin + len(segment.examples)].nonzero().squeeze(1)
        begin += len(segment.examples)
        if not len(index):
            raise UsageError(f"experience {k} of {base.name} would be empty: give imbalance a smaller factor")
        segments.append(_chosen(segment, index))
    recipe = recorded(base, "imbalance", {"factor": factor, "seed": seed})
    return replace(base, name=f"{base.name}/imbalance", segments=segments, recipe=recipe)


@scenario
def limit(
    stream: str | Stream,
    examples: Annotated[int | None, Field(ge=1, description="training examples an experience keeps at most")] = None,
    *,
    tests: Annotated[int | None, Field(ge=1, description="examples a test set keeps at most")] = None,
    seed: Seed = 0,
) -> Stream:
    """Smaller: at most so many examples in each experience, and in each test set.

    They are drawn at random and keep their order.

    Parameters
    ----------
    stream:
        A stream, or the name of a source.
    examples:
        How many training examples an experience keeps at most; all if left out.
    tests:
        How many examples a test set keeps at most; all if left out.
    seed:
        Seeds what is drawn.

    Example
    -------
    >>> stream = limit("digits", examples=100, tests=50)
    >>> [len(stream.segments[0].examples), len(stream.tests[0].y)]
    [100, 50]
    """
    base = start(stream)
    segments, sets = list(base.segments), list(base.tests)
    if examples is not None:
        for k, segment in enumerate(segments):
            if len(segment.examples) > examples:
                index = _drawn(len(segment.examples), examples, generator(seed, "limit", k))
                segments[k] = _chosen(segment, index)
    if tests is not None:
        for k, test in enumerate(sets):
            if len(test.y) > tests:
                index = _drawn(len(test.y), tests, generator(seed, "limit tests", k))
                sets[k] = TestSet(test.name, test.x[index], test.y[index], test.task, test.classes)
    recipe = recorded(base, "limit", {"examples": examples, "tests": tests, "seed": seed})
    return replace(base, name=f"{base.name}/limit", segments=segments, tests=sets, recipe=recipe)


def _drawn(total: int, count: int, draw: torch.Generator) -> Tensor:
    return torch.randperm(total, generator=draw)[:count].sort().values


def _chosen(segment: Segment, index: Tensor) -> Segment:
    """A selection of an experience; its classes are those that are left."""
    chosen = Subset(segment.examples, index)
    classes = tuple(sorted(set(chosen.labels().tolist()))) if segment.classes else ()
    return replace(segment, examples=chosen, classes=classes)


def _classification(base: Stream, name: str) -> None:
    if base.task.kind != "classification":
        raise UsageError(f"{name} is about classes, the task of {base.name} is {base.task.kind}: leave it out")
