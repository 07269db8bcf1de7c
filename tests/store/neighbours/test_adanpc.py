"""AdaNPC: votes against a loop, what is appended and what is not, sessions, and what deleting leaves."""

from __future__ import annotations

import math

import pytest
import torch

import remanence as rm
from remanence.store.neighbours.adanpc import ANSWERED, GIVEN, AdaNPC
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience


def rows(n: int = 60, seed: int = 0, inputs: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, inputs, generator=draw), torch.randint(4, (n,), generator=draw) * 3


def learned(x: torch.Tensor, y: torch.Tensor, **settings: object) -> AdaNPC:
    return AdaNPC(x[0].numel(), **settings).learn(Experience(0, InMemory(x, y)))


def test_the_share_of_each_class_equals_a_loop():
    x, y = rows()
    answer = learned(x, y, neighbours=7, temperature=0.2).predict(x[:9] + 0.3)
    assert torch.allclose(answer.scores.sum(1), torch.ones(9))
    for row, query in enumerate(x[:9] + 0.3):
        cosines = [float(torch.cosine_similarity(query, other, dim=0)) for other in x]
        nearest = sorted(range(len(x)), key=lambda place: -cosines[place])[:7]
        total = sum(math.exp(cosines[place] / 0.2) for place in nearest)
        for column, label in enumerate(answer.classes):
            share = sum(math.exp(cosines[place] / 0.2) for place in nearest if y[place] == label) / total
            assert float(answer.scores[row, column]) == pytest.approx(share, abs=1e-5)


def test_it_appends_the_answers_it_is_sure_of_and_no_others():
    x, y = rows()
    questions = rows(40, seed=3)[0]
    learner = learned(x, y, neighbours=7, confidence=0.5)
    before = learner.predict(questions)
    sure = before.scores.amax(1) >= 0.5
    assert 0 < int(sure.sum()) < 40
    answer = learner.adapt(questions)
    assert torch.equal(answer.scores, before.scores)
    assert len(learner.entries) == 60 + int(sure.sum())
    assert torch.equal(learner.entries.labels[60:], answer.labels[sure])
    assert learner.entries.marks.tolist() == [GIVEN] * 60 + [ANSWERED] * int(sure.sum())
    assert torch.equal(learner.entries.ids[60:], (-1 - torch.arange(40))[sure])
    learner.adapt(questions)
    assert int(learner.entries.ids.min()) < -40
    everything = learned(x, y, neighbours=7)
    everything.adapt(questions)
    assert len(everything.entries) == 100


def test_a_session_adapts_and_the_learner_stays_as_it_was():
    x, y = rows()
    learner = learned(x, y, neighbours=7)
    session = learner.session()
    session.adapt(rows(40, seed=3)[0])
    assert (len(learner.entries), len(session.entries), learner.asked, session.asked) == (60, 100, 0, 40)


def test_a_question_about_nothing_learned_teaches_nothing():
    learner = AdaNPC(5)
    assert learner.adapt(torch.randn(3, 5)).labels.tolist() == [-1, -1, -1]
    assert len(learner.entries) == 0
    x, y = rows()
    assert learned(x, y).adapt(x[:0]).scores.shape == (0, 4)


def test_it_follows_inputs_that_turn(digits: rm.streams.Stream):
    turned = rm.streams.rotate(rm.streams.limit("digits", examples=300), experiences=10, degrees=45)
    stream = rm.streams.unlabelled(turned)
    learner = rm.make("adanpc", stream, neighbours=5)
    experiences = stream.experiences()
    still = learner.learn(next(experiences)).session()
    for experience in experiences:
        learner.learn(experience)
    last = stream.tests[-1]
    right = [float((it.predict(last.x).labels == last.y).float().mean()) for it in (learner, still)]
    assert right[0] > right[1] + 0.2
    first = stream.tests[0]
    assert float((learner.predict(first.x).labels == first.y).float().mean()) > 0.9
    assert set(learner.entries.ids.tolist()) == set(stream.segments[0].examples.span(0, 2000).ids.tolist())


def test_resumed_among_rows_without_labels_it_ends_the_same(tmp_path):
    stream = rm.streams.limit(rm.streams.unlabelled(rm.streams.rotate("digits", experiences=3)), examples=100)
    whole = rm.make("adanpc", stream, neighbours=5, entries=120)
    for experience in stream.experiences():
        whole.learn(experience)
    part = rm.make("adanpc", stream, neighbours=5, entries=120)
    first, second, third = stream.experiences()
    part.learn(first)
    updates = part.steps(second)
    for _ in range(4):
        next(updates)
    part.save(tmp_path / "part.safetensors")
    resumed = rm.load(tmp_path / "part.safetensors")
    for _ in resumed.steps(second, 4):
        pass
    resumed.learn(third)
    assert len(resumed.entries) == 120
    for name in ("vectors", "labels", "ids", "marks"):
        assert torch.equal(getattr(resumed.entries, name), getattr(whole.entries, name)), name


def test_a_deleted_row_may_have_had_a_say_and_the_receipt_tells():
    x, y = rows()
    learner = learned(x, y, neighbours=7)
    assert learner.forget(rm.Request(ids=(3,))).complete
    learner.adapt(rows(10, seed=3)[0])
    receipt = learner.forget(rm.Request(ids=(4, 5)))
    assert receipt.count == 2 and not receipt.complete
    assert receipt.places == {"indexes": "removed", "labels that it gave by itself": "remains"}
    assert learner.forget(rm.Request(ids=tuple(range(-10, 0)))).complete
    assert set(learner.entries.marks.tolist()) == {GIVEN}


def test_a_budget_bounds_the_memory(digits: rm.streams.Stream):
    stream = rm.streams.unlabelled(rm.streams.rotate("digits", experiences=3))
    learner = rm.make("adanpc", stream, neighbours=5, budget=40_000)
    for experience in stream.experiences():
        learner.learn(experience)
    assert 39_000 < learner.footprint().total <= 40_000


def test_wrong_settings_are_one_sentence():
    for wrong in ({"neighbours": 0}, {"temperature": 0.0}, {"confidence": 1.5}, {"entries": -1}):
        with pytest.raises(rm.errors.UsageError, match=next(iter(wrong))):
            AdaNPC(3, **wrong)
