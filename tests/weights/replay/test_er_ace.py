"""ER-ACE: its loss against a loop, and that absent classes are left alone."""

from __future__ import annotations

import torch

import remanence as rm

SMALL = {"model": "mlp:16", "lr": 0.05}


def test_the_loss_equals_a_loop_over_rows():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er-ace", stream, size=30, **SMALL)
    steps = []
    stepped = learner._hooks["after_step"][0]
    learner._hooks["after_step"] = [lambda step: (steps.append(step), stepped(step))]
    for experience in list(stream.experiences())[:2]:
        learner.learn(experience)
    for step in (steps[0], steps[4], steps[-1]):
        n = step.batch.fresh
        present = sorted(set(step.columns[:n].tolist()))
        new = [-torch.log_softmax(step.scores[r, present], 0)[present.index(int(step.columns[r]))] for r in range(n)]
        old = [-torch.log_softmax(step.scores[r], 0)[step.columns[r]] for r in range(n, len(step.batch))]
        expected = torch.stack(new).mean() + (torch.stack(old).mean() if old else 0)
        assert torch.allclose(step.loss, expected, atol=1e-6)


def test_new_rows_do_not_touch_the_rows_of_absent_classes():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("er-ace", stream, size=30, **SMALL)
    first, second = list(stream.experiences())[:2]
    learner.learn(first)
    learner.parts[0].memory.keep(torch.empty(0, dtype=torch.int64))
    before = learner.model.head.weight[:2].detach().clone()
    next(learner.steps(second))
    assert torch.equal(learner.model.head.weight[:2], before)


def test_told_tasks_still_bound_the_competition():
    stream = rm.streams.split("digits", experiences=5, task_ids=True)
    learner = rm.make("er-ace", stream, size=30, **SMALL)
    for experience in list(stream.experiences())[:3]:
        learner.learn(experience)
    scores = learner.predict(stream.tests[0].x, 0).scores
    assert torch.isinf(scores[:, 2:]).all()


def test_values_are_not_its_task():
    assert rm.registry.get("er-ace").tasks == {"classification"}
