"""Discrete key-value bottleneck: nearest keys against a loop, and that only fetched values move."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

import remanence as rm
from remanence.weights.modules.dkvb import Keys, Values

SMALL = {"model": "linear", "books": 8, "pairs": 16, "lr": 20.0}


def test_each_codebook_takes_its_nearest_key():
    keys = Keys(5, books=3, pairs=7, width=2, seed=0)
    z = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    chosen = keys.train()(z)
    for row in range(4):
        for book in range(3):
            h = z[row] @ keys.projection[:, book]
            far = [float((h - key).square().sum()) for key in keys.keys[book]]
            assert int(chosen[row, book]) == 7 * book + far.index(min(far))


def test_answers_use_only_keys_that_training_chose():
    keys = Keys(5, books=3, pairs=7, width=2, seed=0).eval()
    keys.used[:, 4] = True
    assert keys(torch.randn(6, 5)).unique().tolist() == [4, 11, 18]


def test_scores_are_the_mean_of_the_fetched_values_and_widen_with_zeros():
    head = Values(2, 3)
    head.grow([5, 1])
    with torch.no_grad():
        head.weight.copy_(torch.arange(12.0).view(6, 2))
    fetched = torch.tensor([[0, 3], [2, 5]])
    assert head(fetched).tolist() == [[3.0, 4.0], [7.0, 8.0]]
    head.grow([9])
    assert head(fetched)[:, 2].tolist() == [0.0, 0.0]


def test_only_fetched_values_move_and_keys_stand_still():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("dkvb", stream, **SMALL)
    first, second = list(stream.experiences())[:2]
    learner.learn(first)
    keys = learner.model.body[1]
    before, placed = learner.model.head.weight.detach().clone(), keys.keys.clone()
    encoder = [p.clone() for p in learner.model.body[0].parameters()]
    learner.model.head.grow(list(second.classes))
    fetched = set()
    learner._hooks["after_step"].append(lambda step: fetched.update(step.features.flatten().tolist()))
    learner.learn(second)
    after = learner.model.head.weight.detach()
    still = torch.tensor([row not in fetched for row in range(len(after))])
    assert 0 < int(still.sum()) < len(after)
    assert torch.equal(after[still][:, :2], before[still])
    assert torch.equal(keys.keys, placed)
    assert all(torch.equal(a, b) for a, b in zip(encoder, learner.model.body[0].parameters(), strict=True))


def test_one_step_equals_the_formula():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("dkvb", stream, clip=1e9, **SMALL)
    steps = []
    learner._hooks["after_step"].append(steps.append)
    updates = learner.steps(next(iter(stream.experiences())))
    next(updates)
    next(updates)
    step, weight = steps[0], torch.zeros(128, 2)
    target = torch.full((10, 2), 0.05).scatter(1, step.columns.unsqueeze(1), 0.95)
    for row in range(10):
        for place in step.features[row].tolist():
            weight[place] -= 20.0 / 8 / 10 * (torch.softmax(step.scores[row], 0) - target[row]).detach()
    assert torch.allclose(learner.model.head.weight, weight, atol=1e-6)
    assert torch.allclose(step.loss, cross_entropy(step.scores, target), atol=1e-6)


def test_placed_keys_lie_closer_to_the_rows_than_random_ones():
    z = torch.rand(200, 20, generator=torch.Generator().manual_seed(0))
    keys = Keys(20, books=4, pairs=16, width=3, seed=0)

    def distance() -> float:
        return float(torch.cdist(keys.projected(z), keys.keys).min(2).values.mean())

    before = distance()
    keys.place([z[:100], z[100:]], 0.95, torch.Generator().manual_seed(1), 10)
    assert distance() < before / 2
    assert bool(keys.placed)


def test_a_single_batch_of_near_rows_spreads_over_the_keys():
    draw = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(500, 384, generator=draw), dim=1)  # far from the keys' first places
    keys = Keys(384, books=2, pairs=256, width=8, seed=0).train()
    keys.place([z], 0.95, draw, 10)
    assert min(len(book.unique()) for book in keys(z).T) > 192
