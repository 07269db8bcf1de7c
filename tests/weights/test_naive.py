"""Plain training: stochastic gradient descent on what arrives, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

import remanence as rm
from remanence.errors import Unsupported
from remanence.request import Request


@pytest.mark.parametrize("told", [True, False])
def test_it_is_gradient_descent_on_the_new_rows_alone(told):
    stream = rm.streams.split("digits", experiences=5).disclose(classes=told)
    learner = rm.make("naive", stream, model="linear", lr=0.5)
    for experience in list(stream.experiences())[:2]:
        sampler = learner.sampler(experience)
        steps = learner.steps(experience)
        for k in range(len(sampler)):
            before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
            next(steps)
            after = dict(learner.model.named_parameters())
            if any(after[name].shape != p.shape for name, p in before.items()):
                continue  # a class appeared, and its weights were drawn
            rows = experience.examples.cut(sampler[k])
            x = (rows.x.float() / 255).flatten(1)
            weight, bias = (before[f"head.{name}"].requires_grad_() for name in ("weight", "bias"))
            cross_entropy(x @ weight.T + bias, learner.model.head.columns(rows.y)).backward()
            assert torch.allclose(after["head.weight"], weight - 0.5 * weight.grad, atol=1e-5)
            assert torch.allclose(after["head.bias"], bias - 0.5 * bias.grad, atol=1e-5)


def test_it_holds_nothing_beyond_its_weights_and_can_forget_nothing():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("naive", stream).learn(next(stream.experiences()))
    assert list(learner.footprint().bytes) == ["parameters"]
    with pytest.raises(Unsupported, match="its weights carry what they learned"):
        learner.forget(Request(label=0))
