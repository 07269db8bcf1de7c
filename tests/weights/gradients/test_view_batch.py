"""View-batch: its schedule, its views and its divergence."""

from __future__ import annotations

import pytest
import torch

import remanence as rm
from remanence.weights.gradients.view_batch import ViewBatch


def run(**settings: object) -> tuple[rm.Trainer, list]:
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er+view-batch", stream, **{"model": "mlp:16", "batch_size": 12, "size": 30, **settings})
    steps = []
    learner._hooks["after_step"].append(steps.append)
    learner.learn(next(iter(stream.experiences())))
    return learner, steps


def test_each_example_comes_once_in_as_many_passes_as_views():
    _, steps = run(views=4, epochs=4)
    ids = [step.batch.ids[: step.batch.fresh].view(-1, 4) for step in steps]
    assert all((group == group[:, :1]).all() for group in ids)
    rows = len(next(rm.streams.split("digits", experiences=5).experiences()).examples)
    visited = torch.cat([group[:, 0] for group in ids])
    first = visited[:rows]
    assert len(first.unique()) == rows
    assert len(steps) == 4 * -(-rows // 12)


def test_it_rests_as_many_times_as_long_as_there_are_views():
    _, steps = run(views=4, epochs=8)
    rows = len(next(rm.streams.split("digits", experiences=5).experiences()).examples)
    visits: dict[int, list[int]] = {}
    for k, step in enumerate(steps):
        for one in step.batch.ids[: step.batch.fresh : 4].tolist():
            visits.setdefault(one, []).append(k)
    waits = [float(b - a) for times in visits.values() for a, b in zip(times, times[1:], strict=False)]
    assert sum(waits) / len(waits) == pytest.approx(4 * rows / 12, rel=0.1)


def test_the_first_view_is_the_row_itself_and_remembered_rows_are_left_alone():
    _, steps = run(views=4, epochs=4)
    step = steps[-1]
    raw = step.batch.x.float() / 255 if step.batch.x.dtype == torch.uint8 else step.batch.x
    assert torch.allclose(step.x[:12:4], raw[:12:4])
    assert torch.allclose(step.x[12:], raw[12:]) and len(step.x) == 24
    assert not torch.allclose(step.x[1:12:4], raw[1:12:4])


def test_the_divergence_equals_a_loop_and_does_not_move_the_first_view():
    _, steps = run(views=4, epochs=4)
    part = ViewBatch(divergence=0.5)
    step = steps[-1]
    step.scores = step.scores.detach().clone().requires_grad_()
    found = part.loss(step)
    terms = []
    for group in step.scores[: step.batch.fresh].view(-1, 4, step.scores.shape[1]):
        p = torch.softmax(group, 1)
        terms += [  # averaged over classes, as the authors' F.kl_div is by default
            (p[0].detach() * (p[0].detach().log() - p[v].log())).mean() for v in (1, 2, 3)
        ]
    assert torch.allclose(found, 0.5 * torch.stack(terms).mean(), atol=1e-6)
    found.backward()
    assert (step.scores.grad[::4] == 0).all()


def test_the_divergence_begins_when_its_share_of_the_updates_is_over():
    _, steps = run(views=4, epochs=4)
    part = ViewBatch(start=0.25)
    begun = [part.loss(step) is not None for step in steps]
    assert begun == [k >= len(steps) / 4 for k in range(len(steps))]


def test_fewer_epochs_than_views_are_refused():
    stream = rm.streams.split("digits", experiences=5)
    with pytest.raises(rm.errors.UsageError, match="epochs is 2"):
        rm.make("er+view-batch", stream, epochs=2)
