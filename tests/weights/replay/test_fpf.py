"""FPF and k-FPF: what moves, when, what is counted, and going on inside."""

from __future__ import annotations

from pathlib import Path

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


def test_repairs_follow_their_period_and_are_counted():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("k-fpf", stream, model="mlp:16", every=7, updates=3, rows=4, **SMALL)
    found = list(learner.steps(next(iter(stream.experiences()))))
    main = [update for update in found if update.examples]
    assert [u.steps for u in main] == [4 if (k + 1) % 7 == 0 else 1 for k in range(len(main))]
    assert main[6].forwards == 10 + 3 * 4 and main[6].rehearsed == 0
    assert len(found) == len(main) + 3


def test_a_repair_moves_the_head_only_in_a_network_without_norms():
    stream = rm.streams.split("digits", experiences=5)
    with_repair = rm.make("k-fpf", stream, model="mlp:16", every=5, updates=4, **SMALL)
    plain = rm.make("naive", stream, model="mlp:16", lr=0.05)
    experience = next(iter(stream.experiences()))
    one, two = with_repair.steps(experience), plain.steps(experience)
    for _ in range(5):
        next(one), next(two)
    assert torch.equal(with_repair.model.body[1].weight, plain.model.body[1].weight)
    assert not torch.equal(with_repair.model.head.weight, plain.model.head.weight)


def test_behind_er_there_is_one_memory():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er+k-fpf", stream, model="mlp:16", every=5, updates=4, **SMALL)
    learner.learn(next(iter(stream.experiences())))
    assert learner.parts[1].memory is None
    assert learner.footprint().bytes["rehearsal"] == 30 * (64 + 16)


def test_saved_between_repairs_and_inside_the_last_it_goes_on_to_the_bit(tmp_path: Path):
    stream = rm.streams.split("digits", experiences=5)
    experience = next(iter(stream.experiences()))
    settings = {"model": "mlp:16", "every": 5, "updates": 6, **SMALL}
    whole = rm.make("er+k-fpf", stream, **settings).learn(experience)
    for stop in (5, 8, -(-len(experience.examples) // 10) + 2):
        learner = rm.make("er+k-fpf", stream, **settings)
        updates = learner.steps(experience)
        for _ in range(stop):
            next(updates)
        learner.save(tmp_path / "learner.safetensors")
        other = rm.load(tmp_path / "learner.safetensors")
        list(other.steps(experience, stop))
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, other.model.state_dict()[name])


def test_it_honours_forgetting_and_the_budget():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("k-fpf", stream, model="mlp:16", budget=9_000, every=5, updates=2)
    for experience in stream.experiences():
        learner.learn(experience)
        assert learner.footprint().total <= 9_000
    memory = learner.parts[0].memory
    gone = int(memory.ids[0])
    assert learner.forget(rm.Request(ids=(gone,))).places["rehearsal"] == "removed"
    assert gone not in memory.ids[: len(memory)]
