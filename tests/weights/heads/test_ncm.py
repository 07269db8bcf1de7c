"""Nearest class mean: means against a loop, order, and forgetting to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.heads.ncm import NCM, UNIT


def rows(n: int = 60, seed: int = 0, inputs: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, inputs, generator=draw), torch.randint(4, (n,), generator=draw) * 3


def learned(x: torch.Tensor, y: torch.Tensor, **settings: object) -> NCM:
    learner = NCM(x[0].numel(), **settings)
    return learner.learn(Experience(0, InMemory(x, y))) if len(x) else learner


def by_label(learner: NCM) -> dict[int, tuple[list[int], int]]:
    return {label: (learner.sums[c].tolist(), int(learner.counts[c])) for c, label in enumerate(learner.classes)}


@pytest.mark.parametrize("normalize", [True, False])
def test_means_and_answers_equal_a_loop(normalize: bool):
    x, y = rows()
    learner = learned(x, y, normalize=normalize)
    z = torch.nn.functional.normalize(x.double(), dim=1) if normalize else x.double()
    means = {label: z[y == label].mean(0) for label in learner.classes}
    for column, label in enumerate(learner.classes):
        assert torch.allclose(learner.means()[column], means[label], rtol=0, atol=1 / UNIT)
    answer = learner.predict(x)
    for row in range(len(x)):
        distances = {label: float((z[row] - mean).square().sum()) for label, mean in means.items()}
        assert answer.labels[row] == min(distances, key=distances.get)
        assert -answer.scores[row].max() == pytest.approx(min(distances.values()), abs=1e-5)


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_order_and_forgetting_leave_no_trace(seed: int, gone: int):
    x, y = rows(50, seed)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    learner = learned(x[order], y[order], normalize=False)
    assert by_label(learner) == by_label(learned(x, y, normalize=False, batch_size=7))
    receipt = learner.forget(rm.Request(x=x[:gone], y=y[:gone]))
    assert receipt.complete and receipt.count == gone
    other = learned(x[gone:], y[gone:], normalize=False)
    assert by_label(learner) == by_label(other)
    same = [learner.classes.index(label) for label in other.classes]
    assert torch.allclose(learner.predict(x).scores[:, same], other.predict(x).scores, rtol=0, atol=1e-12)


def test_a_class_is_forgotten_without_its_rows():
    x, y = rows()
    learner = learned(x, y)
    receipt = learner.forget(rm.Request(label=3))
    assert receipt.count == int((y == 3).sum())
    assert by_label(learner) == by_label(learned(x[y != 3], y[y != 3]))
    assert 3 not in learner.predict(x).classes


def test_images_are_forgotten_to_the_bit():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("ncm", stream)
    for experience in stream.experiences():
        learner.learn(experience)
    first = stream.segments[0].examples.span(0, 10_000)
    learner.forget(rm.Request(x=first.x, y=first.y))
    assert len(learner.classes) == 8
    other = rm.make("ncm", stream)
    for experience in list(stream.experiences())[1:]:
        other.learn(experience)
    assert torch.equal(learner.sums, other.sums) and torch.equal(learner.counts, other.counts)
    assert torch.equal(learner.predict(first.x).scores, other.predict(first.x).scores)


def test_what_was_never_learned_cannot_be_forgotten():
    x, y = rows()
    learner = learned(x, y)
    before = by_label(learner)
    for request in (
        rm.Request(x=x[:1], y=torch.tensor([99])),
        rm.Request(x=torch.cat([x, x]), y=torch.cat([y, y])),
        rm.Request(ids=(1, 2)),
    ):
        with pytest.raises(rm.errors.UsageError):
            learner.forget(request)
    assert by_label(learner) == before


def test_a_feature_too_large_is_refused_with_the_figure():
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(rm.errors.UsageError, match="40000"):
        learned(torch.full((3, 2), 40_000.0), labels, normalize=False)
    with pytest.raises(rm.errors.UsageError, match="nan"):
        learned(torch.full((3, 2), torch.nan), labels, normalize=False)


def test_random_features_follow_the_seed_and_the_budget():
    stream = rm.streams.split("digits", experiences=5)
    one, two = (rm.make("ncm", stream, features="random", seed=s) for s in (0, 0))
    assert torch.equal(one.projection, two.projection)
    assert not torch.equal(one.projection, rm.make("ncm", stream, features="random", seed=1).projection)
    small = rm.make("ncm", stream, features="random", budget=20_000)
    for experience in stream.experiences():
        small.learn(experience)
    assert 10_000 < small.footprint().total <= 20_000


def test_it_stands_on_a_module_of_the_user():
    stream = rm.streams.split("digits", experiences=5)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7), torch.nn.ReLU(), torch.nn.Linear(7, 10))
    learner = rm.make("ncm", stream, model=net).learn(next(iter(stream.experiences())))
    assert learner.sums.shape == (2, 7)


def test_classes_that_no_longer_fit_the_budget_are_refused():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("ncm", stream, budget=2_000)
    with pytest.raises(rm.errors.BudgetError, match="4 classes"):
        for experience in stream.experiences():
            learner.learn(experience)
