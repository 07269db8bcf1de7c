"""Experience replay: its reservoir against a loop over rows, what an update learns, and what its bytes are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import remanence as rm
from remanence.request import Request
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.replay.er import ER
from remanence.weights.trainer import Trainer


def learner_for(part: ER, batch_size: int = 10, lr: float = 0.1) -> Trainer:
    torch.manual_seed(0)
    return Trainer(torch.nn.Sequential(torch.nn.Linear(3, 2)), [part], batch_size=batch_size, lr=lr)


def rows(n: int, seed: int = 0) -> InMemory:
    draw = torch.Generator().manual_seed(seed)
    return InMemory(torch.randn(n, 3, generator=draw), torch.randint(4, (n,), generator=draw), torch.arange(n) + 1000)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 25), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_what_is_held_is_what_a_loop_over_rows_would_hold(size, batch, lengths):
    """Algorithm R of Vitter (1985), row by row, with the numbers drawn by seed and position."""
    part = ER(size=size)
    learner = learner_for(part, batch)
    held: list[int] = []
    seen = 0
    for index, length in enumerate(lengths):
        experience = Experience(index, rows(length, index))
        sampler = learner.sampler(experience)
        for k, _ in enumerate(learner.steps(experience)):
            context = learner.context
            assert (context.experience, context.k) == (index, k)
            numbers = torch.rand(len(sampler[k]), generator=context.generator("reservoir"), dtype=torch.float64)
            for row, number in zip(sampler[k].tolist(), numbers.tolist(), strict=True):
                seen += 1
                if len(held) < size:
                    held.append(1000 + row)
                elif (slot := int(number * seen)) < size:
                    held[slot] = 1000 + row
            assert part.memory.ids[: len(part.memory)].tolist() == held
    assert part.memory.seen == seen


def test_every_row_of_a_stream_is_kept_about_equally_often():
    counts, trials, size, length = torch.zeros(50), 300, 10, 50
    for seed in range(trials):
        part = ER(size=size)
        model = torch.nn.Sequential(torch.nn.Linear(3, 2))
        learner = Trainer(model, [part], seed=seed, lr=0.01)
        for index, start in enumerate((0, 25)):
            whole = rows(length)
            half = InMemory(*whole.span(start, start + 25))
            learner.learn(Experience(index, half))
        counts[part.memory.ids - 1000] += 1
    share = size / length
    assert counts.sum() == trials * size
    assert float((counts - trials * share).abs().max()) < 4.5 * (trials * share * (1 - share)) ** 0.5


def test_an_update_learns_new_and_remembered_rows_in_one_mean():
    part = ER(size=20, rehearsed=7)
    learner = learner_for(part, batch_size=5)
    examples = rows(30)
    steps = learner.steps(Experience(0, examples))
    for _ in range(3):
        next(steps)
    memory, model = part.memory, learner.model
    kept = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    x, y, ids = memory.x.clone(), memory.y.clone(), memory.ids.clone()
    new = learner.sampler(Experience(0, examples))[3]
    learner.context.k = 3
    slots = memory.draw(7, learner.context.generator("rehearse"))
    assert set(ids[slots].tolist()).isdisjoint((new + 1000).tolist())
    inputs, labels = torch.cat([examples.x[new], x[slots]]), torch.cat([examples.y[new], y[slots]])
    scores = torch.func.functional_call(model, kept, (inputs,))
    loss = cross_entropy(scores, model.head.columns(labels))
    loss.backward()
    update = next(steps)
    assert (update.examples, update.rehearsed, update.forwards) == (5, 7, 12)
    assert update.loss == pytest.approx(loss.item())
    for name, p in model.named_parameters():
        assert torch.allclose(p, kept[name] - 0.1 * kept[name].grad, atol=1e-6)


def test_the_first_update_has_nothing_to_rehearse_and_later_ones_as_many_as_are_new():
    learner = learner_for(ER(size=100), batch_size=8)
    rehearsed = [update.rehearsed for update in learner.steps(Experience(0, rows(20)))]
    assert rehearsed == [0, 8, 4]  # 8 of 8 held; then as many as the 4 rows that are left


def test_bytes_are_those_of_the_rows_as_they_came():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er", stream, size=30).learn(next(stream.experiences()))
    row = next(stream.experiences()).examples.span(0, 1)
    assert row.x.dtype == torch.uint8
    assert learner.footprint().bytes["rehearsal"] == 30 * (row.x.nbytes + 8 + 8)


def test_what_was_forgotten_is_neither_held_nor_left_in_the_bytes_nor_brought_back():
    part = ER(size=15)
    learner = learner_for(part).learn(Experience(0, rows(40)))
    learner.snapshot("before")
    gone = int(part.memory.ids[4])
    row = part.memory.x[4].clone()
    receipt = learner.forget(Request(ids=(gone,)))
    assert receipt.places == {"rehearsal": "removed", "weights": "remains", "snapshots": "removed"}
    assert receipt.count == 1 and not receipt.complete
    assert gone not in part.memory.ids.tolist()
    assert not (part.memory.x == row).all(1).any()
    with pytest.raises(rm.errors.UsageError, match="no snapshot 'before'"):
        learner.restore("before")


def test_a_row_given_again_is_found_and_one_of_another_width_is_refused():
    part = ER(size=15)
    learner = learner_for(part).learn(Experience(0, rows(40)))
    x, y = part.memory.x[2:3].clone(), part.memory.y[2:3].clone()
    assert learner.forget(Request(x=x, y=y)).count == 1
    with pytest.raises(rm.errors.UsageError, match="give them as the stream did"):
        learner.forget(Request(x=torch.zeros(1, 5), y=y))
    assert len(part.memory) == 14
