"""Task-free streams whose classes flow into one another (Si-Blurry)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.examples import Concatenated, Subset
from remanence.streams.experience import Segment, Stream, TestSet
from remanence.streams.scenarios import Seed, group_name, recorded, scenario, start


@scenario
def blur(
    stream: str | Stream,
    blurry: Annotated[float, Field(ge=0, le=1, description="share of the blurry classes' examples that move")] = 0.1,
    *,
    disjoint: Annotated[float, Field(ge=0, le=1, description="share of the classes that stay in one place")] = 0.5,
    experiences: Annotated[int | None, Field(ge=1, description="how many; 5 for a whole dataset")] = None,
    tests: Annotated[Literal["groups", "whole"], Field(description="one test set per group, or one in all")] = "groups",
    seed: Seed = 0,
) -> Stream:
    """Task-free: each experience owns some classes, and examples of the blurry ones stray into others.

    Nothing is told: the learner sees one long experience, in which the experiences only serve to
    measure. A whole dataset is cut at random, so that experiences own unequal numbers of classes; a
    class-incremental stream keeps its groups. Every example occurs exactly once.

    Parameters
    ----------
    stream:
        A whole dataset (or its name), or a stream in which each class belongs to one experience.
    blurry:
        The share of the blurry classes' examples that may move to another experience (0 to 1).
    disjoint:
        The share of the classes that are not blurry (0 to 1).
    experiences:
        How many a whole dataset is cut into (5).
    tests:
        One test set per group of classes, or one in all.
    seed:
        Seeds all that is drawn.

    Raises
    ------
    UsageError
        If there are fewer classes than experiences, or classes that occur in several experiences.

    Example
    -------
    >>> stream = blur("digits", blurry=0.1, disjoint=0.5, experiences=5)
    >>> [len(stream), sum(len(segment.examples) for segment in stream.segments)]
    [5, 1438]
    >>> [experience.boundary for experience in stream.experiences()]
    [False]

    References
    ----------
    Moon, Park, Kim, Park: Online Class Incremental Learning on Stochastic Blurry Task Boundary via Mask
    and Visual Prompt Tuning, 2023, arXiv 2308.09303.

    Departures
    ----------
    No class is dropped where the numbers do not divide; an experience that would own no class gets one
    from the experience that owns most; the examples that move are drawn at random instead of taken from
    the front, and exactly the share asked for moves.
    """
    base = start(stream)
    together = base.segments[0].examples if len(base) == 1 else Concatenated([s.examples for s in base.segments])
    labels = together.labels()
    classes = sorted(set(labels.tolist()))
    shuffled = [classes[k] for k in torch.randperm(len(classes), generator=generator(seed, "class order")).tolist()]
    firm, soft = shuffled[: round(disjoint * len(classes))], shuffled[round(disjoint * len(classes)) :]
    if len(base) == 1:
        groups = _cut_at_random(firm, soft, experiences or 5, base.name, seed)
    else:
        groups = _owned(base, experiences)
    owner = torch.empty(max(classes) + 1, dtype=torch.int64)
    for k, group in enumerate(groups):
        owner[list(group)] = k
    place = _moved(owner[labels], torch.isin(labels, torch.tensor(soft, dtype=torch.int64)), blurry, len(groups), seed)
    segments = []
    for k, group in enumerate(groups):
        index = (place == k).nonzero().squeeze(1)
        index = index[torch.randperm(len(index), generator=generator(seed, "order", k))]
        found = tuple(sorted(set(labels[index].tolist())))
        segments.append(Segment(Subset(together, index, ordered=True), found, k, group_name(base, group)))
    options = {"blurry": blurry, "disjoint": disjoint, "experiences": experiences, "tests": tests, "seed": seed}
    return replace(
        base,
        name=f"{base.name}/blur",
        segments=segments,
        tests=_tests(base, groups, tests),
        disclosure=replace(base.disclosure, boundaries=False, classes=False, task_ids=False, test_task_ids=False),
        recipe=recorded(base, "blur", options),
    )


def _cut_at_random(firm: list[int], soft: list[int], count: int, name: str, seed: int) -> list[tuple[int, ...]]:
    """Groups of classes: each kind is cut at random places, and the pieces are paired."""
    if count > len(firm) + len(soft):
        most = len(firm) + len(soft)
        raise UsageError(f"{count} experiences were asked for, {name} has {most} classes: ask for 1 to {most}")
    groups: list[list[int]] = [[] for _ in range(count)]
    for kind, members in (("disjoint", firm), ("blurry", soft)):
        cuts = _cuts(len(members), count, generator(seed, "cuts", kind))
        for k, group in enumerate(groups):
            group += members[cuts[k] : cuts[k + 1]]
    for group in groups:
        if not group:
            group.append(max(groups, key=len).pop())
    return [tuple(sorted(group)) for group in groups]


def _cuts(total: int, count: int, draw: torch.Generator) -> list[int]:
    inner = torch.randint(0, max(total, 1), (count - 1,), generator=draw).sort().values.tolist()
    return [0, *inner, total]


def _owned(base: Stream, experiences: int | None) -> list[tuple[int, ...]]:
    if experiences not in (None, len(base)):
        raise UsageError(
            f"blur was asked for {experiences} experiences, {base.name} has {len(base)} already: leave the number out"
        )
    groups = [tuple(sorted(set(segment.examples.labels().tolist()))) for segment in base.segments]
    if sum(map(len, groups)) != len(set().union(*groups)):
        raise UsageError(
            f"blur needs classes that belong to one experience, those of {base.name} occur in several: put split first"
        )
    return groups


def _moved(owner: Tensor, soft: Tensor, share: float, count: int, seed: int) -> Tensor:
    """The experience (n,) of each example, after a share of the blurry ones was dealt out anew."""
    members = [((owner == k) & soft).nonzero().squeeze(1) for k in range(count)]
    total = int(share * int(soft.sum()))
    cuts = _cuts(total, count, generator(seed, "cuts", "moved"))
    given = [min(cuts[k + 1] - cuts[k], len(rows)) for k, rows in enumerate(members)]
    for k, rows in enumerate(members):
        given[k] += min(total - sum(given), len(rows) - given[k])
    pool = []
    for k, rows in enumerate(members):
        pool.append(rows[torch.randperm(len(rows), generator=generator(seed, "moved", k))[: given[k]]])
    moving = torch.cat(pool)
    place = owner.clone()
    targets = torch.repeat_interleave(torch.arange(count), torch.tensor(given))
    place[moving[torch.randperm(len(moving), generator=generator(seed, "dealt"))]] = targets
    return place


def _tests(base: Stream, groups: list[tuple[int, ...]], kind: str) -> list[TestSet]:
    x = torch.cat([test.x for test in base.tests]) if len(base.tests) > 1 else base.tests[0].x
    y = torch.cat([test.y for test in base.tests])
    if kind == "whole":
        return [TestSet("all", x, y, classes=tuple(sorted(set().union(*groups))))]
    tests = []
    for k, group in enumerate(groups):
        asked = torch.isin(y, torch.tensor(group))
        tests.append(TestSet(group_name(base, group), x[asked], y[asked], k, group))
    return tests
