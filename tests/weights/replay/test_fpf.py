"""FPF: what is chosen, and that nothing else moves."""

from __future__ import annotations

import pytest
import torch

import remanence as rm
from remanence.models import build
from remanence.weights.replay.fpf import forgetful

SMALL = {"lr": 0.05, "size": 30}


def test_norms_and_head_are_chosen_and_the_first_layer_on_request():
    model = build("cnn:8", (1, 8, 8))
    assert forgetful(model, "norms and head") == [
        *(f"body.{norm}.{name}" for norm in (1, 5, 9) for name in ("weight", "bias")),
        "head.weight",
        "head.bias",
    ]
    assert forgetful(model, "norms, head and first layer")[:2] == ["body.0.weight", "body.0.bias"]


def test_only_the_chosen_move_in_the_finetuning():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er+fpf", stream, model="cnn:8", updates=12, **SMALL)
    experience = next(iter(stream.experiences()))
    updates = learner.steps(experience)
    main = -(-len(experience.examples) // 10)
    for _ in range(main):
        next(updates)
    before = {name: value.clone() for name, value in learner.model.named_parameters()}
    rest = list(updates)
    assert len(rest) == 12 and all(update.rehearsed == 10 and update.examples == 0 for update in rest)
    moved = {name for name, value in learner.model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == set(forgetful(learner.model, "norms and head"))


def test_a_memory_is_asked_for_at_once():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(rm.errors.UsageError, match="rehearsal memory"):
        rm.make("fpf", stream)
