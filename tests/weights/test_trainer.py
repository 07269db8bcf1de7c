"""The loop itself: draws that follow from the position, budgets at the end of an experience, rates, precision."""

from __future__ import annotations

import pytest
import torch

import remanence as rm
from remanence.composition import compose
from remanence.errors import BudgetError
from remanence.factory import build, recipe_for
from remanence.registry import all_systems
from remanence.weights.context import Step
from remanence.weights.part import Part
from remanence.weights.trainer import Trainer


@pytest.fixture
def stream():
    return rm.streams.split("digits", experiences=5)


def state(learner) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in learner._state()[0].items()}


def test_what_is_drawn_at_the_end_of_an_experience_does_not_depend_on_where_a_run_was_resumed(stream, tmp_path):
    def learner():
        return rm.make("ewc", stream, model="mlp:8", examples=20)  # draws the rows it measures on

    experience = next(stream.experiences())
    whole = learner()
    updates = sum(1 for _ in whole.steps(experience))
    stopped = learner()
    steps = stopped.steps(experience)
    for _ in range(updates - 1):  # the last update of the main loop; the one after it measures
        next(steps)
    stopped.save(tmp_path / "there")
    resumed = rm.load(tmp_path / "there")
    for _ in resumed.steps(experience, updates - 1):
        pass
    assert all(torch.equal(tensor, state(resumed)[name]) for name, tensor in state(whole).items())


def test_a_budget_is_kept_when_an_experience_ends(stream):
    learner = build(recipe_for("ewc", stream, model="mlp:100,100", budget=300_000))
    experiences = stream.experiences()
    learner.learn(next(experiences))
    with pytest.raises(BudgetError, match=r"importances .*snapshots"):
        learner.learn(next(experiences))


def test_a_memory_makes_room_for_what_is_measured_when_an_experience_ends(stream):
    learner = build(recipe_for("er+ewc", stream, model="mlp:16", budget=60_000))
    held = []
    for experience in stream.experiences():
        learner.learn(experience)
        held.append(learner.memory.size)
        assert learner.footprint().total <= 60_000
    assert held[-1] < held[0]


class Rates(Part):
    """Notes the rate of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def on_gradient(self, step: Step) -> None:
        self.rates.append(step.optimizer.param_groups[0]["lr"])


def test_a_schedule_goes_on_in_the_step_in_which_a_class_appears():
    stream = rm.streams.split("digits", experiences=5).disclose(classes=False)
    noted = Rates()
    learner = Trainer(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), [noted], schedule="cosine")
    for _, experience in zip(range(2), stream.experiences(), strict=False):
        noted.rates.clear()
        learner.learn(experience)
        assert noted.rates == sorted(noted.rates, reverse=True)
        assert noted.rates[-1] < 0.1 * noted.rates[0]


PARTS = [card.composed_name for card in all_systems().values() if card.runner.composes]


@pytest.mark.parametrize("name", PARTS)
def test_half_precision_trains_and_answers_in_full(name):
    told = name == "hnet"
    stream = rm.streams.split("digits", experiences=5, task_ids=told)
    known = {h.name for part in compose(name).systems for h in part.hyperparameters}
    settings = {key: value for key, value in {"size": 20, "updates": 3}.items() if key in known}
    model = next(
        (part.factory.small["model"] for part in compose(name).systems if "model" in part.factory.small), "mlp:12"
    )
    learner = rm.make(name, stream, model=model, precision="bf16", batch_size=64, **settings)
    for _, experience in zip(range(2), stream.experiences(), strict=False):
        learner.learn(experience)
    assert learner.predict(stream.tests[0].x[:5]).scores.dtype == torch.float32
