"""MEMO: blocks, exemplars and one byte budget for both."""

from __future__ import annotations

import copy

import pytest
import torch

import remanence as rm
from remanence.errors import BudgetError, UsageError

STREAM = rm.streams.split("digits", experiences=5)


def grown(experiences=3, **settings):
    learner = rm.make("memo", STREAM, **{"model": "mlp:24,16", "size": 60, **settings})
    for _, experience in zip(range(experiences), STREAM.experiences(), strict=False):
        learner.learn(experience)
    return learner


def test_older_blocks_never_change_and_the_newest_starts_as_a_copy():
    learner = grown(1)
    first = copy.deepcopy(learner.model.body.blocks[0].state_dict())
    row = learner.model.head.weight.detach().clone()
    learner._enter(list(STREAM.experiences())[1], 0)
    learner.parts[0].before_experience(learner.context, list(STREAM.experiences())[1])
    body, head = learner.model.body, learner.model.head
    assert len(body.blocks) == 2
    for name, value in body.blocks[1].state_dict().items():
        assert torch.equal(value, first[name])
    assert torch.equal(head.weight[:2, :16], row) and head.weight.shape == (2, 32)
    learner = grown(1)
    first = copy.deepcopy(learner.model.body.blocks[0].state_dict())
    for experience in list(STREAM.experiences())[1:3]:
        learner.learn(experience)
    for name, value in learner.model.body.blocks[0].state_dict().items():
        assert torch.equal(value, first[name])
    assert not torch.equal(learner.model.body.blocks[2][0].weight, learner.model.body.blocks[1][0].weight)


def test_shared_layers_freeze_only_on_request():
    for train_shared in (True, False):
        learner = grown(1, train_shared=train_shared)
        before = learner.model.body.shared[1].weight.detach().clone()
        learner.learn(list(STREAM.experiences())[1])
        assert torch.equal(before, learner.model.body.shared[1].weight) is not train_shared


def test_the_auxiliary_loss_takes_old_classes_for_one():
    learner = grown(1)
    experience = list(STREAM.experiences())[1]
    updates = learner.steps(experience)
    next(updates)
    body = learner.model.body
    assert body.auxiliary.out_features == 3
    features, columns = torch.randn(4, 32), torch.tensor([0, 1, 2, 3])
    scores = body.auxiliary(features[:, 16:])
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 0, 1, 2]))
    assert torch.allclose(body.auxiliary_loss(features, columns, 2), expected)
    for _ in updates:
        pass
    assert body.auxiliary is None


def test_new_rows_are_aligned_to_the_length_of_the_old():
    lengths = torch.linalg.vector_norm(grown(2).model.head.weight, dim=1)
    assert torch.isclose(lengths[:2].mean(), lengths[2:].mean(), rtol=1e-5)


def test_exemplars_give_up_bytes_to_a_new_block_and_the_budget_always_holds():
    learner = rm.make("memo", STREAM, model="mlp:24,16", budget=40_000)
    held, blocks = [], []
    for experience in STREAM.experiences():
        for k, _ in enumerate(learner.steps(experience)):
            if k % 20 == 0:
                assert learner.footprint().total <= 40_000
        held.append(learner.memory.size)
        blocks.append(len(learner.model.body.blocks))
    assert learner.footprint().total <= 40_000
    assert blocks == [1, 2, 3, 4, 5]
    assert held == sorted(held, reverse=True) and len(set(held)) == 5
    assert set(learner.memory.y[: len(learner.memory)].tolist()) == set(range(10))


def test_a_budget_that_cannot_hold_another_block_is_refused_with_figures():
    learner = rm.make("memo", STREAM, model="mlp:24,16", budget=9_500)
    with pytest.raises(BudgetError, match=r"parameters .* more than the budget of 9\.5 KB"):
        for experience in STREAM.experiences():
            learner.learn(experience)


def test_bit_equal_after_growth_and_in_the_middle(interrupted):
    learner = interrupted("memo", STREAM, [5, 29, 30, 60, 90, 91, 120], "mlp:24,16", size=40, momentum=0.5)
    assert len(learner.model.body.blocks) == 5


def test_bit_equal_with_convolutions_and_a_snapshot():
    learner = grown(2, model="cnn:4")
    learner.snapshot("two")
    before = learner.predict(STREAM.tests[0].x).scores
    learner.learn(list(STREAM.experiences())[2])
    assert len(learner.model.body.blocks) == 3
    learner.restore("two")
    assert len(learner.model.body.blocks) == 2
    assert torch.equal(before, learner.predict(STREAM.tests[0].x).scores)
    learner.learn(list(STREAM.experiences())[2])


def test_a_body_that_cannot_be_cut_is_refused():
    with pytest.raises(UsageError, match="the last 3 layers with weights shall grow, the body has 2"):
        rm.make("memo", STREAM, specialised=3)


def test_exemplars_are_forgotten_by_id():
    learner = grown(2)
    gone = learner.memory.ids[:3].tolist()
    receipt = learner.forget(rm.Request(ids=tuple(gone)))
    assert receipt.count == 3 and receipt.places["rehearsal"] == "removed" and receipt.places["weights"] == "remains"
    assert not set(gone) & set(learner.memory.ids[: len(learner.memory)].tolist())


def test_what_the_user_froze_stays_frozen_under_the_new_names():
    body = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.Linear(8, 2)
    )
    body[1].requires_grad_(False)
    learner = rm.make("memo", STREAM, model=body)
    before = body[1].weight.detach().clone()
    for experience in list(STREAM.experiences())[:2]:
        learner.learn(experience)
    assert torch.equal(before, learner.model.body.shared[1].weight)
    assert not torch.equal(learner.model.body.blocks[0][0].weight, learner.model.body.blocks[1][0].weight)
