"""Expandable DER: whole bodies, then a classifier stage of its own."""

import copy

import pytest
import torch

import remanence as rm
from remanence.errors import BudgetError

STREAM = rm.streams.split("digits", experiences=4)
SETTINGS = {"model": "mlp:16", "size": 40, "classifier_epochs": 3, "classifier_batch": 16}


def at_stage_two(experience=1):
    """A learner one update into its classifier stage."""
    learner = rm.make("der-expandable", STREAM, **SETTINGS)
    everything = list(STREAM.experiences())
    for earlier in everything[:experience]:
        learner.learn(earlier)
    updates = learner.steps(everything[experience])
    for _ in updates:
        if any("classifier" in mark for mark in learner.context.cursor.marks):
            return learner, updates
    raise RuntimeError("there was no classifier stage")


def test_the_classifier_stage_moves_the_head_alone_and_starts_it_anew():
    learner, updates = at_stage_two()
    body = copy.deepcopy(learner.model.body.state_dict())
    head = learner.model.head.weight.detach().clone()
    rest = list(updates)
    assert not torch.equal(head, learner.model.head.weight)
    for name, value in learner.model.body.state_dict().items():
        assert torch.equal(value, body[name]), name
    batches = -(-len(learner.memory.balanced()) // 16)
    assert len(rest) == 3 * batches - 1
    assert all(update.examples == 0 and update.rehearsed > 0 for update in rest)


def test_the_classifier_stage_sees_as_many_of_each_class():
    learner, _ = at_stage_two(2)
    labels = learner.memory.y[learner.memory.balanced()]
    counts = torch.unique(labels, return_counts=True)[1]
    assert len(counts) == len(learner.model.classes)
    assert (counts == counts[0]).all()


def test_the_first_experience_has_no_classifier_stage():
    learner = rm.make("der-expandable", STREAM, **SETTINGS)
    first = next(STREAM.experiences())
    updates = list(learner.steps(first))
    assert len(updates) == -(-len(first.examples) // 10) + 1  # the last one is the herding
    assert updates[-1].steps == 0 and updates[-1].forwards == len(first.examples)


def test_old_bodies_with_batch_normalisation_stay_as_they_were():
    body = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    learner = rm.make("der-expandable", STREAM, **{**SETTINGS, "model": body})
    everything = list(STREAM.experiences())
    learner.learn(everything[0])
    before = copy.deepcopy(learner.model.body.blocks[0].state_dict())
    answer = learner.predict(STREAM.tests[0].x).scores
    learner.learn(everything[1])
    assert answer.shape[1] < learner.predict(STREAM.tests[0].x).scores.shape[1]
    for name, value in learner.model.body.blocks[0].state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module.training for module in learner.model.body.blocks[0].modules())
    assert all(module.training for module in learner.model.body.blocks[1].modules())


def test_bit_equal_after_growth_and_in_the_classifier_stage(interrupted):
    length = sum(
        1
        for learner in [rm.make("der-expandable", STREAM, momentum=0.9, **SETTINGS)]
        for experience in STREAM.experiences()
        for _ in learner.steps(experience)
    )
    stops = [3, length // 3, length // 2, length - 7, length - 3, length - 2]
    model = SETTINGS["model"]
    others = {key: value for key, value in SETTINGS.items() if key != "model"}
    learner = interrupted("der-expandable", STREAM, stops, model, momentum=0.9, **others)
    assert len(learner.model.body.blocks) == 4


def test_what_cannot_fit_is_refused_when_the_body_grows():
    learner = rm.make("der-expandable", STREAM, model="mlp:16", budget=13_000, classifier_epochs=1)
    done = 0
    with pytest.raises(BudgetError, match=r"13\.0 KB"):
        for experience in STREAM.experiences():
            learner.learn(experience)
            done += 1
    assert done == 2
