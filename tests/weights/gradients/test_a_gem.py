"""Averaged gradient episodic memory: the projection, the rows it is measured on, saving."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.errors import NeedsError, UsageError
from remanence.weights.batch import Batch
from remanence.weights.gradients import gem
from remanence.weights.gradients.a_gem import project


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(0, 10_000))
def test_it_is_the_projection_of_one_constraint(p, seed):
    draw = torch.Generator().manual_seed(seed)
    g, earlier = torch.randn(2, p, generator=draw, dtype=torch.float64)
    z = project(g, earlier)
    torch.testing.assert_close(z, gem.project(g, earlier.unsqueeze(0)), rtol=1e-9, atol=1e-12)
    if float(g @ earlier) < 0:
        assert abs(float(z @ earlier)) < 1e-9
    else:
        assert z is g


def test_a_reference_of_nothing_changes_nothing():
    g = torch.randn(5)
    assert project(g, torch.zeros(5)) is g


def after(experiences, **given_settings):
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("a-gem", stream, model="mlp:12", **{"lr": 0.05, "size": 40, **given_settings})
    handed = list(stream.experiences())
    for experience in handed[:experiences]:
        learner.learn(experience)
    return learner, handed


def test_one_pass_over_the_reference_is_counted():
    learner, handed = after(1, reference=16)
    update = next(learner.steps(handed[1]))
    assert (update.examples, update.forwards, update.backwards) == (10, 26, 26)
    first, _ = after(0, reference=16)
    assert next(first.steps(handed[0])).forwards == 10


def test_the_reference_is_drawn_from_earlier_tasks_only(monkeypatch):
    learner, handed = after(2)
    memory = learner.parts[0].memory
    drawn = []
    taken = memory.batch

    def watched(slots: torch.Tensor) -> Batch:
        drawn.append(memory.extra("task")[slots].clone())
        return taken(slots)

    monkeypatch.setattr(memory, "batch", watched)
    learner.learn(handed[2])
    assert set(torch.cat(drawn).tolist()) == {0, 1}


def test_saved_and_loaded_it_goes_on_to_the_bit(tmp_path):
    learner, handed = after(2)
    learner.save(tmp_path / "saved")
    twin, _ = after(0)
    twin.load_state(tmp_path / "saved")
    learner.learn(handed[2])
    twin.learn(handed[2])
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in learner.state_dict().items())


def test_what_is_wrong_is_refused():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(UsageError, match="reference"):
        rm.make("a-gem", stream, reference=0)
    with pytest.raises(NeedsError, match="boundaries"):
        rm.make("a-gem", stream.disclose(boundaries=False, classes=False))
