"""Refresh learning: the unlearning step against its formula, alone and beside other parts."""

from __future__ import annotations

import pytest
import torch

import remanence as rm
from remanence.errors import NeedsError, UsageError
from remanence.weights.batch import Batch
from remanence.weights.penalties.refresh import ascent


def make(name="er+refresh", **given_settings):
    stream = rm.streams.split("digits", experiences=5)
    settings = {"lr": 0.05, "length": 1e-3, **given_settings}
    if name.startswith("er"):
        settings["size"] = 40
    return rm.make(name, stream, model="mlp:12", **settings), list(stream.experiences())


def test_unlearning_raises_the_loss_of_the_new_rows_by_the_formula():
    learner, experiences = make("naive+refresh", noise=0.0, damping=5.0)
    learner.learn(experiences[0])
    part, named = learner.parts[1], dict(learner.model.named_parameters())
    rows = experiences[0].examples.span(0, 10)
    loss = torch.nn.functional.cross_entropy(learner.model(rows.x), rows.y)
    gradients = torch.autograd.grad(loss, list(named.values()))
    expected = {}
    for (name, p), g in zip(named.items(), gradients, strict=True):
        assert float(part.importances[name].max()) > 0
        expected[name] = p.detach() + 1e-3 * (p.detach().norm() / g.norm()) * g / (1 + 5.0 * part.importances[name])
    state = torch.default_generator.get_state()
    part.rehearse(Batch(rows.x, rows.y, rows.ids, 10), learner.context)
    assert torch.equal(state, torch.default_generator.get_state())
    for name, p in named.items():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        assert torch.nn.functional.cross_entropy(learner.model(rows.x), rows.y) > loss


def test_a_gradient_of_nothing_moves_nothing_but_noise():
    weights = torch.ones(3)
    assert torch.equal(ascent(weights, torch.zeros(3), None, 0.0, 1.0, None), torch.zeros(3))
    draw = torch.Generator().manual_seed(0)
    assert ascent(weights, torch.zeros(3), None, 0.5, 1.0, draw).abs().sum() > 0


def test_length_nought_is_the_host_alone():
    mine, experiences = make(length=0.0)
    host = rm.make("er", rm.streams.split("digits", experiences=5), model="mlp:12", lr=0.05, size=40)
    for experience in experiences[:2]:
        mine.learn(experience)
        host.learn(experience)
    found = mine.model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in host.model.state_dict().items())


@pytest.mark.parametrize("name", ["er+refresh", "ewc+refresh"])
def test_it_composes_and_goes_on_to_the_bit(tmp_path, name):
    learner, experiences = make(name)
    updates = [update for experience in experiences[:2] for update in learner.steps(experience)]
    stepped = [update for update in updates if update.steps]
    assert all(update.forwards == 2 * update.examples + update.rehearsed for update in stepped)
    learner.save(tmp_path / "saved")
    twin, _ = make(name)
    twin.load_state(tmp_path / "saved")
    learner.learn(experiences[2])
    twin.learn(experiences[2])
    assert all(torch.equal(value, twin.state_dict()[key]) for key, value in learner.state_dict().items())


def test_what_is_wrong_is_refused():
    with pytest.raises(UsageError, match="length"):
        make(length=-1)
    hidden = rm.streams.split("digits", experiences=5).disclose(boundaries=False, classes=False)
    with pytest.raises(NeedsError, match="boundaries"):
        rm.make("er+refresh", hidden)
