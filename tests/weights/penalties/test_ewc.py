"""Elastic weight consolidation: the penalty against its formula, its stores as the model grows, saving."""

from __future__ import annotations

import pytest
import torch

import remanence as rm
from remanence.errors import NeedsError, UsageError
from remanence.request import Request
from remanence.weights.penalties.ewc import quadratic
from remanence.weights.per_parameter import PerParameter


def make(stream, **settings):
    return rm.make("ewc", stream, model="mlp:12", **{"strength": 50.0, "lr": 0.05, **settings})


def state(learner):
    return {name: value.clone() for name, value in learner.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_penalty_and_its_gradient_equal_the_formula():
    draw = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 2, 2)}
    named = {n: torch.nn.Parameter(torch.randn(s, generator=draw, dtype=torch.float64)) for n, s in shapes.items()}
    importances, anchors = PerParameter(), PerParameter("snapshots")
    importances.put({n: torch.rand(shapes[n], generator=draw, dtype=torch.float64) for n in ("a", "c")})
    anchors.put({n: torch.randn(shapes[n], generator=draw, dtype=torch.float64) for n in ("a", "c")})
    value = quadratic(named, importances, anchors, 3.0)
    expected = 1.5 * sum((importances[n] * (named[n] - anchors[n]) ** 2).sum() for n in ("a", "c"))
    torch.testing.assert_close(value, expected)
    mine = torch.autograd.grad(2 * value, [named["a"], named["c"]])
    theirs = torch.autograd.grad(2 * expected, [named["a"], named["c"]])
    torch.testing.assert_close(mine, theirs)


def test_separate_equals_one_quadratic_of_summed_statistics():
    """Σ F (θ − θ*)² has the gradient 2 (Hθ − h) with H = ΣF and h = ΣFθ*."""
    stream = rm.streams.split("digits", experiences=5)
    learner = make(stream)
    experiences = list(stream.experiences())
    for experience in experiences[:3]:
        learner.learn(experience)
    part, named = learner.parts[0], dict(learner.model.named_parameters())
    assert len(part.importances) == len(part.anchors) == 3
    mine = torch.autograd.grad(part.loss(_Step(named)), list(named.values()))
    for (name, parameter), gradient in zip(named.items(), mine, strict=True):
        total = sum(kept[name] for kept in part.importances)
        pulled = sum(kept[name] * at[name] for kept, at in zip(part.importances, part.anchors, strict=True))
        torch.testing.assert_close(gradient, 50.0 * (total * parameter.detach() - pulled), rtol=1e-4, atol=1e-5)


class _Step:
    def __init__(self, named):
        self.context = self
        self.trainable = lambda: named


def test_online_decays_and_keeps_one_pair():
    stream = rm.streams.split("digits", experiences=5)
    learner = make(stream, variant="online", decay=0.5)
    experiences = list(stream.experiences())
    learner.learn(experiences[0])
    first = {name: value.clone() for name, value in learner.parts[0].importances[0].items()}
    learner.learn(experiences[1])
    part = learner.parts[0]
    assert len(part.importances) == 1
    from remanence.weights.penalties.fisher import diagonal_fisher

    fresh = diagonal_fisher(
        learner.model, dict(learner.model.named_parameters()), experiences[1].examples.chunks(256), "true"
    )
    head = torch.zeros_like(fresh["head.weight"])
    head[: len(first["head.weight"])] = first["head.weight"]
    torch.testing.assert_close(part.importances[0]["head.weight"], 0.5 * head + fresh["head.weight"])
    for name, parameter in learner.model.named_parameters():
        assert torch.equal(part.anchors[0][name], parameter)


def test_what_grows_is_not_held():
    stream = rm.streams.split("digits", experiences=5)
    learner = make(stream)
    experiences = list(stream.experiences())
    learner.learn(experiences[0])
    learner.context.add_classes([7, 8])
    assert learner.parts[0].importances[0]["head.weight"].shape == learner.model.head.weight.shape
    assert learner.parts[0].importances[0]["head.weight"][2:].abs().sum() == 0


def test_a_strong_penalty_holds_what_matters():
    stream = rm.streams.split("digits", experiences=5)
    moved = []
    for strength in (0.0, 50.0):
        learner = make(stream, strength=strength, fisher="empirical", variant="online")
        experiences = list(stream.experiences())
        learner.learn(experiences[0])
        part = learner.parts[0]
        importances = {n: v.clone() for n, v in part.importances[0].items() if n.startswith("body")}
        anchors = {n: v.clone() for n, v in part.anchors[0].items()}
        learner.learn(experiences[1])
        named = dict(learner.model.named_parameters())
        moved.append(sum(float((importances[n] * (named[n].detach() - anchors[n]) ** 2).sum()) for n in importances))
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize("settings", [{}, {"variant": "online", "fisher": "empirical", "examples": 40}])
def test_saved_and_loaded_it_goes_on_to_the_bit(tmp_path, settings):
    stream = rm.streams.split("digits", experiences=5)
    experiences = list(stream.experiences())
    learner = make(stream, **settings)
    learner.learn(experiences[0]).learn(experiences[1])
    learner.save(tmp_path / "saved")
    twin = make(stream, **settings)
    twin.load_state(tmp_path / "saved")
    assert same(state(learner), state(twin))
    learner.learn(experiences[2])
    twin.learn(experiences[2])
    assert same(state(learner), state(twin))


def test_the_fisher_is_counted_and_measured_once_across_a_resume(tmp_path):
    stream = rm.streams.split("digits", experiences=5)
    experience = next(stream.experiences())
    learner = make(stream)
    updates = list(learner.steps(experience))
    assert updates[-1].steps == 0
    assert updates[-1].forwards == len(experience.examples)
    assert updates[-1].backwards == 2 * len(experience.examples)
    twin = make(stream)
    for taken, _ in enumerate(twin.steps(experience), 1):
        if taken == len(updates):
            break
    twin.save(tmp_path / "saved")
    other = make(stream)
    other.load_state(tmp_path / "saved")
    assert list(other.steps(experience, start=len(updates))) == []
    assert same(state(learner), state(other))


def test_forgetting_drops_importances_and_anchors():
    stream = rm.streams.split("digits", experiences=5)
    learner = make(stream)
    learner.learn(next(stream.experiences()))
    receipt = learner.forget(Request(label=0))
    assert receipt.places == {"importances": "removed", "anchors": "removed", "weights": "remains"}
    assert "importances" not in learner.footprint().bytes


def test_what_is_wrong_is_refused():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(UsageError, match="strength"):
        make(stream, strength=-1)
    with pytest.raises(UsageError, match="variant"):
        make(stream, variant="offline")
    with pytest.raises(NeedsError, match="boundaries"):
        make(stream.disclose(boundaries=False, classes=False))
