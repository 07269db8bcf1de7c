"""DER++: its loss against the formula, scores that widen, and the budget."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

import remanence as rm
from remanence.weights.replay.der_pp import DERpp

SMALL = {"model": "mlp:16", "lr": 0.05}


def advanced(stream: rm.streams.Stream, **settings: object) -> tuple[rm.Trainer, list[dict[str, torch.Tensor]]]:
    """Learn two experiences, noting loss, scores and rows of each step."""
    learner = rm.make("der++", stream, **{**SMALL, **settings})
    part, steps = learner.parts[0], []
    after_step = part.after_step

    def note(step):
        steps.append({"step": step, "width": part.memory.extra("scores").shape[1] if len(part.memory) else 0})
        after_step(step)

    learner._hooks["after_step"] = [note]
    for experience in list(stream.experiences())[:2]:
        learner.learn(experience)
    return learner, steps


def test_the_loss_is_that_of_the_paper_on_two_draws():
    stream = rm.streams.split("digits", experiences=5)
    _, noted = advanced(stream, size=30, alpha=0.7, beta=0.4)
    for k in (0, 5, -1):
        step = noted[k]["step"]
        batch, scores, columns = step.batch, step.scores, step.columns
        n, rows = batch.fresh, (len(batch) - batch.fresh) // 2
        expected = cross_entropy(scores[:n], columns[:n])
        if rows:
            kept, known = batch.extras["scores"], batch.extras["known"]
            entries = [(scores[n + row, c] - kept[row, c]) ** 2 for row in range(rows) for c in range(int(known[row]))]
            expected = expected + 0.7 * torch.stack(entries).mean()
            expected = expected + 0.4 * cross_entropy(scores[n + rows :], columns[n + rows :])
            assert not torch.equal(batch.origin[:rows], batch.origin[rows:])
        assert torch.allclose(step.loss, expected, atol=1e-6)


def test_scores_kept_are_those_before_the_step_and_widen_with_the_classes():
    stream = rm.streams.split("digits", experiences=5)
    learner, noted = advanced(stream, size=1000)
    memory = learner.parts[0].memory
    assert memory.extra("scores").shape == (1000, 4)
    step = noted[0]["step"]
    assert torch.equal(memory.extra("scores")[:10, :2], step.scores[:10].detach())
    known = memory.extra("known")[: len(memory)]
    assert set(known.tolist()) == {2, 4}
    assert (memory.extra("scores")[: len(memory)][known == 2][:, 2:] == 0).all()


def test_without_labels_it_is_der_and_without_both_plain_training():
    stream = rm.streams.split("digits", experiences=5)
    plain = rm.make("naive", stream, **SMALL).learn(next(iter(stream.experiences())))
    neither = rm.make("der++", stream, alpha=0, beta=0, **SMALL).learn(next(iter(stream.experiences())))
    for name, value in plain.model.named_parameters():
        assert torch.allclose(neither.model.get_parameter(name), value, atol=1e-5)


def test_the_budget_holds_while_scores_widen():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("der++", stream, budget=15_000, **SMALL)
    for experience in stream.experiences():
        for _ in learner.steps(experience):
            assert learner.footprint().total <= 15_000
    assert 10 < len(learner.parts[0].memory) < 120


def test_forgetting_removes_rows_with_their_scores():
    stream = rm.streams.split("digits", experiences=5)
    learner, _ = advanced(stream, size=40)
    memory = learner.parts[0].memory
    gone = int(memory.ids[3])
    stays = memory.extra("scores")[4].clone()
    learner.forget(rm.Request(ids=(gone,)))
    assert gone not in memory.ids[: len(memory)]
    assert torch.equal(memory.extra("scores")[3], stays)


def test_it_learns_values_too():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    part = DERpp(size=20)
    learner = rm.Trainer(torch.nn.Sequential(torch.nn.Linear(3, 1)), [part], task="regression", lr=0.05, epochs=5)
    learner.learn(rm.streams.Experience(0, rm.streams.InMemory(x, y)))
    assert (learner.predict(x).values - y).abs().max() < 0.2


def test_negative_weights_are_refused():
    with pytest.raises(rm.errors.UsageError, match="alpha"):
        DERpp(alpha=-1.0)
