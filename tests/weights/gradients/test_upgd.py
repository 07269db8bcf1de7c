"""Utility-based perturbed gradient descent: steps against the formula written out weight by weight."""

from __future__ import annotations

import math

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.request import Request
from remanence.weights.gradients.upgd import gates


def make(stream, name="upgd", **given_settings):
    return rm.make(name, stream, model="mlp:6", **{"lr": 0.05, "batch_size": 5, **given_settings})


def hidden():
    return rm.streams.split("digits", experiences=5).disclose(boundaries=False, classes=False)


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("protecting", [True, False])
def test_steps_equal_the_formula(scope, protecting):
    stream = rm.streams.split("digits", experiences=5)
    learner = make(stream, scope=scope, protecting=protecting, noise=0.0, shrinkage=0.2, memory_of_utility=0.9)
    experience = next(stream.experiences())
    learner.context.add_classes([0, 1])
    twin = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    traces = {name: torch.zeros_like(p) for name, p in twin.items()}
    updates = learner.steps(experience)
    for k in range(4):
        rows = experience.examples.cut(learner.sampler(experience)[k])
        leaves = {name: value.clone().requires_grad_() for name, value in twin.items()}
        scores = torch.func.functional_call(learner.model, leaves, (rows.x,))
        loss = torch.nn.functional.cross_entropy(scores, rows.y)
        gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        for name in twin:
            traces[name] = 0.9 * traces[name] + 0.1 * (-gradients[name] * twin[name])
        largest = max(float(trace.max()) for trace in traces.values())
        for name, value in twin.items():
            flat, moved = value.reshape(-1, value.shape[-1]).clone(), traces[name].reshape(-1, value.shape[-1])
            slope = gradients[name].reshape_as(flat)
            for i in range(flat.shape[0]):
                scale = largest if scope == "global" else float(moved[i].norm())
                for j in range(flat.shape[1]):
                    s = 1 / (1 + math.exp(-float(moved[i, j]) / scale)) if scale > 0 else 0.5
                    gate = 1 - s if protecting else 1.0
                    flat[i, j] = (1 - 0.05 * 0.2) * flat[i, j] - 0.05 * gate * slope[i, j]
            twin[name] = flat.reshape_as(value)
        next(updates)
        for name, parameter in learner.model.named_parameters():
            torch.testing.assert_close(parameter.detach(), twin[name], rtol=1e-4, atol=1e-6)


def test_without_noise_gate_and_shrinkage_it_is_plain_descent():
    stream = rm.streams.split("digits", experiences=5)
    plain, learner = make(stream, "naive"), make(stream, noise=0.0, shrinkage=0.0, protecting=False)
    experience = next(stream.experiences())
    plain.learn(experience)
    learner.learn(experience)
    for name, parameter in plain.model.named_parameters():
        torch.testing.assert_close(dict(learner.model.named_parameters())[name], parameter, rtol=1e-4, atol=1e-6)


def test_noise_reaches_the_useless_most():
    utilities = [torch.tensor([[-4.0, 0.0], [2.0, 4.0]])]
    found = gates(utilities, "global")[0]
    assert found[0, 1] == 0.5
    assert found[0, 0] > found[0, 1] > found[1, 0] > found[1, 1]
    torch.testing.assert_close(found, torch.sigmoid(-utilities[0] / 4))


@pytest.mark.parametrize("scope", ["global", "local"])
def test_gates_are_finite_where_nothing_is_of_use(scope):
    assert torch.equal(gates([torch.zeros(2, 3), torch.zeros(4)], scope)[0], torch.full((2, 3), 0.5))
    found = gates([torch.tensor([-1.0, -3.0, 0.0])], scope)[0]
    assert found[1] > found[0] > found[2] == 0.5


def test_it_needs_no_boundary_and_goes_on_to_the_bit(tmp_path):
    stream = hidden()
    experience = next(stream.experiences())
    learner = make(stream, noise=0.05)
    assert learner.needs == frozenset()
    updates = learner.steps(experience)
    for _ in range(120):
        next(updates)
    learner.save(tmp_path / "saved")
    twin = make(stream, noise=0.05)
    twin.load_state(tmp_path / "saved")
    others = twin.steps(experience, 120)
    for _ in range(30):
        next(updates)
        next(others)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in learner.state_dict().items())


def test_forgetting_drops_the_utilities():
    learner = make(hidden())
    updates = learner.steps(next(hidden().experiences()))
    for _ in range(5):
        next(updates)
    assert learner.forget(Request(ids=(1,))).places == {"importances": "removed", "weights": "remains"}
    next(updates)


def test_what_is_wrong_is_refused():
    with pytest.raises(UsageError, match="noise"):
        make(hidden(), noise=-1)
    with pytest.raises(UsageError, match="memory_of_utility"):
        make(hidden(), memory_of_utility=1.0)
