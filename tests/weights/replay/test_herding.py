"""Herding against a loop, and the memory that keeps its picks."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.weights.batch import Batch
from remanence.weights.replay.herding import Exemplars, herd


def by_hand(features, count):
    rows = torch.nn.functional.normalize(features.double(), dim=1)
    mean, chosen = rows.mean(0), []
    for k in range(1, min(count, len(rows)) + 1):
        best, found = None, None
        for place in range(len(rows)):
            if place in chosen:
                continue
            distance = (mean - (rows[place] + rows[chosen].sum(0)) / k).norm()
            if best is None or distance < best - 1e-12:
                best, found = distance, place
        chosen.append(found)
    return chosen


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 12), st.integers(1, 14), st.integers(0, 1000))
def test_herding_equals_the_loop_and_its_beginnings_are_stable(rows, count, seed):
    features = torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))
    picks = herd(features, count).tolist()
    assert picks == by_hand(features, count)
    assert len(set(picks)) == len(picks) == min(rows, count)
    assert herd(features, max(1, count // 2)).tolist() == picks[: max(1, count // 2)]


def filled(size, per_class):
    memory = Exemplars(size)
    for label, count in enumerate(per_class):
        start = len(memory)
        x = torch.full((count, 2), float(label)) + torch.arange(count).unsqueeze(1) / 100
        rows = Batch(x, torch.full((count,), label), torch.arange(start, start + count), count)
        memory.write(torch.arange(start, start + count), rows, torch.arange(count), {"rank": torch.arange(count)})
    return memory


def test_shrinking_gives_up_the_highest_ranks_of_every_class():
    memory = filled(12, [4, 4, 4])
    memory.resize(6, torch.Generator())
    assert sorted(zip(memory.y[:6].tolist(), memory.ranks.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1),
    ]  # fmt: skip
    assert len(memory.x) == 6


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_a_balanced_draw_takes_the_first_of_every_class(per_class):
    memory = filled(40, per_class)
    slots = memory.balanced()
    least = min(per_class)
    assert torch.bincount(memory.y[slots]).tolist() == [least] * len(per_class)
    assert int(memory.ranks[slots].max()) == least - 1


def test_every_exemplar_passes_once_an_epoch():
    learner = rm.make("memo", rm.streams.split("digits", experiences=5), size=30)
    memory = filled(30, [7, 7])
    for epoch in range(2):
        seen = torch.cat([memory.share(epoch * 9 + k, 9, learner.context) for k in range(9)])
        assert sorted(seen.tolist()) == list(range(14))
