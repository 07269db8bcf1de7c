"""SLCA: Gaussians of features, an alignment of its own, and the head given back before the next experience."""

import copy

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError

STREAM = rm.streams.split("digits", experiences=4, order="shuffled", seed=1)
SETTINGS = {"model": "mlp:24,12", "epochs_aligned": 2, "drawn": 16}


def learned(experiences, **settings):
    learner = rm.make("slca", STREAM, **{**SETTINGS, **settings})
    for _, experience in zip(range(experiences), STREAM.experiences(), strict=False):
        learner.learn(experience)
    return learner


def test_each_class_is_kept_as_mean_and_covariance_of_its_features():
    learner = learned(1)
    part = learner.parts[0]
    rows = next(STREAM.experiences()).examples.span(0, 10_000)
    features = learner.features(rows.x).double()
    for place, label in enumerate(part.labels.tolist()):
        mine = features[rows.y == label]
        covariance = (mine - mine.mean(0)).T @ (mine - mine.mean(0)) / (len(mine) - 1) + 1e-4 * torch.eye(12)
        assert torch.allclose(part.means[place].double(), mine.mean(0), atol=1e-5)
        assert torch.allclose((part.factors[place] @ part.factors[place].T).double(), covariance, atol=1e-4)


def test_what_is_drawn_has_the_moments_kept_and_older_means_are_shrunk():
    learner = learned(2, drawn=20_000, epochs_aligned=0)
    part = learner.parts[0]
    rows, labels = part.draw(0, 1, 0)
    shrunk = {0: 0.95, 1: 1.0}
    for place, label in enumerate(part.labels.tolist()):
        mine = rows[labels == label]
        assert len(mine) == 20_000
        expected = part.means[place] * shrunk[int(part.when[place])]
        covariance = part.factors[place] @ part.factors[place].T
        scale = covariance.diagonal().max().sqrt()
        assert (mine.mean(0) - expected).abs().max() < 0.05 * scale
        assert (torch.cov(mine.T) - covariance).abs().max() < 0.1 * scale**2


def test_rows_compete_only_within_their_experience():
    learner = learned(1)
    experience = list(STREAM.experiences())[1]
    before = learner.model.head.weight.detach().clone()
    old = len(before)
    updates = learner.steps(experience)
    next(updates)
    assert torch.equal(learner.model.head.weight[:old], before)
    assert learner.model.head.weight.grad[old:].abs().sum() > 0


def test_the_body_is_slow_from_the_second_experience_or_at_once():
    for pretrained in (False, True):
        learner = rm.make("slca", STREAM, **SETTINGS, pretrained=pretrained, lr=0.1)
        for index, experience in enumerate(STREAM.experiences()):
            next(learner.steps(experience))
            rates = {group["lr"] for group in learner.optimizer.param_groups}
            assert rates == ({0.1} if index == 0 and not pretrained else {0.1, 0.001})
            if index == 1:
                break
            learner.context.cursor.stage = "done"


def test_the_alignment_moves_the_head_alone_and_is_taken_back():
    learner = learned(2, epochs_aligned=0)
    unaligned = copy.deepcopy(learner.model.state_dict())
    learner = learned(2)
    aligned = learner.model.state_dict()
    for name, value in unaligned.items():
        assert torch.equal(value, aligned[name]) is name.startswith("body."), name
    learner._enter(list(STREAM.experiences())[2], 0)
    learner.parts[0].before_experience(learner.context, list(STREAM.experiences())[2])
    for name, value in unaligned.items():
        assert torch.equal(value, learner.model.state_dict()[name]), name


def test_bit_equal_also_in_the_middle_of_the_alignment(interrupted):
    interrupted("slca", STREAM, [10, 60, -20, -9, -4], "mlp:24,12", epochs_aligned=2, drawn=16)


def test_the_body_may_be_the_users_own():
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    learner = rm.make("slca", STREAM, model=body, pretrained=True, slow=0.0, drawn=8)
    before = learner.model.body[1].weight.detach().clone()
    for experience in STREAM.experiences():
        learner.learn(experience)
    assert torch.equal(before, learner.model.body[1].weight)


def test_a_forgotten_class_leaves_no_gaussian():
    learner = learned(2)
    label = int(learner.parts[0].labels[0])
    receipt = learner.forget(rm.Request(label=label))
    assert receipt.places["statistics"] == "removed"
    assert label not in learner.parts[0].labels.tolist()
    assert learner.forget(rm.Request(ids=(3,))).places["statistics"] == "remains"


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(UsageError, match="temperature"):
        rm.make("slca", STREAM, temperature=0)
