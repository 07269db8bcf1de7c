"""Hooks that growing learners brought: arrivals, maps, changes inside a phase, what is dropped and kept."""

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError
from remanence.models.networks import build
from remanence.weights.batch import Batch
from remanence.weights.part import Part
from remanence.weights.trainer import Trainer

STREAM = rm.streams.split("digits", experiences=5)


def trainer(part, **settings):
    return Trainer(build("mlp:12,8", (1, 8, 8)), [part], **settings)


class Reader(Part):
    layers = ("1", "3")

    def __init__(self):
        super().__init__()
        self.seen = []

    def loss(self, step):
        self.seen.append({name: tuple(value.shape) for name, value in step.maps.items()})
        assert torch.equal(torch.relu(step.maps["3"]), step.features)
        return step.maps["1"].square().mean()


def test_maps_are_the_outputs_of_the_main_forward_pass_and_carry_gradients():
    learner = trainer(Reader())
    next(learner.steps(next(STREAM.experiences())))
    assert learner.parts[0].seen == [{"1": (10, 12), "3": (10, 8)}]
    assert not learner.model.body[1]._forward_hooks


def test_a_layer_that_is_not_there_is_refused_at_construction():
    part = Reader()
    part.layers = ("conv9",)
    with pytest.raises(UsageError, match="no layer 'conv9'"):
        trainer(part)


class Halving(Part):
    """Trains the head in a phase, and halves every change there."""

    def __init__(self):
        super().__init__()
        self.names, self.rows = set(), None

    def on_change(self, step):
        self.names.add(tuple(step.change))
        for name in step.change:
            step.change[name] = step.change[name] / 2

    def after_experience(self, context, experience):
        rows = experience.examples.span(0, 10)

        def batches(k):
            return Batch(rows.x, rows.y, rows.ids, 0)

        yield from context.phase("head", batches, 2, parameters=["head"], lr=1.0, hooks=True)


def test_changes_in_a_phase_are_those_of_what_the_phase_moves():
    learner, experience = trainer(Halving()), next(STREAM.experiences())
    updates = learner.steps(experience)
    for _ in range(-(-len(experience.examples) // 10)):
        next(updates)
    learner.parts[0].names.clear()
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    next(updates)
    assert learner.parts[0].names == {("head.weight", "head.bias")}
    for name, parameter in learner.model.named_parameters():
        expected = before[name]
        if name.startswith("head."):
            expected = before[name] - 0.5 * parameter.grad
        assert torch.allclose(parameter, expected, atol=1e-6), name


class Growing(Part):
    """Widens the head's features by two when the fifth batch arrives."""

    def __init__(self):
        super().__init__()
        self.order = []

    def before_batch(self, batch, context):
        self.order.append("before_batch")
        if context.k == 4:
            context.grow(self._grow)
            context.refresh_learning_rates(fresh=True)

    def rehearse(self, batch, context):
        self.order.append("rehearse")
        return batch

    @staticmethod
    def _grow(model):
        model.body = torch.nn.Sequential(model.body, torch.nn.ConstantPad1d((0, 2), 1.0))
        model.head.extend(2)


def test_the_model_may_grow_when_rows_arrive():
    learner = trainer(Growing(), momentum=0.9)
    updates = learner.steps(next(STREAM.experiences()))
    for _ in range(4):
        next(updates)
    before = learner.model.head.weight.detach().clone()
    assert len(learner._optimizer_tensors()) == 6
    next(updates)
    assert learner.parts[0].order[:2] == ["before_batch", "rehearse"]
    assert learner.model.head.weight.shape == (2, 10)
    assert learner.model.head.weight.grad.shape == (2, 10)
    step = learner.training_settings.lr * learner.model.head.weight.grad[:, :8]
    assert torch.allclose(learner.model.head.weight[:, :8], before - step, atol=1e-6)  # no momentum was left


def test_a_snapshot_does_not_grow_with_the_learner():
    learner = rm.make("memo", STREAM, model="mlp:12,8", size=20)
    experiences = list(STREAM.experiences())
    learner.learn(experiences[0])
    learner.snapshot("one")
    learner.learn(experiences[1])
    learner.restore("one")
    assert learner.model.classes == [0, 1] and len(learner.model.body.blocks) == 1
