"""Hypernetworks: what is made, how it is kept in place, and whose task a question belongs to."""

from dataclasses import replace

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.modes import evaluation
from remanence.streams import InMemory
from remanence.weights import optimizers

STREAM = rm.streams.split("digits", experiences=5)
TOLD = rm.streams.split("digits", experiences=5, task_ids=True)
SETTINGS = {"model": "mlp:12", "chunk": 90, "hidden": "8,8", "lr": 0.003}


def learned(experiences, stream=TOLD, **settings):
    learner = rm.make("hnet", stream, **{**SETTINGS, **settings})
    for _, experience in zip(range(experiences), stream.experiences(), strict=False):
        learner.learn(experience)
    return learner


def test_the_weights_are_the_chunks_made_one_by_one():
    body = learned(2).model.body
    made = body.weights([0, 1])
    for task, flat in enumerate(made):
        one_by_one = [body.hyper(torch.cat([body.embeddings[task], chunk])) for chunk in body.chunks]
        assert torch.allclose(flat, torch.cat(one_by_one)[: body.size(task)], atol=1e-6)
        assert len(flat) == 64 * 12 + 12 + 2 * 12 + 2


def test_the_scores_are_those_of_the_network_with_these_weights():
    learner = learned(2)
    body, x = learner.model.body, torch.rand(5, 1, 8, 8)
    flat = body.weights([1])[0]
    first, bias, out, offset = flat.split([768, 12, 24, 2])
    expected = torch.relu(x.flatten(1) @ first.view(12, 64).T + bias) @ out.view(2, 12).T + offset
    assert torch.allclose(body.scores(x, 1, flat), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("warm", [0, 3])
def test_a_previewed_step_is_the_step_and_leaves_nothing_behind(name, warm):
    layer = torch.nn.Linear(3, 2)
    named = dict(layer.named_parameters())
    settings = {"optimizer": name, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimizer = optimizers.make(settings, [(1.0, named)])
    for _ in range(warm + 1):
        optimizer.zero_grad()
        layer(torch.randn(4, 3)).square().sum().backward()
        if _ < warm:
            optimizer.step()
    before = {key: value.clone() for key, value in optimizers.tensors(optimizer, named).items()}
    weights = {key: value.detach().clone() for key, value in named.items()}
    change = optimizers.preview(optimizer, named)
    for key, value in named.items():
        assert torch.equal(value, weights[key])
    after = optimizers.tensors(optimizer, named)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    optimizer.step()
    for key, value in named.items():
        assert torch.allclose(value, weights[key] + change[key], atol=1e-7)


def test_the_penalty_adds_its_gradient_by_hand():
    learner = learned(2, beta=0.5, look_ahead=False, optimizer="sgd")
    part, experience = learner.parts[0], list(TOLD.experiences())[2]
    updates = learner.steps(experience)
    for _ in range(3):
        next(updates)
    body, previous = learner.model.body, learner.previous.body
    learner.optimizer.zero_grad()
    step = type("Step", (), {"model": learner.model, "context": learner.context})
    for parameter in body.parameters():
        parameter.grad = torch.zeros_like(parameter)
    part.on_gradient(step)
    found = body.chunks.grad.clone()
    penalty = sum((body.weights([t])[0] - previous.weights([t])[0].detach()).square().sum() for t in range(2))
    (expected,) = torch.autograd.grad(0.5 / 2 * penalty, [body.chunks])
    assert torch.allclose(found, expected, atol=1e-6) and found.abs().sum() > 0
    assert body.embeddings[2].grad.abs().sum() == 0


def test_earlier_embeddings_are_frozen_and_what_is_made_for_earlier_tasks_is_kept_in_place():
    moved = {}
    for beta in (0.0, 0.1):
        learner = learned(1, beta=beta)
        embedding = learner.model.body.embeddings[0].detach().clone()
        made = learner.model.body.weights([0])[0].detach()
        for experience in list(TOLD.experiences())[1:3]:
            learner.learn(experience)
        assert torch.equal(embedding, learner.model.body.embeddings[0])
        moved[beta] = float((learner.model.body.weights([0])[0].detach() - made).norm())
    assert moved[0.1] < 0.2 * moved[0.0]


def test_without_a_task_the_least_entropy_decides():
    learner = learned(2, STREAM)
    x = STREAM.tests[0].x[:20]
    scores = learner.predict(x).scores
    assert ((scores > -torch.inf).sum(1) == 2).all()
    with torch.no_grad(), evaluation(learner):
        features = learner.model.features(x)
    for row, block in zip(features, scores > -torch.inf, strict=True):
        entropies = [float(torch.distributions.Categorical(logits=part).entropy()) for part in row.split(2)]
        assert block.nonzero().squeeze(1).tolist() == ([0, 1] if entropies[0] <= entropies[1] else [2, 3])
    saturated = torch.tensor([[1000.0, -1000.0, 0.1, 0.2]])
    assert learner.model.head.eval()(saturated)[0, 0] == 1000
    learner.model.head.train()


def test_tasks_that_share_their_classes_share_columns():
    images = rm.streams.split("digits", experiences=1)
    first = replace(next(images.experiences()), examples=InMemory(*images.segments[0].examples.span(0, 200)))
    learner = rm.make("hnet", TOLD, **SETTINGS)
    learner.learn(replace(first, index=0, task=4, asks_task=True))
    learner.learn(replace(first, index=1, task=9, asks_task=True))
    learner.learn(replace(first, index=2, task=4, asks_task=True))
    assert len(learner.model.classes) == 10 and len(learner.model.body.embeddings) == 2
    x = images.tests[0].x[:30]
    assert not torch.equal(learner.predict(x, task=4).scores, learner.predict(x, task=9).scores)
    with pytest.raises(UsageError, match="came back with other classes"):
        learner.learn(replace(first, index=3, task=9, classes=(3, 77)))


def test_bit_equal_after_growth(interrupted):
    interrupted("hnet", STREAM, [40, 100, 139], "mlp:12", chunk=90, hidden="8,8", lr=0.003)


def test_normalisation_by_batches_is_refused():
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 3))
    with pytest.raises(UsageError, match="batch normalisation"):
        rm.make("hnet", STREAM, model=body)


def test_hidden_layers_have_the_widths_that_were_named():
    learner = rm.make("hnet", STREAM, **{**SETTINGS, "hidden": "10,7,5"})
    widths = [layer.out_features for layer in learner.model.body.hyper if isinstance(layer, torch.nn.Linear)]
    assert widths == [10, 7, 5, 90]
    with pytest.raises(UsageError, match="hidden"):
        rm.make("hnet", STREAM, hidden="10,")
