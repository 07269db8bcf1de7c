"""Gradient episodic memory: the projection against all active sets, and which rows are kept."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.errors import NeedsError, UsageError
from remanence.request import Request
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.gradients.episodic import EpisodicMemory, flat_gradient, memory_gradient
from remanence.weights.gradients.gem import project


def by_active_sets(g, a):
    """Try every set of constraints that could be tight; the feasible answer nearest to g is the projection."""
    best = None
    for tight in itertools.chain.from_iterable(itertools.combinations(range(len(a)), n) for n in range(len(a) + 1)):
        z = g.clone()
        if tight:
            rows = a[list(tight)]
            z = g - rows.t() @ torch.linalg.pinv(rows @ rows.t()) @ (rows @ g)
        if (a @ z >= -1e-9).all() and (best is None or (z - g).norm() < (best - g).norm()):
            best = z
    return best


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10_000), st.booleans())
def test_the_projection_is_the_nearest_feasible_gradient(k, p, seed, repeated):
    draw = torch.Generator().manual_seed(seed)
    g = torch.randn(p, generator=draw, dtype=torch.float64)
    a = torch.randn(k, p, generator=draw, dtype=torch.float64)
    if repeated:
        a[-1] = 2 * a[0]
    torch.testing.assert_close(project(g, a), by_active_sets(g, a), rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 6), st.floats(0, 2), st.integers(0, 10_000))
def test_the_conditions_of_an_optimum_hold(k, margin, seed):
    draw = torch.Generator().manual_seed(seed)
    g = torch.randn(30, generator=draw, dtype=torch.float64)
    a = torch.randn(k, 30, generator=draw, dtype=torch.float64)
    z = project(g, a, margin)
    if (a @ g >= 0).all():
        assert z is g
        return
    v = torch.linalg.lstsq(a.t(), (z - g).unsqueeze(1)).solution.squeeze(1)
    slack = a @ z
    assert (v >= margin - 1e-8).all()
    assert (slack >= -1e-8).all()
    assert float(((v - margin) * slack).abs().max()) < 1e-7


def test_earlier_gradients_of_nothing_change_nothing():
    g = torch.randn(5)
    assert project(g, torch.zeros(2, 5)) is g


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 7)), min_size=1, max_size=12))
def test_the_latest_rows_of_each_task_are_kept(size, batches):
    memory = EpisodicMemory(size)
    offered = {}
    seen = 0
    for task, rows in batches:
        ids = torch.arange(seen, seen + rows)
        seen += rows
        memory.keep_latest(Batch(ids.unsqueeze(1).float(), ids, ids, rows), task)
        offered.setdefault(task, []).extend(ids.tolist())
    held = {task: memory.ids[memory.slots_of(task)].tolist() for task in memory.held_tasks()}
    assert sum(len(ids) for ids in held.values()) == len(memory) == min(size, seen)
    assert memory.seen == seen
    assert batches[-1][0] in held
    for ids in held.values():
        assert len(set(ids)) == len(ids)
    if len(offered) <= size:
        assert all(held.get(task) for task in offered)
    for task, ids in held.items():
        assert max(ids) == offered[task][-1]
    assert torch.equal(memory.x[: len(memory), 0].long(), memory.ids[: len(memory)])


def test_tasks_that_come_in_turn_get_equal_shares():
    memory = EpisodicMemory(12)
    for task in range(4):
        for start in range(0, 20, 5):
            ids = torch.arange(start, start + 5) + 100 * task
            memory.keep_latest(Batch(ids.unsqueeze(1), ids, ids, 5), task)
    for task in range(4):
        assert sorted(memory.ids[memory.slots_of(task)].tolist()) == [100 * task + n for n in (17, 18, 19)]


def after(experiences, **given_settings):
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("gem", stream, model="mlp:12", **{"lr": 0.05, "size": 40, **given_settings})
    handed = list(stream.experiences())
    for experience in handed[:experiences]:
        learner.learn(experience)
    return learner, handed


def test_no_step_opposes_a_remembered_task():
    learner, handed = after(2, margin=0.0)
    part, context = learner.parts[0], learner.context
    rows = handed[2].examples.span(0, 10)
    learner.context.add_classes([4, 5])
    step = Step(context, handed[2], Batch(rows.x, rows.y, rows.ids, 10), 0, 1)
    learner._loop.forward(step)
    learner._objective(step).backward()
    before = flat_gradient(context)
    earlier = [memory_gradient(step, part.memory.batch(part.memory.slots_of(task))) for task in (0, 1)]
    assert torch.equal(flat_gradient(context), before)
    context.backwards = 0
    part.on_gradient(step)
    assert context.backwards == 40
    assert any(float(e @ before) < 0 for e in earlier)
    for gradient in earlier:
        assert float(gradient @ flat_gradient(context)) > -1e-5 * float(gradient.norm() * before.norm())


def test_the_first_task_is_learned_as_by_plain_training():
    stream = rm.streams.split("digits", experiences=5)
    plain = rm.make("naive", stream, model="mlp:12", lr=0.05)
    learner, handed = after(1)
    plain.learn(handed[0])
    mine = learner.model.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in plain.model.state_dict().items())


def test_saved_and_loaded_it_goes_on_to_the_bit_after_forgetting(tmp_path):
    learner, handed = after(2)
    gone = learner.parts[0].memory.ids[3:9].tolist()
    receipt = learner.forget(Request(ids=tuple(gone)))
    assert (receipt.count, receipt.places["rehearsal"]) == (6, "removed")
    learner.save(tmp_path / "saved")
    twin, _ = after(0)
    twin.load_state(tmp_path / "saved")
    learner.learn(handed[2])
    twin.learn(handed[2])
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in learner.state_dict().items())
    assert len(learner.parts[0].memory) == 40


def test_what_is_wrong_is_refused():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(UsageError, match="margin"):
        rm.make("gem", stream, margin=-0.1)
    with pytest.raises(NeedsError, match="boundaries"):
        rm.make("gem", stream.disclose(boundaries=False, classes=False))
