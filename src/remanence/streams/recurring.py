"""Streams in which what was seen comes back: recurring classes (SCoLe), and experiences by a power law."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Concatenated, Examples, Subset
from remanence.streams.experience import Segment, Stream, TestSet
from remanence.streams.scenarios import Experiences, Seed, group_name, recorded, scenario, single, start


@scenario
def recur(
    stream: str | Stream,
    experiences: Experiences = 100,
    *,
    classes: Annotated[int, Field(ge=1, description="classes in an experience")] = 2,
    frequencies: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...], Field(description="how often each class comes, all alike if empty")
    ] = (),
    skew: Annotated[float, Field(ge=0, description="how unequal the frequencies are, 0 for all alike")] = 0.0,
    gone: Annotated[bool, Field(description="the later half of the classes stays away after half of the time")] = False,
    examples: Annotated[int | None, Field(ge=1, description="at most so many in an experience")] = None,
    tests: Annotated[Literal["whole", "classes"], Field(description="one test set in all, or one a class")] = "whole",
    seed: Seed = 0,
) -> Stream:
    """Recurring: each experience holds a few classes drawn anew, so that all come back again and again.

    An experience holds all examples of its classes, or `examples` of them drawn at random. The classes of
    one experience are distinct, and drawn with probabilities in proportion to `frequencies`.

    Parameters
    ----------
    stream:
        A whole dataset, or its name.
    experiences:
        How many (1 or more; the paper uses hundreds).
    classes:
        How many classes an experience holds.
    frequencies:
        One number for each class, in the order of the labels; on the command line ``3/1/1``.
    skew:
        Where no frequencies are given: class number k in a shuffled order comes in proportion to
        ``(1 - 0.05 k)`` (``1 - 0.01 k`` beyond 20 classes, nowhere below 0.01) to the power of `skew`.
    gone:
        After half of the experiences only the first half of the classes, by label, is drawn.
    examples:
        At most so many in an experience; all if left out.
    tests:
        One test set of all classes, or one for each class.
    seed:
        Seeds all that is drawn.

    Raises
    ------
    UsageError
        If there are too few classes, or not one frequency for each of them.

    Example
    -------
    >>> stream = recur("digits", experiences=50, classes=2, examples=20)
    >>> [len(stream), len(stream.segments[0].examples), len(stream.segments[0].classes)]
    [50, 20, 2]

    References
    ----------
    Lesort, Ostapenko, Misra, Arefin, Rodríguez, Charlin, Rish: Challenging Common Assumptions about
    Catastrophic Forgetting, 2022, arXiv 2207.04543.
    """
    base = start(stream)
    segment, test = single(base, "recur")
    labels = segment.examples.labels()
    known = sorted(set(labels.tolist()))
    chances = _chances(base, known, frequencies, skew, seed)
    rows = {label: (labels == label).nonzero().squeeze(1) for label in known}
    segments = []
    for k in range(experiences):
        open_now = chances.clone()
        if gone and k >= experiences / 2:
            open_now[(len(known) + 1) // 2 :] = 0
        if int((open_now > 0).sum()) < classes:
            raise UsageError(
                f"{classes} classes were asked for in experience {k}, {int((open_now > 0).sum())} can come then: "
                "ask for fewer"
            )
        drawn = torch.multinomial(open_now, classes, generator=generator(seed, "classes", k))
        group = tuple(sorted(known[place] for place in drawn.tolist()))
        index = torch.cat([rows[label] for label in group])
        if examples is not None:
            index = index[torch.randperm(len(index), generator=generator(seed, "examples", k))[:examples]]
        found = tuple(sorted(set(labels[index].tolist())))
        segments.append(Segment(Subset(segment.examples, index), found, k, group_name(base, group)))
    options = {
        "experiences": experiences,
        "classes": classes,
        "frequencies": list(frequencies),
        "skew": skew,
        "gone": gone,
        "examples": examples,
        "tests": tests,
        "seed": seed,
    }
    sets = [TestSet("all", test.x, test.y, classes=tuple(known))]
    if tests == "classes":
        asked = {label: test.y == label for label in known}
        sets = [TestSet(group_name(base, (c,)), test.x[asked[c]], test.y[asked[c]], classes=(c,)) for c in known]
    return replace(
        base, name=f"{base.name}/recur", segments=segments, tests=sets, recipe=recorded(base, "recur", options)
    )


def _chances(base: Stream, known: list[int], frequencies: tuple[float, ...], skew: float, seed: int) -> Tensor:
    if frequencies and skew:
        raise UsageError("both frequencies and a skew were given to recur: give one of them")
    if frequencies:
        if len(frequencies) != len(known):
            raise UsageError(
                f"{len(frequencies)} frequencies were given, {base.name} has {len(known)} classes: give one for each"
            )
        return torch.tensor(frequencies, dtype=torch.float64)
    step = 0.05 if len(known) <= 20 else 0.01
    chances = (1 - step * torch.arange(len(known), dtype=torch.float64)).clamp(min=0.01) ** skew
    return chances[torch.randperm(len(known), generator=generator(seed, "frequencies"))]


@scenario
def power_law(
    stream: str | Stream,
    exponent: Annotated[float, Field(ge=0, description="how fast what is past stops coming back")] = 1.0,
    *,
    share: Annotated[float, Field(gt=0, le=1, description="old examples, as a share of the new ones")] = 0.1,
    decay: Annotated[Literal["power", "exponential"], Field(description="law of the time since")] = "power",
    seed: Seed = 0,
) -> Stream:
    """Earlier experiences come back, the rarer the longer ago they were (by a power law).

    To each experience but the first, examples of earlier ones are added, mixed with the new. The chance
    that one comes from the experience `lag` before is in proportion to ``lag ** -exponent``, or to
    ``exp(-exponent * (lag - 1))`` for comparison; an exponent of 0 draws from all alike.

    Parameters
    ----------
    stream:
        A stream of several experiences.
    exponent:
        How fast the past stops coming back (0 or more).
    share:
        How many old examples are added, as a share of the new ones (above 0, up to 1).
    decay:
        ``power`` or ``exponential``.
    seed:
        Seeds what is drawn.

    Raises
    ------
    UsageError
        If the stream has one experience only, or its examples come in the order of time.

    Example
    -------
    >>> from remanence.streams import permute
    >>> stream = power_law(permute("digits", experiences=4), share=0.1)
    >>> [len(segment.examples) for segment in stream.segments]
    [1438, 1582, 1582, 1582]

    References
    ----------
    Gandhi, Shah, Marupudi, Varma: Catastrophic Interference is Mitigated in Naturalistic Power-Law
    Learning Environments, 2024, arXiv 2401.10393.

    Departures
    ----------
    The paper's exponent could not be read; 1 is ours. Its number of rehearsed examples is given here as
    a share, and the lag counts experiences since one was new, not since it last came back.
    """
    base = start(stream)
    if len(base) < 2:
        raise UsageError(f"power_law needs several experiences, {base.name} has one: put split or permute first")
    if any(segment.examples.ordered for segment in base.segments):
        raise UsageError(f"power_law mixes old with new, the examples of {base.name} come in the order of time")
    segments = [base.segments[0]]
    for k in range(1, len(base)):
        new = base.segments[k]
        lag = torch.arange(k, 0, -1, dtype=torch.float64)
        chances = lag**-exponent if decay == "power" else torch.exp(-exponent * (lag - 1))
        total = round(share * len(new.examples))
        draw = generator(seed, "lags", k)
        source = torch.multinomial(chances, total, replacement=True, generator=draw) if total else torch.empty(0)
        counts = torch.bincount(source.long(), minlength=k).tolist()
        parts: list[Examples] = [new.examples]
        for j, count in enumerate(counts):
            if count:
                old = base.segments[j].examples
                parts.append(Subset(old, _some(len(old), count, generator(seed, "old", k, j))))
        found = set(new.classes).union(*(base.segments[j].classes for j, count in enumerate(counts) if count))
        segments.append(replace(new, examples=Concatenated(parts, ordered=False), classes=tuple(sorted(found))))
    options = {"exponent": exponent, "share": share, "decay": decay, "seed": seed}
    return replace(base, name=f"{base.name}/power_law", segments=segments, recipe=recorded(base, "power_law", options))


def _some(total: int, count: int, draw: torch.Generator) -> Tensor:
    """`count` of `total` positions, none twice before each came once."""
    rounds = -(-count // total)
    return torch.cat([torch.randperm(total, generator=draw) for _ in range(rounds)])[:count]
