"""Driving one learner: what is measured, what is kept, and that a crash changes nothing."""

import dataclasses

import pytest
import torch

import remanence as rm
from remanence.arena.job import Job, Settings, check_fits
from remanence.errors import BudgetError, NeedsError, StateError
from remanence.streams import InMemory, Segment, Stream, TestSet
from remanence.weights.part import Part
from remanence.weights.trainer import Trainer


def without_times(result):
    return dataclasses.replace(result, seconds={}).as_dict()


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 20, 29, 30, 77, 146])
@pytest.mark.parametrize("online", [False, True])
def test_interrupted_anywhere_the_result_is_that_of_an_undisturbed_run(digits, tmp_path, stop, online):
    def learner():
        return rm.make("er", digits, size=20, lr=0.1)

    whole = Job(learner(), digits, Settings(4, online)).run()
    settings = Settings(4, online, tmp_path / "checkpoint.safetensors", every_updates=7)

    def interrupt(record, stream):
        if record.counts["updates"] == stop:
            raise Stop

    with pytest.raises(Stop):
        Job(learner(), digits, settings, interrupt).run()
    assert without_times(Job(learner(), digits, settings).run()) == without_times(whole)


def test_matrix_and_probes_are_what_predict_says(digits):
    learner = rm.make("g-acil", digits, buffer=60)
    result = Job(learner, digits, Settings(10)).run()
    final = [float((learner.predict(t.x).labels == t.y).double().mean()) for t in digits.tests]
    assert result.matrix[-1] == pytest.approx(final)
    assert result.accuracy == pytest.approx(sum(final) / 5)
    assert len(result.matrix) == len(result.bytes_after) == 5
    assert result.before == [0.0] * 5
    assert [p.update for p in result.probes[:2]] == [10, 20]
    assert result.probes[0].scores[1:] == [None] * 4
    assert result.updates["examples"] == 1438


def test_hidden_boundaries_are_one_long_experience_cut_by_the_arena(digits):
    hidden = digits.disclose(boundaries=False, classes=False)
    seen = list(hidden.experiences())
    assert len(seen) == 1
    assert seen[0].classes is None
    assert not seen[0].boundary
    result = Job(rm.make("er", hidden, size=20), hidden, Settings(0)).run()
    assert len(result.matrix) == 5
    assert result.updates["updates"] == 144
    assert result.matrix[0][0] > result.matrix[0][1] == 0


def regression_stream():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0])
    segments = [Segment(InMemory(x[a : a + 100], y[a : a + 100], ordered=True)) for a in (0, 100, 200)]
    return Stream("line", segments, [], rm.streams.REGRESSION, (4,))


def test_prequential_regression_asks_before_it_learns():
    stream = regression_stream()
    learner = rm.make("naive", stream, model="linear", lr=0.05, batch_size=5)
    first = learner.predict(stream.segments[0].examples.x[:5]).values
    expected = float((first - stream.segments[0].examples.y[:5]).square().mean().sqrt())
    result = Job(learner, stream, Settings(1)).run()
    assert result.metric == "rmse"
    assert result.probes[0].scores == [pytest.approx(expected)]
    assert result.matrix[0][0] > result.matrix[2][0]
    assert result.metrics["online_accuracy"] == result.accuracy


def test_a_loss_that_turns_nan_stops_that_learner_and_is_said(digits):
    result = Job(rm.make("naive", digits, lr=1e30), digits).run()
    assert result.status == "diverged"
    assert result.accuracy is None
    assert "lower lr" in result.notes["stopped"]


def test_a_budget_sizes_the_memory_and_is_kept_at_every_update(digits):
    learner = rm.make("er", digits, budget=90_000)
    for experience in digits.experiences():
        for _ in learner.steps(experience):
            assert learner.footprint().total <= 90_000
    assert learner.footprint().total > 90_000 - 2 * learner.memory.row_bytes


def test_a_budget_that_is_too_small_is_refused_with_the_figures(digits):
    with pytest.raises(BudgetError, match=r"parameters 6\d\.\d KB.*more than the budget of 10\.0 KB"):
        Job(rm.make("er", digits, budget=10_000), digits).run()


def test_a_size_that_was_given_is_not_overridden_by_the_budget(digits):
    with pytest.raises(BudgetError, match="raise --budget"):
        Job(rm.make("er", digits, budget=72_000, size=500), digits).run()


class WantsTasks(Part):
    needs = frozenset({"task ids"})


def test_a_learner_that_needs_what_is_hidden_is_refused(digits):
    learner = Trainer(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), [WantsTasks()])
    with pytest.raises(NeedsError, match="wanting needs task ids, which the stream digits/split does not disclose"):
        check_fits(learner, digits, "wanting")


def test_a_truncated_checkpoint_is_one_sentence(digits, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    Job(rm.make("er", digits, size=20), digits, Settings(0, checkpoint=path)).run()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StateError, match="truncated"):
        Job(rm.make("er", digits, size=20), digits, Settings(0, checkpoint=path)).run()


def test_a_checkpoint_of_another_recipe_is_refused(digits, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    Job(rm.make("er", digits, size=20), digits, Settings(0, checkpoint=path)).run()
    with pytest.raises(StateError, match="another recipe"):
        Job(rm.make("er", digits, size=21), digits, Settings(0, checkpoint=path)).run()


def test_an_empty_experience_is_refused(digits):
    nothing = Segment(InMemory(torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64)))
    stream = dataclasses.replace(digits, segments=[nothing], tests=[TestSet("t", digits.tests[0].x, digits.tests[0].y)])
    with pytest.raises(rm.errors.UsageError, match="no examples"):
        Job(rm.make("naive", stream), stream).run()


def test_what_is_made_when_an_experience_ends_counts_towards_the_budget(digits):
    with pytest.raises(BudgetError, match="importances"):
        Job(rm.make("ewc", digits, budget=120_000), digits).run()


@pytest.mark.parametrize("name", ["ncm", "er"])
def test_without_labels_it_is_asked_by_the_true_ones_and_learns_nothing(name, tmp_path):
    turned = rm.streams.limit(rm.streams.rotate("digits", experiences=3, degrees=60), examples=200)
    stream = rm.streams.unlabelled(turned)
    learner = rm.make(name, stream)
    alone = rm.make(name, stream).learn(next(stream.experiences()))
    result = Job(learner, stream, Settings(0, True)).run()
    assert result.updates["examples"] == 600 and result.updates["updates"] == 60
    assert result.updates["forwards"] == (200 if name == "ncm" else 390)
    tests = stream.tests
    assert result.matrix[2] == pytest.approx(
        [float((alone.predict(test.x).labels == test.y).double().mean()) for test in tests]
    )
    first = rm.make(name, stream)
    right = sum(
        float((alone.predict(part.x).labels == part.y).sum())
        for part in (segment.examples.span(0, 200) for segment in turned.segments[1:])
    )
    early = Job(
        first, dataclasses.replace(stream, segments=stream.segments[:1], tests=tests[:1]), Settings(0, True)
    ).run()
    expected = (early.metrics["online_accuracy"] * 200 + right) / 600
    assert result.metrics["online_accuracy"] == pytest.approx(expected)


def test_seeds_are_not_stacked_where_labels_are_hidden(digits):
    from remanence.arena.stacked import stack
    from remanence.errors import Unsupported
    from remanence.factory import recipe_for

    hidden = rm.streams.unlabelled(digits)
    with pytest.raises(Unsupported, match="hides labels"):
        stack(recipe_for("er", hidden), [0, 1], hidden)
