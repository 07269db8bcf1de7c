"""k-FPF: repairs in their period, what is counted, and going on inside one."""

from __future__ import annotations

from pathlib import Path

import torch

import remanence as rm

SMALL = {"lr": 0.05, "size": 30}


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
