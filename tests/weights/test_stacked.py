"""Seeds trained together against the same seeds one by one."""

from typing import Any

import pytest
import torch
from torch import nn

import remanence as rm
from remanence.arena.stacked import stack
from remanence.errors import Unsupported
from remanence.factory import recipe_for
from remanence.weights.context import Step
from remanence.weights.part import Part
from remanence.weights.per_parameter import PerParameter
from remanence.weights.stacked import StackedTrainer
from remanence.weights.trainer import Trainer

SEEDS = [0, 1, 2]


class Tether(Part):
    """A penalty as many have it: anchors and importances by parameter, a sum over entries."""

    elementwise = True

    def __init__(self) -> None:
        super().__init__()
        self.anchors, self.steps = PerParameter("snapshots"), PerParameter()

    def loss(self, step: Step) -> Any:
        named = step.context.trainable()
        held = [(named[name] - anchor).square().sum() for name, anchor in self.anchors.items()]
        return 0.3 * torch.stack(held).sum() if held else None

    def after_step(self, step: Step) -> None:
        for name, value in self.steps.items():
            value += step.context.trainable()[name].detach().abs()

    def after_experience(self, context: Any, experience: Any) -> None:
        self.anchors.put({n: p.detach().clone() for n, p in context.trainable().items()})
        self.steps.put({n: torch.zeros_like(p) for n, p in context.trainable().items()})


class Alone(Part):
    def loss(self, step: Step) -> Any:
        return step.scores.sum() * 0


def _agree(together: StackedTrainer, alone: list[Any], tolerance: float) -> None:
    for ours, theirs in zip(together.learners(), alone, strict=True):
        mine, other = ours.state_dict(), theirs.state_dict()
        assert mine.keys() == other.keys()
        for name, value in mine.items():
            assert torch.allclose(value.double(), other[name].double(), rtol=0, atol=tolerance), name


def _both(name: str, stream: Any, **settings: Any) -> tuple[StackedTrainer, list[Any]]:
    recipe = recipe_for(name, stream, settings=settings, model=settings.pop("model", None))
    return stack(recipe, SEEDS, stream), [rm.factory.build(r) for r in _seeds(recipe)]


def _seeds(recipe: Any) -> list[Any]:
    from dataclasses import replace

    return [replace(recipe, seed=seed) for seed in SEEDS]


@pytest.mark.parametrize("name", ["naive", "er", "ewc"])
@pytest.mark.parametrize("model", ["mlp:20", "linear", "cnn:4"])
def test_ten_steps_in_each_of_two_experiences_agree(name: str, model: str) -> None:
    stream = rm.streams.split("digits", experiences=5)
    experiences = [_short(e, 100) for e in stream.experiences()][:2]
    recipe = recipe_for(name, stream, model=model, settings={"lr": 0.05})
    together = stack(recipe, SEEDS, stream)
    alone = [rm.factory.build(own) for own in _seeds(recipe)]
    for experience in experiences:
        updates = list(together.steps(experience))
        assert len(updates) == 10 + (name == "ewc")  # it measures its importances in an update of its own
        for learner, own in zip(alone, zip(*updates, strict=True), strict=True):
            for mine, other in zip(own, learner.steps(experience), strict=True):
                if name != "ewc":  # of terms only the sum over seeds is known
                    assert mine.loss == pytest.approx(other.loss, abs=1e-4)
                assert (mine.examples, mine.rehearsed, mine.backwards) == (
                    other.examples,
                    other.rehearsed,
                    other.backwards,
                )
    _agree(together, alone, 1e-5)
    for answer, learner in zip(together.predict(stream.tests[0].x), alone, strict=True):
        assert torch.allclose(answer.scores, learner.predict(stream.tests[0].x).scores, atol=1e-4)


@pytest.mark.parametrize("settings", [{"momentum": 0.9, "weight_decay": 0.01}, {"optimizer": "adam", "lr": 0.001}])
def test_optimizer_state_follows_through_growth(settings: dict[str, Any]) -> None:
    stream = rm.streams.split("digits", experiences=5)
    recipe = recipe_for("naive", stream, model="mlp:20", settings=settings)
    together, alone = stack(recipe, SEEDS, stream), [rm.factory.build(own) for own in _seeds(recipe)]
    for experience in [_short(e, 50) for e in stream.experiences()][:2]:
        together.learn(experience)
        for learner in alone:
            learner.learn(experience)
    _agree(together, alone, 1e-5)
    for ours, theirs in zip(together.learners(), alone, strict=True):
        mine, other = ours._optimizer_tensors(), theirs._optimizer_tensors()
        assert mine.keys() == other.keys() and mine
        assert all(torch.allclose(mine[key], other[key], atol=1e-5) for key in mine)


def test_an_elementwise_part_stacks_and_gets_its_tensors_back() -> None:
    stream = rm.streams.split("digits", experiences=5)

    def made(seed: int) -> Trainer:
        return Trainer(rm.models.build("mlp:20", stream.shape, seed=seed), [Tether()], seed=seed, lr=0.05)

    together, alone = StackedTrainer([made(seed) for seed in SEEDS]), [made(seed) for seed in SEEDS]
    for experience in [_short(e, 100) for e in stream.experiences()][:2]:
        together.learn(experience)
        for learner in alone:
            learner.learn(experience)
    _agree(together, alone, 1e-5)


def test_learners_are_whole_in_the_middle_of_an_experience() -> None:
    stream = rm.streams.split("digits", experiences=5)
    experience = next(stream.experiences())
    together = stack(recipe_for("er", stream, model="mlp:20"), SEEDS, stream)
    updates = together.steps(experience)
    for _ in range(7):
        next(updates)
    alone = together.learners()[1]
    fresh = rm.make("er", stream, model="mlp:20", seed=SEEDS[1])
    theirs = fresh.steps(experience)
    for _ in range(7):
        next(theirs)
    assert torch.allclose(alone.model.head.weight, fresh.model.head.weight, atol=1e-5)
    assert alone.structure() == fresh.structure()


def test_final_accuracy_is_that_of_the_seeds() -> None:
    stream = rm.streams.split("digits", experiences=5)
    recipe = recipe_for("er", stream, settings={"lr": 0.05})
    seeds = list(range(6))
    together = stack(recipe, seeds, stream)
    for experience in stream.experiences():
        together.learn(experience)
    x, y = torch.cat([t.x for t in stream.tests]), torch.cat([t.y for t in stream.tests])
    ours = torch.tensor([float((answer.labels == y).float().mean()) for answer in together.predict(x)])
    theirs = []
    for seed in seeds:
        learner = rm.make("er", stream, seed=seed, lr=0.05)
        for experience in stream.experiences():
            learner.learn(experience)
        theirs.append(float((learner.predict(x).labels == y).float().mean()))
    alone = torch.tensor(theirs)
    assert abs(ours.mean() - alone.mean()) <= 2.571 * alone.std() / len(seeds) ** 0.5  # Student's t, five degrees


def test_what_cannot_stack_says_so() -> None:
    stream = rm.streams.split("digits", experiences=5)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    with pytest.raises(Unsupported, match="Dropout"):
        StackedTrainer([Trainer(body)])
    with pytest.raises(Unsupported, match="Alone"):
        StackedTrainer([Trainer(rm.models.build("mlp:4", (64,)), [Alone()])])
    with pytest.raises(Unsupported, match="GACIL"):
        stack(recipe_for("g-acil", stream), SEEDS, stream)
    with pytest.raises(Unsupported, match="does not tell its classes"):
        hidden = stream.disclose(classes=False)
        stack(recipe_for("naive", hidden), SEEDS, hidden)
    several = [next(rm.streams.split("digits", order="shuffled", seed=seed).experiences()) for seed in SEEDS]
    together = stack(recipe_for("naive", stream), SEEDS, stream)
    with pytest.raises(Unsupported):
        together.learn(several)


def test_a_seed_that_diverges_stops_alone() -> None:
    stream = rm.streams.split("digits", experiences=5)
    together = stack(recipe_for("naive", stream, model="mlp:20"), SEEDS, stream)
    with torch.no_grad():
        together.learners()[1].model.body[1].weight.fill_(torch.nan)
    updates = list(together.steps(next(stream.experiences())))
    assert list(together.stopped) == [1]
    assert all(own[1] is None and own[0] is not None and own[2] is not None for own in updates)


def _short(experience: Any, rows: int) -> Any:
    from dataclasses import replace

    from remanence.streams.examples import Subset

    every = torch.arange(0, len(experience.examples), len(experience.examples) // rows)[:rows]
    return replace(experience, examples=Subset(experience.examples, every))
