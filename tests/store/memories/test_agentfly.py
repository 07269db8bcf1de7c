"""AgentFly: the value network's mathematics, what an outcome tells, and that the policy learns and comes back."""

import numpy as np
import pytest
import torch

import remanence as rm
from remanence.store.memories.agentfly import helps
from remanence.store.memories.value import ValueNetwork


def some(n=7, d=5, seed=0):
    draw = np.random.default_rng(seed)
    tasks, cases = draw.standard_normal((2, n, d)).astype(np.float32)
    return tasks, cases, (draw.random(n) > 0.5).astype(np.float32)


def test_gradients_are_those_of_the_loss():
    tasks, cases, labels = some()
    network = ValueNetwork(hidden=4, lr=0.01)
    network.gradients(tasks, cases, labels)
    draw = np.random.default_rng(1)
    network.weights = {name: draw.standard_normal(x.shape) for name, x in network.weights.items()}
    _, gradients = network.gradients(tasks, cases, labels)
    for name, weight in network.weights.items():
        flat = weight.reshape(-1)
        for place in range(0, len(flat), max(1, len(flat) // 6)):
            old = flat[place]
            flat[place] = old + 1e-5
            above, _ = network.gradients(tasks, cases, labels)
            flat[place] = old - 1e-5
            below, _ = network.gradients(tasks, cases, labels)
            flat[place] = old
            assert gradients[name].reshape(-1)[place] == pytest.approx((above - below) / 2e-5, rel=2e-3, abs=1e-5)


def test_the_first_step_of_adam_is_torchs():
    tasks, cases, labels = some()
    network = ValueNetwork(hidden=4, lr=0.01)
    network.gradients(tasks, cases, labels)
    before = {name: torch.tensor(x.copy(), requires_grad=True) for name, x in network.weights.items()}
    _, gradients = network.gradients(tasks, cases, labels)
    optimizer = torch.optim.Adam(before.values(), lr=0.01)
    for _ in range(3):
        gradients = network.gradients(tasks, cases, labels)[1]
        for name, parameter in before.items():
            parameter.grad = torch.from_numpy(gradients[name])
        optimizer.step()
        network.learn(tasks, cases, labels)
        for name, parameter in before.items():
            assert np.allclose(network.weights[name], parameter.detach().numpy(), atol=1e-5)


def test_before_it_learns_it_ranks_by_similarity():
    tasks, cases, _ = some()
    network = ValueNetwork(hidden=4, lr=0.01)
    values = network.values(tasks[0], cases)
    assert (np.argsort(values) == np.argsort(cases @ tasks[0])).all()
    assert network.arrays() == {}


def test_it_learns_a_hidden_rule_and_fits_it():
    draw = np.random.default_rng(0)
    network = ValueNetwork(hidden=16, lr=0.01)
    for _ in range(300):
        tasks, cases = draw.standard_normal((2, 64, 8)).astype(np.float32)
        labels = (tasks[:, 0] * cases[:, 0] > 0).astype(np.float32)
        loss = network.learn(tasks, cases, labels)
    assert loss < 0.35


@pytest.mark.parametrize(
    ("action", "tried", "worked", "told"),
    [("a", "a", True, 1), ("b", "a", True, 0), ("a", "a", False, 0), ("b", "a", False, None)],
)
def test_what_an_outcome_tells(action, tried, worked, told):
    assert helps(action, tried, worked) == told


def test_the_policy_comes_back_to_the_bit(tmp_path):
    stream = rm.streams.working("cases", experiences=2, tasks=15, seed=3)
    first, second = stream.experiences()
    learner = rm.make("agentfly", stream, steps=1, candidates=10)
    learner.learn(first)
    learner.save(tmp_path / "learner.safetensors")
    loaded = rm.load(tmp_path / "learner.safetensors")
    for one in (learner, loaded):
        one.learn(second)
    here, there = learner._state(), loaded._state()
    assert here[1] == there[1]
    assert here[0].keys() == there[0].keys()
    assert all(torch.equal(here[0][name], there[0][name]) for name in here[0])
    assert learner.memory.network.updates > 0


def test_only_cases_that_worked_are_returned():
    stream = rm.streams.working("cases", experiences=1, tasks=20, success=0.3, seed=1)
    for policy in ("learned", "similar"):
        learner = rm.make("agentfly", stream, policy=policy, steps=1)
        for experience in stream.experiences():
            learner.learn(experience)
        hits = learner.memory.read("Ana has a map to deal with.", 20)
        assert hits
        assert all(hit.record.metadata["reward"] == 1 for hit in hits)
