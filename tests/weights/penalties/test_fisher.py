"""The diagonal Fisher against a loop over single examples with plain autograd."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from remanence.models.heads import LinearHead
from remanence.models.model import Model
from remanence.streams.examples import Rows
from remanence.weights.penalties import fisher


def brute_force(model, x, y, kind):
    """One example and one answer at a time."""
    model = copy.deepcopy(model).eval()
    named = dict(model.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in named.items()}
    for row, label in zip(x, y, strict=True):
        scores = model(row.unsqueeze(0))[0]
        if model.head.outputs:
            values = [(label, 1.0)] if kind == "empirical" else [(scores.detach() + 1, 1.0)]
            terms = [(-0.5 * (value - scores).square().sum(), weight) for value, weight in values]
        else:
            mask = model.head.competitors(model.head.columns(label.unsqueeze(0)))
            if mask is not None:
                scores = scores.masked_fill(~mask[0], -torch.inf)
            log_p = scores.log_softmax(0)
            if kind == "empirical":
                terms = [(log_p[model.head.classes.index(int(label))], 1.0)]
            else:
                terms = [
                    (log_p[c], float(log_p[c].detach().exp()))
                    for c in range(len(log_p))
                    if log_p[c].detach() > -torch.inf
                ]
        for term, weight in terms:
            found = torch.autograd.grad(term, list(named.values()), retain_graph=True)
            for name, gradient in zip(named, found, strict=True):
                sums[name] += weight * gradient.square()
    return {name: total / len(y) for name, total in sums.items()}


def linear_body():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 7), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(7, 5)), 5


def convolution_body():
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.LayerNorm(5)]
    return nn.Sequential(*layers), 5


def shared_body():
    layer = nn.Linear(16, 16)
    return nn.Sequential(nn.Flatten(), layer, nn.Tanh(), layer), 16


def model_of(body, tasks=False, outputs=0):
    torch.manual_seed(0)
    inner, width = body()
    model = Model(inner, LinearHead(width, outputs))
    if not outputs:
        model.head.grow([4, 0, 9])
    if tasks:
        model.head.assign(0, [4, 0])
        model.head.assign(1, [9])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model.double().train()


def data(outputs=0):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(11, 1, 4, 4, generator=draw, dtype=torch.float64)
    y = torch.tensor([4, 0, 9])[torch.randint(3, (11,), generator=draw)]
    return x, torch.randn(11, generator=draw, dtype=torch.float64) if outputs else y


def chunks(x, y, size=4):
    return [Rows(x[k : k + size], y[k : k + size], torch.arange(len(y))[k : k + size]) for k in range(0, len(y), size)]


@pytest.mark.parametrize("kind", ["empirical", "true"])
@pytest.mark.parametrize("body", [linear_body, convolution_body, shared_body])
@pytest.mark.parametrize("tasks", [False, True])
def test_equals_a_loop_over_examples(kind, body, tasks):
    model = model_of(body, tasks)
    x, y = data()
    found = fisher.diagonal_fisher(model, dict(model.named_parameters()), chunks(x, y), kind)
    expected = brute_force(model, x, y, kind)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["empirical", "true"])
def test_regression_equals_a_loop(kind):
    model = model_of(linear_body, outputs=1)
    x, y = data(outputs=1)
    found = fisher.diagonal_fisher(model, dict(model.named_parameters()), chunks(x, y), kind)
    for name, value in brute_force(model, x, y, kind).items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["empirical", "true"])
def test_the_closed_form_equals_per_example_gradients(kind, monkeypatch):
    model = model_of(linear_body)
    x, y = data()
    named = dict(model.named_parameters())
    assert fisher.linear_layers(model, named) is not None
    closed = fisher.diagonal_fisher(model, named, chunks(x, y), kind)
    monkeypatch.setattr(fisher, "linear_layers", lambda model, parameters: None)
    monkeypatch.setattr(fisher, "MOST_VALUES", 3 * sum(p.numel() for p in named.values()))
    general = fisher.diagonal_fisher(model, named, chunks(x, y), kind)
    for name in named:
        torch.testing.assert_close(closed[name], general[name], rtol=1e-9, atol=1e-12)


def test_a_layer_used_twice_or_shared_has_no_closed_form():
    model = model_of(shared_body)
    assert fisher.linear_layers(model, dict(model.named_parameters())) is None


def test_many_classes_draw_one_answer_per_example(monkeypatch):
    model = model_of(linear_body)
    x, y = data()
    named = dict(model.named_parameters())
    exact = fisher.diagonal_fisher(model, named, chunks(x, y), "true")
    monkeypatch.setattr(fisher, "MOST_CLASSES", 2)
    draw = torch.Generator().manual_seed(3)
    drawn = fisher.diagonal_fisher(model, named, chunks(x, y) * 3000, "true", generator=draw)
    for name in named:
        torch.testing.assert_close(drawn[name], exact[name], rtol=0.1, atol=2e-3 * float(exact[name].max()))


@pytest.mark.parametrize("body", [linear_body, convolution_body])
def test_nothing_of_the_model_changes(body):
    model = model_of(body)
    x, y = data()
    model(x).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    state = torch.default_generator.get_state()
    counted = []
    fisher.diagonal_fisher(model, dict(model.named_parameters()), chunks(x, y), count=lambda f, b: counted.append(b))
    assert torch.equal(state, torch.default_generator.get_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, gradients[name]) for name, p in model.named_parameters())
    assert all(module.training for module in model.modules())
    assert sum(counted) == 11 * 3
