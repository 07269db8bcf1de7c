"""Visual memory: votes against a loop, pruning against a loop, and deleting as never having inserted."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.store.neighbours.visual_memory import VisualMemory
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience


def rows(n: int = 60, seed: int = 0, inputs: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, inputs, generator=draw), torch.randint(4, (n,), generator=draw) * 3


def learned(x: torch.Tensor, y: torch.Tensor, ids: torch.Tensor | None = None, **settings: object) -> VisualMemory:
    learner = VisualMemory(x[0].numel(), **settings)
    return learner.learn(Experience(0, InMemory(x, y, ids)))


def votes(x: torch.Tensor, y: torch.Tensor, query: torch.Tensor, weight, k: int = 7) -> dict[int, float]:
    cosines = [float(torch.cosine_similarity(query, row, dim=0)) for row in x]
    nearest = sorted(range(len(x)), key=lambda place: -cosines[place])[:k]
    sums = dict.fromkeys(y.tolist(), 0.0)
    for rank, place in enumerate(nearest):
        sums[int(y[place])] += weight(rank, 1 - cosines[place])
    return sums


WEIGHTS = {
    "rank": lambda rank, distance: 1 / (2.0 + rank),
    "plurality": lambda rank, distance: 1.0,
    "distance": lambda rank, distance: math.exp(-distance),
    "softmax": lambda rank, distance: math.exp((1 - distance) / 0.07),
}


@pytest.mark.parametrize("voting", WEIGHTS)
def test_votes_equal_a_loop(voting: str):
    x, y = rows()
    learner = learned(x, y, neighbours=7, voting=voting)
    queries = rows(12, seed=9)[0]
    answer = learner.predict(queries)
    for row, query in enumerate(queries):
        expected = votes(x, y, query, WEIGHTS[voting])
        found = dict(zip(answer.classes, answer.scores[row].tolist(), strict=True))
        total = sum(expected.values()) if voting == "softmax" else 1
        assert found == pytest.approx({label: value / total for label, value in expected.items()}, rel=1e-4)


def test_who_votes_for_a_wrong_label_that_wins_is_trusted_less():
    x, y = rows()
    learner = learned(x, y, neighbours=7, pruning="soft")
    wrong = [0] * len(x)
    for row in range(len(x)):
        left = [place for place in range(len(x)) if place != row]
        cosines = {place: float(torch.cosine_similarity(x[row], x[place], dim=0)) for place in left}
        nearest = sorted(left, key=lambda place: -cosines[place])[:7]
        sums = dict.fromkeys(y.tolist(), 0.0)
        for rank, place in enumerate(nearest):
            sums[int(y[place])] += 1 / (2 + rank)
        answer = max(sums, key=sums.get)
        if answer != y[row]:
            for place in nearest:
                wrong[place] += int(y[place]) == answer
    assert learner.entries.marks.tolist() == wrong
    assert max(wrong) > 2
    expected = [1.75 / (1 + v) if v else 1.0 for v in wrong]
    assert learner.reliability().tolist() == pytest.approx(expected)
    # the paper's own figures: 0.88 for one wrong decision, 0.16 for ten, 0.02 for a hundred
    assert [round(1.75 / (1 + v), 2) for v in (1, 10, 100)] == [0.88, 0.16, 0.02]


def test_hard_pruning_removes_entries_and_their_bytes():
    x, y = rows()
    plain, pruned = (
        learned(x, y, neighbours=7, pruning="soft"),
        learned(x, y, neighbours=7, pruning="hard", threshold=2),
    )
    stay = (plain.entries.marks < 2).nonzero().squeeze(1)
    assert torch.equal(pruned.entries.ids, stay)
    assert 0 < len(stay) < len(x)
    assert pruned.footprint().total < plain.footprint().total


@given(st.integers(0, 10_000), st.sampled_from(["none", "soft"]), st.integers(1, 59))
@settings(max_examples=20, deadline=None)
def test_deleting_equals_never_having_inserted(seed: int, pruning: str, gone: int):
    x, y = rows(60, seed)
    ids = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[:60]
    away = torch.zeros(60, dtype=torch.bool)
    away[torch.randperm(60, generator=torch.Generator().manual_seed(seed + 1))[:gone]] = True
    learner = learned(x, y, ids, neighbours=7, pruning=pruning)
    receipt = learner.forget(rm.Request(ids=tuple(ids[away].tolist())))
    other = learned(x[~away], y[~away], ids[~away], neighbours=7, pruning=pruning)
    assert receipt.complete and receipt.count == gone
    assert learner.classes == other.classes
    for name in ("vectors", "labels", "ids", *(["marks"] if pruning == "soft" else [])):
        assert torch.equal(getattr(learner.entries, name), getattr(other.entries, name)), name
    assert torch.allclose(learner.predict(x).scores, other.predict(x).scores)


def test_rows_learned_after_the_last_review_stay_unreviewed_when_others_are_forgotten():
    x, y = rows(60)
    learner = learned(x[:40], y[:40], neighbours=7, pruning="soft", batch_size=10)
    steps = learner.steps(Experience(1, InMemory(x[40:], y[40:], torch.arange(40, 60))))
    next(steps)
    learner.forget(rm.Request(ids=tuple(range(5))))
    other = learned(x[5:40], y[5:40], torch.arange(5, 40), neighbours=7, pruning="soft", batch_size=10)
    assert torch.equal(learner.entries.marks[:35], other.entries.marks)
    assert learner.entries.marks[35:].tolist() == [-1] * 10
    assert (learner.reliability()[35:] == 1).all()


def test_a_rest_takes_the_record_of_rows_that_came_since():
    x, y = rows(60)
    learner = learned(x, y, neighbours=7, pruning="soft")
    learner.entries.marks.fill_(-1)
    assert len(list(learner.consolidate(3))) == 1
    assert torch.equal(learner.entries.marks, learned(x, y, neighbours=7, pruning="soft").entries.marks)


def test_new_classes_leave_the_answers_about_old_ones_as_they_were(digits: rm.streams.Stream):
    learner = rm.make("visual-memory", digits, neighbours=10)
    experiences = list(digits.experiences())
    learner.learn(experiences[0])
    before = float((learner.predict(digits.tests[0].x).labels == digits.tests[0].y).float().mean())
    for experience in experiences[1:]:
        learner.learn(experience)
    after = float((learner.predict(digits.tests[0].x).labels == digits.tests[0].y).float().mean())
    assert after > 0.95 and before - after < 0.02


def test_a_budget_bounds_the_memory_and_counts_the_encoder(digits: rm.streams.Stream):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7), torch.nn.ReLU(), torch.nn.Linear(7, 10))
    for model, least in ((None, 29_000), (net, 29_900)):
        learner = rm.make("visual-memory", digits, model=model, budget=30_000)
        for experience in digits.experiences():
            learner.learn(experience)
        assert least < learner.footprint().total <= 30_000
    assert learner.entries.vectors.shape[1] == 7


def test_an_emptied_memory_answers_that_it_knows_nothing(digits: rm.streams.Stream):
    learner = rm.make("visual-memory", digits).learn(next(digits.experiences()))
    for label in (0, 1):
        learner.forget(rm.Request(label=label))
    assert learner.footprint().total == 0
    assert learner.predict(digits.tests[0].x[:2]).labels.tolist() == [-1, -1]


def test_wrong_settings_are_one_sentence():
    for wrong in ({"neighbours": 0}, {"voting": "loud"}, {"pruning": "medium"}, {"alpha": 0.0}, {"entries": -1}):
        with pytest.raises(rm.errors.UsageError, match=next(iter(wrong))):
            VisualMemory(3, **wrong)
