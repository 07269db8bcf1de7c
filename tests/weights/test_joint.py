"""Joint training: what it retrains on, what it answers meanwhile, and that it forgets to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import remanence as rm
from remanence.request import Request
from remanence.streams.examples import InMemory, Rows, Subset
from remanence.streams.experience import Stream
from remanence.update import total

SMALL = {"model": "mlp:12", "lr": 0.1, "batch_size": 10, "epochs": 1}


def short(rows: int = 43, **told: bool) -> Stream:
    stream = rm.streams.split("digits", experiences=3)
    segments = [replace(s, examples=Subset(s.examples, torch.arange(rows))) for s in stream.segments]
    return replace(stream, segments=segments).disclose(**told)


def without(stream: Stream, ids: list[int]) -> Stream:
    segments = []
    for segment in stream.segments:
        kept = ~torch.isin(segment.examples.span(0, 1000).ids, torch.tensor(ids))
        segments.append(replace(segment, examples=Subset(segment.examples, kept.nonzero().squeeze(1))))
    return replace(stream, segments=segments)


def learned(stream: Stream, **settings: object) -> rm.Learner:
    learner = rm.make("joint", stream, **{**SMALL, **settings})
    for experience in stream.experiences():
        learner.learn(experience)
    return learner


def equal(one: rm.Learner, other: rm.Learner) -> bool:
    first, second = one.model.state_dict(), other.model.state_dict()
    return one.model.classes == other.model.classes and all(torch.equal(first[name], second[name]) for name in second)


def test_it_equals_plain_training_on_all_rows_at_once():
    stream = short()
    joint = learned(stream, epochs=2)
    rows = [segment.examples.span(0, 1000) for segment in stream.segments]
    everything = Rows(*(torch.cat(column) for column in zip(*rows, strict=True)))
    whole = next(iter(stream.experiences()))
    whole = replace(whole, examples=InMemory(*everything), classes=None)
    naive = rm.make("naive", stream, **{**SMALL, "epochs": 2})
    naive.context.add_classes(list(dict.fromkeys(everything.y.tolist())))
    assert equal(joint, naive.learn(whole))


@pytest.mark.parametrize("what", ["ids", "label", "rows"])
def test_forgetting_equals_never_having_seen_to_the_bit(what: str):
    stream = short()
    joint = learned(stream)
    if what == "label":
        label = int(stream.segments[1].examples.span(0, 1).y)
        every = torch.cat([s.examples.span(0, 1000).ids for s in stream.segments])
        labels = torch.cat([s.examples.span(0, 1000).y for s in stream.segments])
        gone, request = every[labels == label].tolist(), Request(label=label)
    else:
        rows = stream.segments[0].examples.cut(torch.tensor([2, 5, 11]))
        gone = rows.ids.tolist()
        request = Request(ids=tuple(gone)) if what == "ids" else Request(x=rows.x, y=rows.y)
    receipt = joint.forget(request)
    assert receipt.complete and receipt.count == len(gone)
    other = learned(without(stream, gone))
    assert equal(joint, other)
    assert torch.equal(joint.kept.ids, other.kept.ids)


def test_forgetting_in_the_midst_of_a_retraining_finishes_it_on_what_is_left():
    stream = short()
    experiences = list(stream.experiences())
    joint = rm.make("joint", stream, **SMALL).learn(experiences[0])
    updates = joint.steps(experiences[1])
    for _ in range(3):
        next(updates)
    gone = stream.segments[1].examples.span(0, 4).ids.tolist()
    joint.forget(Request(ids=tuple(gone)))
    assert list(updates) == []
    other = rm.make("joint", without(stream, gone), **SMALL)
    for experience in list(without(stream, gone).experiences())[:2]:
        other.learn(experience)
    assert equal(joint, other)


def test_forgetting_everything_leaves_the_initial_weights():
    stream = short()
    joint = learned(stream)
    joint.forget(Request(ids=tuple(joint.kept.ids.tolist())))
    assert len(joint.kept) == 0 and joint.model.classes == []
    assert torch.equal(joint.model.body[1].weight, joint.initial.body[1].weight)
    assert joint.footprint().bytes["rehearsal"] == 8  # the count alone


def test_the_finished_model_answers_while_the_next_is_trained():
    stream = short()
    experiences, x = list(stream.experiences()), stream.tests[0].x
    joint = rm.make("joint", stream, **SMALL).learn(experiences[0])
    before = joint.predict(x)
    updates = joint.steps(experiences[1])
    for _ in range(8):
        next(updates)
        assert torch.equal(joint.predict(x).scores, before.scores)
    assert list(updates)[-1].examples == 43
    assert len(joint.predict(x).classes) > len(before.classes)


def test_without_boundaries_it_retrains_as_the_rows_grow_and_learns_all_of_them():
    stream = short(boundaries=False, classes=False)
    learner = rm.make("joint", stream, growth=0.5, **SMALL)
    updates = list(learner.steps(next(iter(stream.experiences()))))
    assert total(updates).examples == 3 * 43 == len(learner.kept)
    assert updates[-1].examples > 0
    assert sum(update.examples > 0 for update in updates) == 7  # after 10, 20, 30, 45, 68, 102 and 129 rows
    assert equal(learner, learned(short()))


def test_several_passes_need_no_boundaries():
    stream = short(boundaries=False, classes=False)
    assert len(learned(stream, epochs=2).kept) == 3 * 43


@pytest.mark.parametrize("stop", [2, 7])
def test_saved_in_a_retraining_it_goes_on_to_the_bit(stop: int, tmp_path: Path):
    stream = short()
    experiences = list(stream.experiences())
    joint = rm.make("joint", stream, **SMALL).learn(experiences[0])
    updates = joint.steps(experiences[1])
    for _ in range(stop):
        next(updates)
    joint.save(tmp_path / "joint.safetensors")
    other = rm.load(tmp_path / "joint.safetensors")
    assert torch.equal(other.predict(stream.tests[0].x).scores, joint.predict(stream.tests[0].x).scores)
    rest = list(updates)
    assert list(other.steps(experiences[1], stop)) == rest
    assert equal(joint.learn(experiences[2]), other.learn(experiences[2]))


def test_regression_and_told_tasks():
    stream = rm.streams.split("digits", experiences=5, task_ids=True)
    learner = rm.make("joint", stream, **SMALL)
    for experience in list(stream.experiences())[:2]:
        learner.learn(experience)
    test = stream.tests[0]
    assert set(learner.predict(test.x, 0).labels.tolist()) <= set(test.classes)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    values = Stream("values", [rm.streams.Segment(InMemory(x, y))], [], task=rm.streams.REGRESSION, shape=(3,))
    fitted = rm.make("joint", values, model="linear", lr=0.1, epochs=30)
    fitted.learn(next(iter(values.experiences())))
    assert (fitted.predict(x).values - y).abs().max() < 0.01


def test_it_is_a_reference_outside_any_budget():
    stream = short()
    assert rm.make("joint", stream, budget=10, **SMALL).reference
    with pytest.raises(rm.errors.UsageError, match="combined"):
        rm.make("joint+naive", stream)


def test_a_run_goes_on_after_forgetting_in_the_midst_of_a_retraining(tmp_path):
    stream = rm.streams.split("digits", experiences=5)
    joint = rm.make("joint", stream, model="mlp:8", epochs=2)
    experience = next(stream.experiences())
    steps = joint.steps(experience)
    for _ in range(20):
        next(steps)
    joint.forget(Request(ids=tuple(experience.examples.span(0, 50).ids.tolist())))
    joint.save(tmp_path / "joint")
    after = {name: tensor.clone() for name, tensor in joint.state_dict().items()}
    assert list(steps) == []  # it retrained on what is left; nothing remains to be done
    resumed = rm.load(tmp_path / "joint")
    assert list(resumed.steps(experience, 20)) == []
    assert all(torch.equal(tensor, after[name]) for name, tensor in resumed.state_dict().items())
