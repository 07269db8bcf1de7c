"""TAME: boundaries found by the loss, experts that do not touch one another, and a selector."""

import copy

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.streams import Experience, InMemory

SETTINGS = {"model": "mlp:16", "window": 20, "warm_up": 10, "lr": 0.3, "size": 200}


def blobs(kinds, rows=300, seed=0):
    """One long experience: two classes told apart along an axis, and the sign of the axis depends on the kind."""
    draw = torch.Generator().manual_seed(seed)
    x, y = [], []
    for kind in kinds:
        labels = torch.randint(2, (rows,), generator=draw)
        points = 0.3 * torch.randn(rows, 6, generator=draw)
        points[:, kind] += 3  # which kind it is
        points[:, 5] += torch.where(labels == 1, 2.0, -2.0) * (1 if kind % 2 == 0 else -1)
        x.append(points)
        y.append(labels)
    return Experience(0, InMemory(torch.cat(x), torch.cat(y), ordered=True), boundary=False)


def learner_for(**settings):
    stream = rm.streams.split("digits", experiences=5)
    return rm.make("tame", stream, **{**SETTINGS, **settings})


def on_blobs(kinds, **settings):
    body = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    torch.manual_seed(0)
    for module in body:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return learner_for(model=body, **settings)


def test_a_change_is_found_and_a_task_that_returns_finds_its_expert():
    learner, active = on_blobs([0, 1, 0]), []
    for _ in learner.steps(blobs([0, 1, 0])):
        active.append(learner.parts[0].active)
    assert len(learner.model.body.experts) == 2
    for start, owner in ((0, 0), (30, 1), (60, 0)):
        assert active[start + 10 : start + 30] == [owner] * 20
    question = blobs([0, 1], rows=100, seed=1).examples
    answer = learner.predict(question.x)
    assert (answer.labels == question.y).float().mean() > 0.95


def test_without_a_change_there_is_one_expert_and_no_selector():
    learner = on_blobs([0])
    learner.learn(blobs([0, 0, 0]))
    assert len(learner.model.body.experts) == 1 and learner.model.body.selector is None


def test_only_the_active_expert_moves():
    learner = on_blobs([0, 1], momentum=0.9, weight_decay=0.01, lr=0.05)
    before = None
    for _ in learner.steps(blobs([0, 1])):
        if learner.parts[0].active == 1:
            state = {name: p for name, p in learner.model.state_dict().items() if ".experts.0." in name}
            state["layer"] = learner.model.head.weights[0]
            if before is None:
                before = copy.deepcopy(state)
            for name, value in state.items():
                assert torch.equal(value, before[name]), name
    assert before is not None


def test_the_threshold_is_mean_and_deviations_of_the_recent_losses():
    part = learner_for().parts[0]
    assert part.threshold(0) == float("inf")
    losses = torch.rand(20)
    part.losses[0] = losses
    part.filled[0] = 35
    assert part.threshold(0) == pytest.approx(float(losses.mean() + 3 * losses.std()))
    part.losses[0] = 0.5
    assert part.threshold(0) == pytest.approx(0.53)


def test_rows_pass_through_the_expert_that_the_selector_names():
    learner = on_blobs([0, 1])
    learner.learn(blobs([0, 1]))
    body, head, x = learner.model.body, learner.model.head, blobs([0, 1], rows=20, seed=2).examples.x
    scores = learner.predict(x).scores
    chosen = body.choose(x)
    assert set(chosen.tolist()) == {0, 1}
    with torch.no_grad():
        for row, expert, found in zip(x, chosen.tolist(), scores, strict=True):
            features = torch.cat([body.experts[expert](row.unsqueeze(0)), torch.ones(1, 1)], 1)
            assert torch.allclose(features @ head.weights[expert].T, found, atol=1e-5)


def test_an_expert_does_not_answer_a_class_that_it_never_saw():
    learner = learner_for()
    everything = list(rm.streams.split("digits", experiences=5).experiences())
    learner.learn(everything[0])
    learner.model.head.add()
    learner.context.add_classes([77])
    assert learner.model.head.weights[0][-1].tolist() == [0.0] * 16 + [-10.0]
    assert learner.model.head.weights[1][-1].abs().max() <= 0.25


def test_bit_equal_also_after_growth_and_in_the_middle_of_the_selector_phase(interrupted):
    stream = rm.streams.split("digits", experiences=2)
    learner = interrupted("tame", stream, [20, 74, 80, 90, -4, -2], **SETTINGS)
    assert len(learner.model.body.experts) > 1


def test_hidden_boundaries_are_enough():
    stream = rm.streams.split("digits", experiences=5).disclose(boundaries=False, classes=False)
    learner = rm.make("tame", stream, **SETTINGS)
    assert learner.needs == frozenset()
    for experience in stream.experiences():
        learner.learn(experience)
    assert learner.predict(stream.tests[0].x).scores.shape[1] == 10


def test_a_window_of_one_is_refused():
    with pytest.raises(UsageError, match="window"):
        learner_for(window=1)
