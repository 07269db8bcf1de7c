"""Learning without forgetting: the distillation against its formula, and which classes compete."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.errors import NeedsError, UsageError
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.penalties.lwf import distillation, groups


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.5, 8), st.integers(0, 1000))
def test_distillation_equals_the_papers_formula(rows, classes, temperature, seed):
    draw = torch.Generator().manual_seed(seed)
    scores, old = torch.randn(2, rows, classes, generator=draw, dtype=torch.float64)
    p, q = old.softmax(1), scores.softmax(1)
    sharpened = p ** (1 / temperature) / (p ** (1 / temperature)).sum(1, keepdim=True)
    answered = q ** (1 / temperature) / (q ** (1 / temperature)).sum(1, keepdim=True)
    expected = -(sharpened * answered.log()).sum(1).mean()
    torch.testing.assert_close(distillation(scores, old, temperature), expected)


def learned(task_ids=False, experiences=2, **given_settings):
    stream = rm.streams.split("digits", experiences=5, task_ids=task_ids)
    learner = rm.make("lwf", stream, model="mlp:12", lr=0.05, **given_settings)
    handed = list(stream.experiences())
    for experience in handed[:experiences]:
        learner.learn(experience)
    return learner, handed


def step_of(learner, experience):
    rows = experience.examples.span(0, 10)
    learner.context.forwards = 0
    batch = Batch(rows.x, rows.y, rows.ids, 10)
    for rehearse in learner._hooks["rehearse"]:
        batch = rehearse(batch, learner.context)
    step = Step(learner.context, experience, batch, 0, 1)
    learner._loop.forward(step)
    return step


def test_nothing_is_added_before_the_first_boundary():
    learner, handed = learned(experiences=1)
    assert learner.parts[0].loss(step_of(learner, handed[0])) is None


def test_only_old_classes_are_held_and_the_extra_pass_is_counted():
    learner, handed = learned()
    step = step_of(learner, handed[1])
    scores = step.scores.detach().requires_grad_()
    step.scores = scores
    learner.parts[0].loss(step).backward()
    assert learner.context.forwards == 10
    assert scores.grad[:, :2].abs().sum() > 0
    assert scores.grad[:, 2:].abs().sum() == 0
    assert learner.previous.classes == [0, 1]
    assert all(p.grad is None for p in learner.previous.parameters())


def test_tasks_are_softened_apart():
    learner, handed = learned(task_ids=True, experiences=3)
    assert [columns.tolist() for columns in groups(learner.previous.head)] == [[0, 1], [2, 3]]
    step = step_of(learner, handed[2])
    old = learner.previous(step.x)
    expected = sum(distillation(step.scores[:, at], old[:, at], 2.0) for at in ([0, 1], [2, 3]))
    torch.testing.assert_close(learner.parts[0].loss(step), expected)


@pytest.mark.parametrize("among", ["new", "all"])
def test_rows_of_new_classes_compete_among_those_named(among):
    learner, handed = learned(among=among)
    mask = step_of(learner, handed[1]).batch.mask
    if among == "all":
        assert mask is None
    else:
        assert mask[0].tolist() == [False, False, True, True]
        mixed = step_of(learner, handed[0]).batch.mask
        assert mixed.all()


def test_where_no_class_is_new_all_compete():
    learner, handed = learned(experiences=1)
    learner.mark_boundary()
    assert step_of(learner, handed[0]).batch.mask is None
    assert learner.parts[0].loss(step_of(learner, handed[0])) is not None


def test_saved_and_loaded_it_goes_on_to_the_bit(tmp_path):
    learner, handed = learned(task_ids=True)
    learner.save(tmp_path / "saved")
    twin, _ = learned(task_ids=True, experiences=0)
    twin.load_state(tmp_path / "saved")
    learner.learn(handed[2])
    twin.learn(handed[2])
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in learner.state_dict().items())


def test_what_is_wrong_is_refused():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(UsageError, match="temperature"):
        rm.make("lwf", stream, temperature=0)
    with pytest.raises(NeedsError, match="boundaries"):
        rm.make("lwf", stream.disclose(boundaries=False, classes=False))
