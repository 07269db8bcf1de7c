"""What the tests of gradient-trained learners share."""

from __future__ import annotations

import itertools

import pytest
import torch

import remanence as rm


def whole_state(learner):
    tensors, structure = learner._state()
    return {name: tensor.clone() for name, tensor in tensors.items()}, structure


def assert_same(first, second):
    (tensors, structure), (others, other) = whole_state(first), whole_state(second)
    assert structure == other
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, others[name]), name


@pytest.fixture
def interrupted(tmp_path):
    """Learn a stream undisturbed, and again with a save and a load after each of the updates in `stops`."""

    def run(name, stream, stops, model=None, **settings):
        undisturbed = rm.make(name, stream, model=model, **settings)
        lengths = []
        for experience in stream.experiences():
            before = len(lengths)
            lengths += [None] * sum(1 for _ in undisturbed.steps(experience))
            assert len(lengths) > before
        learner, done = rm.make(name, stream, model=model, **settings), 0
        for experience in stream.experiences():
            inside, finished = 0, False
            while not finished:
                finished = True
                for _ in learner.steps(experience, start=inside):
                    done, inside = done + 1, inside + 1
                    if done % len(lengths) in {stop % len(lengths) for stop in stops}:
                        path = tmp_path / "state.safetensors"
                        learner.save(path)
                        budget = learner.budget
                        learner, finished = rm.load(path), False
                        learner.budget = budget
                        break
        assert done == len(lengths)
        assert_same(undisturbed, learner)
        x = torch.cat([test.x for test in itertools.islice(stream.tests, 5)])[:50]
        assert torch.equal(undisturbed.predict(x).scores, learner.predict(x).scores)
        return undisturbed

    return run
