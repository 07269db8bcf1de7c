"""G-ACIL: the recursion against joint ridge regression, forgetting against never having seen, and the budget."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.errors import BudgetError, UsageError
from remanence.factory import build, recipe_for
from remanence.request import Request
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.heads.g_acil import GACIL

INPUTS, BUFFER = 6, 12


def rows(n: int, seed: int = 0, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, INPUTS, generator=draw), torch.randint(classes, (n,), generator=draw) * 3


def learned(x: torch.Tensor, y: torch.Tensor, batch_size: int = 10, **options: object) -> GACIL:
    learner = GACIL(INPUTS, batch_size=batch_size, **{"buffer": BUFFER, "gamma": 0.1, **options})
    return learner.learn(Experience(0, InMemory(x, y))) if len(x) else learner


def ridge(learner: GACIL, x: torch.Tensor, y: torch.Tensor) -> dict[int, torch.Tensor]:
    """Joint ridge regression on one-hot labels in the learner's random features, one weight vector a class."""
    z = learner.expand(learner.features(x))
    correlation = z.T @ z + learner.gamma * torch.eye(z.shape[1], dtype=torch.float64)
    return {label: torch.linalg.solve(correlation, z.T @ (y == label).double()) for label in dict.fromkeys(y.tolist())}


def weights(learner: GACIL) -> dict[int, torch.Tensor]:
    return {label: learner.weight[:, column] for column, label in enumerate(learner.classes)}


# Features are float32: some processors round a product of one row otherwise than one of many, and a small ridge enlarges it
def close(one: dict[int, torch.Tensor], other: dict[int, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[label], other[label], rtol=1e-4, atol=1e-5) for label in one
    )


def held(learner: GACIL) -> tuple[object, ...]:
    return learner.inverse.clone(), learner.weight.clone(), learner.counts.clone(), list(learner.classes)


def same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 80),
    seed=st.integers(0, 10**6),
    batch_size=st.integers(1, 90),
    classes=st.integers(1, 6),
    gamma=st.sampled_from([0.01, 1.0, 100.0]),
    grouped=st.booleans(),
)
def test_weights_equal_joint_ridge_regression_in_any_order(n, seed, batch_size, classes, gamma, grouped):
    x, y = rows(n, seed, classes)
    if grouped:  # class after class, as a class-incremental stream brings them
        order = y.argsort(stable=True)
        x, y = x[order], y[order]
    learner = learned(x, y, batch_size, gamma=gamma)
    assert close(weights(learner), ridge(learner, x, y))
    assert learner.counts.tolist() == [int((y == label).sum()) for label in learner.classes]
    turned = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert close(weights(learned(x[turned], y[turned], 7, gamma=gamma)), weights(learner))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 60), seed=st.integers(0, 10**6), data=st.data())
def test_forgetting_equals_never_having_seen(n, seed, data):
    x, y = rows(n, seed)
    gone = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    if not gone.any():
        gone[0] = True
    learner = learned(x, y)
    receipt = learner.forget(Request(x=x[gone], y=y[gone]))
    other = learned(x[~gone], y[~gone])
    assert receipt.complete and receipt.count == int(gone.sum())
    assert close(weights(learner), weights(other))
    assert torch.allclose(learner.inverse, other.inverse, rtol=1e-4, atol=1e-5)
    counts = dict(zip(other.classes, other.counts.tolist(), strict=True))
    assert dict(zip(learner.classes, learner.counts.tolist(), strict=True)) == counts


def test_a_class_is_forgotten_when_all_of_its_rows_are_given():
    x, y = rows(80)
    learner = learned(x, y)
    before, mine = held(learner), y == 3
    with pytest.raises(UsageError, match="5 of its rows were not given"):
        learner.forget(Request(label=3, x=x[mine][5:], y=y[mine][5:]))
    assert same(held(learner), before)
    learner.forget(Request(label=3, x=x[mine], y=y[mine]))
    assert 3 not in learner.classes
    assert close(weights(learner), weights(learned(x[~mine], y[~mine])))
    assert 3 not in learner.predict(x).labels


def test_a_class_goes_with_its_last_row():
    x, y = rows(30)
    learner = learned(x, y)
    mine = y == 6
    learner.forget(Request(x=x[mine], y=y[mine]))
    assert 6 not in learner.classes


@pytest.mark.parametrize("what", ["twice", "strange rows", "a strange class", "more than a class has", "ids alone"])
def test_what_was_never_learned_is_refused_and_leaves_everything_as_it_was(what):
    x, y = rows(12)  # as many rows as features, so that a strange row sticks out
    learner = learned(x, y, buffer=40)
    strange, _ = rows(5, seed=99)
    requests = {
        "twice": Request(x=x[:1].repeat(2, 1), y=y[:1].repeat(2)),
        "strange rows": Request(x=strange[:1], y=y[:1]),
        "a strange class": Request(x=x[:2], y=torch.tensor([int(y[0]), 77])),
        "more than a class has": Request(x=x.repeat(2, 1), y=y.repeat(2)),
        "ids alone": Request(ids=(1, 2)),
    }
    before = held(learner)
    with pytest.raises(UsageError):
        learner.forget(requests[what])
    assert same(held(learner), before)


def test_a_request_is_forgotten_whole_or_not_at_all():
    x, y = rows(300, classes=1)
    learner = learned(x, y, batch_size=100, buffer=400)
    strange, _ = rows(1, seed=99)
    before = held(learner)
    with pytest.raises(UsageError, match="never learned"):  # the first 256 rows alone could be subtracted
        learner.forget(Request(x=torch.cat([x[:260], strange * 10]), y=torch.zeros(261, dtype=torch.int64)))
    assert same(held(learner), before)


def test_forgotten_rows_can_be_learned_again():
    x, y = rows(50)
    learner = learned(x, y)
    learner.forget(Request(x=x[:20], y=y[:20]))
    learner.learn(Experience(1, InMemory(x[:20], y[:20])))
    assert close(weights(learner), ridge(learner, x, y))


def test_giving_up_features_leaves_what_a_learner_without_them_would_hold():
    x, y = rows(60)
    learner = learned(x, y)
    learner._shrink(1000)
    assert 1 <= learner.buffer < BUFFER
    assert close(weights(learner), ridge(learner, x, y))
    more, labels = rows(30, seed=5, classes=6)
    learner.learn(Experience(1, InMemory(more, labels)))
    assert close(weights(learner), ridge(learner, torch.cat([x, more]), torch.cat([y, labels])))


@settings(max_examples=25, deadline=None)
@given(budget=st.integers(3_000, 200_000), classes=st.integers(1, 60))
def test_a_budget_is_kept_whatever_classes_appear(budget, classes):
    x = torch.randn(classes * 2, INPUTS, generator=torch.Generator().manual_seed(0))
    y = torch.arange(classes * 2) // 2
    stream = rm.streams.tensors(x, y, experiences=1)
    learner = build(recipe_for("g-acil", stream, budget=budget))
    for _ in learner.steps(Experience(0, InMemory(x, y))):
        assert learner.footprint().total <= budget
    assert close(weights(learner), ridge(learner, x, y))


def test_a_learner_that_gave_up_features_is_saved_and_goes_on(tmp_path):
    stream = rm.streams.split("digits", experiences=5)
    learner = build(recipe_for("g-acil", stream, budget=40_000))
    learner.budget -= 4_000  # as if more classes than it sized for had appeared
    experiences = list(stream.experiences())
    learner.learn(experiences[0])
    learner.save(tmp_path / "it")
    loaded = rm.load(tmp_path / "it")
    loaded.budget = learner.budget
    learner.learn(experiences[1])
    loaded.learn(experiences[1])
    assert loaded.buffer == learner.buffer
    assert torch.equal(loaded.weight, learner.weight)


def test_a_width_that_was_asked_for_is_kept_and_refused_where_it_does_not_fit():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(BudgetError, match="g-acil holds"):
        build(recipe_for("g-acil", stream, budget=40_000, settings={"buffer": 300}))


@pytest.mark.parametrize("name", ["g-acil", "ncm", "kalman"])
def test_where_questions_come_with_their_task_only_its_classes_compete(name, tmp_path):
    stream = rm.streams.split("digits", experiences=5, task_ids=True)
    learner = rm.make(name, stream, **({"buffer": 50} if name == "g-acil" else {}))
    for experience in list(stream.experiences())[:3]:
        learner.learn(experience)
    learner.save(tmp_path / "it")
    for answering in (learner, rm.load(tmp_path / "it")):
        for test in stream.tests[:3]:
            told = answering.predict(test.x, task=test.task)
            assert set(told.labels.tolist()) <= set(test.classes)
            assert torch.equal(answering.predict(test.x).scores[:, 0], answering.predict(test.x, task=99).scores[:, 0])
