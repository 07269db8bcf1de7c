"""The contract tests notice what they are for: systems that pass everything else and are wrong."""

import pytest
import torch

from remanence import registry, testing
from remanence.registry import system
from remanence.testing.checks import (
    ContractError,
    asking_changes_nothing,
    exercises_its_mechanism,
    forgets_what_the_receipt_says,
    learns,
)
from remanence.weights.part import Part


@pytest.fixture
def registered():
    """Systems that are there for one test."""
    names = []

    def register(part):
        name = f"wrong-{len(names)}"
        system(name)(part)
        names.append(name)
        return name

    yield register
    testing.walk.cache_clear()
    for name in names:
        registry.withdraw(name)


class DistilsAtAWrongScale(Part):
    """Distances between features of the old model and the new, summed over everything, and then a thousand times."""

    uses = frozenset({"previous"})

    def loss(self, step):
        if step.context.previous is None:
            return None
        return 1e3 * (step.features - step.context.previous.body(step.x)).square().sum()


def test_a_distillation_at_a_wrong_scale_does_not_learn(registered):
    with pytest.raises(ContractError, match="the whole stream was scored"):
        learns(testing.walk(registered(DistilsAtAWrongScale)))


class AsksForWhatNeverComes(Part):
    """Waits for a boundary in a hook of its own that the trainer does not know."""

    def loss(self, step):
        return None


def test_a_term_that_never_comes_is_noticed(registered):
    with pytest.raises(ContractError, match="nothing ever reached, or came of, wrong-0: loss"):
        exercises_its_mechanism(testing.walk(registered(AsksForWhatNeverComes)))


class ReadsMapsThatAreNotThere(Part):
    """Looks at maps of the body, and does nothing where there are none."""

    def after_step(self, step):
        if step.maps:
            step.model.head.weight.data.zero_()


def test_a_part_that_changes_nothing_is_noticed(registered):
    with pytest.raises(ContractError, match="it answers, to the bit, as naive does"):
        exercises_its_mechanism(testing.walk(registered(ReadsMapsThatAreNotThere)))


class CountsWhileItIsAsked(Part):
    """Keeps how often it was asked."""

    def __init__(self):
        super().__init__()
        self.register_buffer("asked", torch.zeros(1))

    def on_scores(self, scores, features, context):
        self.asked += 1
        return scores


def test_state_that_an_answer_leaves_behind_is_noticed(registered):
    with pytest.raises(ContractError, match="asking changed the learner's state"):
        asking_changes_nothing(testing.walk(registered(CountsWhileItIsAsked)))


class SaysItForgot(Part):
    """Keeps ids, and lets none of them go."""

    def __init__(self):
        super().__init__()
        self.register_buffer("ids", torch.empty(0, dtype=torch.int64))

    def __len__(self):
        return len(self.ids)

    def restructure(self, structure):
        self.ids = torch.empty(structure["rows"], dtype=torch.int64)

    def structure(self):
        return {"rows": len(self.ids)}

    def after_step(self, step):
        self.ids = torch.cat([self.ids, step.batch.ids])

    def forget(self, request, context):
        return {"rehearsal": "removed"}


def test_a_receipt_for_what_is_still_held_is_noticed(registered):
    with pytest.raises(ContractError, match="ids of those rows are held"):
        forgets_what_the_receipt_says(testing.walk(registered(SaysItForgot)))
