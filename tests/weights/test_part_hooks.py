"""What parts may ask of a trainer, each against the same thing done by hand."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import remanence as rm
from remanence.errors import StateError, UsageError
from remanence.models.heads import LinearHead
from remanence.models.model import Model
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.objective import competing_scores, plain_objective
from remanence.weights.part import Part
from remanence.weights.trainer import Trainer


def rows(count=12, width=6, classes=(0, 1), seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, width, generator=draw)
    y = torch.tensor(classes)[torch.arange(count) % len(classes)]
    return InMemory(x, y)


def network(seed=0):
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU())
    return Model(body, LinearHead(4, seed=seed))


def experience(index=0, classes=(0, 1), count=12):
    return Experience(index, rows(count, classes=classes, seed=index), classes=classes)


# After growth, with data at hand


class Imprinting(Part):
    def before_training(self, context, experience):
        found = [(context.features(chunk.x), chunk.y) for chunk in context.chunks(experience.examples)]
        features, y = (torch.cat(column) for column in zip(*found, strict=True))
        with torch.no_grad():
            for label in experience.classes:
                column = context.model.head.columns(torch.tensor([label]))
                context.model.head.weight[column] = features[y == label].mean(0)
        yield rm.Update(forwards=len(y))


def test_class_vectors_are_set_from_data_once_the_head_has_grown():
    learner = Trainer(network(), [Imprinting()], lr=1e-12)
    data = experience()
    updates = list(learner.steps(data))
    features = learner.features(data.examples.x)
    expected = torch.stack([features[data.examples.y == label].mean(0) for label in (0, 1)])
    torch.testing.assert_close(learner.model.head.weight.data, expected)
    assert updates[0].forwards == 12 and updates[0].steps == 0


def test_a_learner_saved_behind_the_imprinting_goes_on_without_doing_it_again(tmp_path):
    learner, data = Trainer(network(), [Imprinting()], lr=0.1), experience()
    whole = Trainer(network(), [Imprinting()], lr=0.1).learn(data)
    list(itertools.islice(learner.steps(data), 2))
    learner.save(tmp_path / "it.safetensors")
    other = Trainer(network(3), [Imprinting()], lr=0.1)
    other.load_state(tmp_path / "it.safetensors")
    list(other.steps(data, start=2))
    assert torch.equal(other.model.head.weight, whole.model.head.weight)


# One pass of the previous model for all


class Distilling(Part):
    uses = frozenset({"previous"})
    layers = ("0",)

    def __init__(self, fresh_only=False):
        super().__init__()
        self.fresh_only, self.seen = fresh_only, []

    def loss(self, step):
        found = step.previous(step.batch.fresh if self.fresh_only else None)
        if found is not None:
            self.seen.append(found)
        return


class Doubling(Part):
    """Rehearses the new rows once more."""

    def rehearse(self, batch, context):
        return Batch(batch.x.repeat(2, 1), batch.y.repeat(2), batch.ids.repeat(2), batch.fresh)


def test_parts_share_one_pass_of_the_previous_model_which_is_counted_once():
    one, two, three = Distilling(fresh_only=True), Distilling(), Distilling()
    learner = Trainer(network(), [Doubling(), one, two, three], batch_size=12)
    learner.learn(experience())
    (update,) = learner.steps(experience(1, (2, 3)))
    assert (update.examples, update.rehearsed, update.forwards) == (12, 12, 24 + 24)
    assert len(one.seen[0].scores) == 12 and len(two.seen[0].scores) == 24
    assert two.seen[0].scores is three.seen[0].scores
    x = experience(1, (2, 3)).examples.x[learner.sampler(experience(1, (2, 3)))[0]]
    previous = learner.previous
    torch.testing.assert_close(two.seen[0].scores[:12], previous(x))
    torch.testing.assert_close(two.seen[0].features[12:], previous.features(x))
    torch.testing.assert_close(two.seen[0].maps["0"][:12], previous.body[0](x))
    assert not two.seen[0].scores.requires_grad


def test_before_the_first_boundary_there_is_no_previous_pass():
    part = Distilling()
    (update,) = Trainer(network(), [part], batch_size=12).steps(experience())
    assert not part.seen and update.forwards == 12


# Scores as the plain objective reads them


def test_scores_of_classes_that_a_row_does_not_compete_with_are_out():
    learner = Trainer(network())
    learner.context.add_classes([0, 1, 2, 3])
    learner.model.head.assign(0, [0, 1])
    learner.model.head.assign(1, [2, 3])
    step = Step(learner.context, experience(), Batch(torch.zeros(2, 6), torch.tensor([1, 2]), torch.arange(2), 2), 0, 1)
    step.scores, step.columns = torch.zeros(2, 4), torch.tensor([1, 2])
    assert competing_scores(step).isinf().tolist() == [[False, False, True, True], [True, True, False, False]]
    assert float(plain_objective(step)) == pytest.approx(0.6931472)
    mask = torch.tensor([[True, True, True, False]] * 2)
    step.batch = Batch(step.batch.x, step.batch.y, step.batch.ids, 2, mask=mask)
    assert competing_scores(step).isinf().sum(1).tolist() == [1, 1]


# The shape of an input


class Shaped(Part):
    def setup(self, context):
        self.shape = context.shape


def test_a_part_reads_the_shape_of_an_input_in_setup():
    assert Trainer(network(), [part := Shaped()], shape=(6,)) and part.shape == (6,)
    with pytest.raises(UsageError, match="give it shape="):
        Trainer(network(), [Shaped()])


# Rows that enter in the middle


def latent_batch(model):
    new, old = rows(4), rows(6, seed=5)
    with torch.no_grad():
        maps = model.body[:2](old.x)
    batch = Batch(new.x, new.y, new.ids, 4)
    return batch.with_latents("2", maps[:3], old.y[:3], old.ids[:3]).with_latents(
        "head", torch.ones(1, 4), old.y[3:4], old.ids[3:4]
    )


def test_rows_that_enter_at_a_layer_share_the_pass_and_reach_no_layer_below():
    learner = Trainer(network())
    learner.context.add_classes([0, 1])
    model, batch = learner.model, latent_batch(learner.model)
    step = Step(learner.context, experience(), batch, 0, 1)
    learner._loop.forward(step)
    expected = torch.cat([model(batch.x), model(batch.latents["2"], "2"), model(batch.latents["head"], "head")])
    torch.testing.assert_close(step.scores, expected)
    assert len(step.scores) == len(batch) == 8
    step.scores[4:].sum().backward()
    assert not bool(model.body[0].weight.grad.abs().sum()) and bool(model.body[2].weight.grad.abs().sum())


def test_layers_that_lie_in_another_order_are_refused():
    model = network()
    model.head.grow([0])
    with pytest.raises(UsageError, match="in their order"):
        model.enter(torch.zeros(1, 6), None, {"2": torch.zeros(1, 5), "0": torch.zeros(1, 6)})
    with pytest.raises(UsageError, match="in their order"):
        model.enter(torch.zeros(1, 6), None, {"nine": torch.zeros(1, 5)})


# Learning rates


class Rates(Part):
    def __init__(self):
        super().__init__()
        self.rates = []

    def on_gradient(self, step):
        self.rates.append(step.optimizer.param_groups[0]["lr"])


class Halving(Part):
    def lr_schedule(self, k, total):
        return 0.5**k


@pytest.mark.parametrize(
    ("schedule", "parts", "expected"),
    [
        ("milestones:0.5", [], [1.0, 1.0, 0.1, 0.1]),
        ("milestones:0.25,0.5:0.5", [], [1.0, 0.5, 0.25, 0.25]),
        ("linear", [], [1.0, 0.75, 0.5, 0.25]),
        ("constant", [Halving()], [1.0, 0.5, 0.25, 0.125]),
        ("linear", [Halving()], [1.0, 0.375, 0.125, 0.03125]),
    ],
)
def test_learning_rates_fall_as_the_schedule_says(schedule, parts, expected):
    noted = Rates()
    Trainer(network(), [*parts, noted], lr=1.0, batch_size=3, schedule=schedule).learn(experience())
    assert noted.rates == pytest.approx(expected)


@pytest.mark.parametrize("name", ["cosin", "milestones", "milestones:2", "milestones:0.5:3", "milestones:a"])
def test_a_schedule_that_there_is_not_is_refused(name):
    with pytest.raises(UsageError, match="schedule"):
        Trainer(network(), schedule=name)


class Phased(Part):
    def after_experience(self, context, experience):
        data = experience.examples
        seen = self.rates = []

        def objective(step):  # a gradient on the bias that never changes
            return step.scores.sum()

        updates = context.phase(
            "after",
            lambda k: Batch(data.x, data.y, data.ids, 0),
            3,
            objective=objective,
            lr=0.5,
            schedule=lambda k, n: 1 / (k + 1),
        )
        before = context.model.head.bias.detach().clone()
        for update in updates:
            seen.append(float((context.model.head.bias.detach() - before).norm()))
            before = context.model.head.bias.detach().clone()
            yield update


def test_a_phase_takes_any_function_as_its_schedule():
    part = Phased()
    learner = Trainer(network(), [part], lr=1e-9, batch_size=12)
    learner.learn(experience())
    assert part.rates[1] / part.rates[0] == pytest.approx(1 / 2, rel=1e-4)
    assert part.rates[2] / part.rates[0] == pytest.approx(1 / 3, rel=1e-4)


# Moments of single entries


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_moments_of_single_entries_begin_anew(optimizer):
    learner = Trainer(network(), optimizer=optimizer, momentum=0.9 if optimizer == "sgd" else 0.0, lr=0.01)
    learner.learn(experience())
    weight = learner.model.body[0].weight
    mask = torch.zeros(5, 1, dtype=torch.bool)
    mask[2] = True
    before = {key: value.clone() for key, value in learner.optimizer.state[weight].items() if value.dim()}
    assert before and all(bool(value[2].any()) for value in before.values())
    learner.context.clear_moments({"body.0.weight": mask})
    for key, value in before.items():
        now = learner.optimizer.state[weight][key]
        assert not bool(now[2].any())
        assert torch.equal(now[[0, 1, 3, 4]], value[[0, 1, 3, 4]])
    with pytest.raises(UsageError, match="does not move"):
        learner.context.clear_moments({"body.9.weight": mask})


# Running statistics


def test_running_statistics_are_measured_anew_as_torch_does():
    torch.manual_seed(1)
    body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 4), nn.BatchNorm1d(4))
    learner = Trainer(Model(body, LinearHead(4)), lr=0.1).learn(experience())
    examples = rows(40, seed=9)
    chunks = [chunk.x for chunk in examples.chunks(10)]
    expected = nn.Sequential(*[layer for layer in body if not isinstance(layer, nn.Dropout)])
    expected = copy.deepcopy(expected)
    torch.optim.swa_utils.update_bn(chunks, expected)
    state = torch.get_rng_state()
    learner.context.forwards = 0
    learner.context.renormalise(examples, 10)
    assert torch.equal(torch.get_rng_state(), state)
    for place, layer in ((1, expected[1]), (4, expected[3])):
        torch.testing.assert_close(learner.model.body[place].running_mean, layer.running_mean)
        torch.testing.assert_close(learner.model.body[place].running_var, layer.running_var)
        assert learner.model.body[place].momentum == 0.1 and learner.model.body[place].training
    assert learner.context.forwards == 40


def test_nothing_passes_where_there_are_no_running_statistics():
    learner = Trainer(network())
    learner.context.renormalise(rows(40))
    assert learner.context.forwards == 0


# Forgetting that trains


class Unlearning(Part):
    """Climbs the loss on a fixed batch, which stands for rows to forget."""

    def __init__(self):
        super().__init__()
        self.begun = 0

    def forget(self, request, context):
        if context.first_time("begun"):
            self.begun += 1
        data = rows()
        yield from context.phase(
            "unlearning", lambda k: Batch(data.x, data.y, data.ids, 0), 4, objective=lambda step: -plain_objective(step)
        )
        return {"weights": "suppressed"}


REQUEST = rm.Request(label=1)


def unlearner(seed=0):
    return Trainer(network(seed), [Unlearning()], lr=0.05, momentum=0.9)


def test_a_forgetting_that_trains_yields_its_updates_and_ends_with_its_receipt():
    learner = unlearner().learn(experience())
    before = float(nn.functional.cross_entropy(learner.model(rows().x), rows().y).detach())
    updates, receipt = [], None
    forgetting = learner.forgetting(REQUEST)
    while receipt is None:
        try:
            updates.append(next(forgetting))
        except StopIteration as end:
            receipt = end.value
    assert [update.steps for update in updates] == [1, 1, 1, 1]
    assert receipt.places == {"weights": "suppressed"} and not receipt.complete
    assert float(nn.functional.cross_entropy(learner.model(rows().x), rows().y)) > before
    assert unlearner().learn(experience()).forget(REQUEST).places == receipt.places


def test_a_forgetting_goes_on_in_another_process_where_it_was_saved(tmp_path):
    whole = unlearner().learn(experience())
    whole.forget(REQUEST)
    learner = unlearner().learn(experience())
    list(itertools.islice(learner.forgetting(REQUEST), 2))
    learner.save(tmp_path / "half.safetensors")
    other = unlearner(7)
    other.load_state(tmp_path / "half.safetensors")
    with pytest.raises(StateError, match="forgetting is under way"):
        other.learn(experience(1, (2, 3)))
    with pytest.raises(StateError, match="update 3 of a forgetting"):
        next(other.forgetting(REQUEST, start=3))
    assert len(list(other.forgetting(REQUEST, start=2))) == 2
    for (name, one), two in zip(whole.model.named_parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two), name
    other.learn(experience(1, (2, 3)))
    assert other.model.classes == [0, 1, 2, 3] and other.parts[0].begun == 0
