"""Claims run end to end: what is true is shown, what is false is not, and nothing is run twice."""

import dataclasses
import json

import pytest
from rich.console import Console

import remanence as rm
from remanence.arena import trials
from remanence.arena.fingerprint import _read, fingerprint, of_system
from remanence.arena.search import RANKS, search, tuning_streams
from remanence.arena.trials import Trial, TrialStore
from remanence.claims.engine.comparison import stream_recipe
from remanence.claims.engine.prove import prove
from remanence.claims.engine.tables import verdict_table
from remanence.claims.engine.verdict import Verdict
from remanence.errors import UsageError


@pytest.fixture(scope="module")
def counted():
    """How many runs were really made."""
    made = []
    original = trials.execute

    def execute(job, folder):
        made.append(job["folder"])
        return original(job, folder)

    patch = pytest.MonkeyPatch()
    patch.setattr(trials, "execute", execute)
    yield made
    patch.undo()


@pytest.fixture
def shown(tiny, at):
    return prove(tiny(), at=at)


def test_rehearsal_beats_none(shown):
    assert shown.verdict == "shown"
    assert len(shown.differences) == 5
    assert 0 < shown.bound < shown.mean
    assert [a - b for a, b in zip(*shown.values.values(), strict=True)] == shown.differences
    assert shown.search["er"]["best"] == {"lr": 0.3}


def test_a_false_claim_is_not_shown(tiny, at):
    false = prove(tiny("naive", "er"), at=at)
    assert false.verdict == "not shown"
    assert false.mean < 0


def test_a_claim_of_less_is_judged_on_the_other_side(tiny, at):
    assert prove(tiny(metric="forgetting", better="lower"), at=at).verdict == "shown"
    assert prove(tiny(metric="updates", better="lower"), at=at).verdict == "not shown"
    assert prove(tiny("naive", "er", metric="forwards", better="lower"), at=at).verdict == "shown"


def test_a_verdict_says_how_it_was_measured(shown):
    assert set(shown.protocol) >= {"data", "disclosed", "budget", "seeds", "search", "equal", "reduced", "commit"}
    assert "no class order is both searched on and reported" in shown.protocol["search"]
    assert "800 examples to learn and 359 test examples" in shown.protocol["data"]
    assert shown.updates["er"]["forwards"] > shown.updates["naive"]["forwards"]
    assert shown.updates["er"]["updates"] == shown.updates["naive"]["updates"] == 80
    assert shown.bytes["er"]["rehearsal"] == 4000
    assert shown.settings["er"]["training"]["lr"] == 0.3


def test_a_verdict_goes_to_json_and_back_and_prints(shown):
    assert Verdict.from_dict(json.loads(json.dumps(shown.as_dict()))) == shown
    console = Console(record=True, width=150, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(verdict_table(shown))
    assert "er: shown" in console.export_text()


def test_what_was_run_is_not_run_again_unless_asked(tiny, at, counted):
    claim = tiny(training={"model": "linear", "limit": 40})
    first = prove(claim, at=at)
    made = len(counted)
    assert made >= 2 * 2 * 2 + 2 * 5
    again = prove(claim, at=at)
    assert len(counted) == 2 * made  # each is asked for, and answered from its file
    assert again == first
    fresh = prove(claim, at=dataclasses.replace(at, fresh=True))
    assert len(counted) == 3 * made
    assert dataclasses.replace(fresh, seconds=0, search={}) == dataclasses.replace(first, seconds=0, search={})


def test_an_interrupted_claim_goes_on(tiny, tmp_path, monkeypatch):
    claim = tiny(training={"model": "linear", "limit": 40})
    place = TrialStore(tmp_path)
    whole = prove(claim, at=place)
    done = []

    def interrupt(run):
        done.append(run)
        if len(done) == 11:
            raise KeyboardInterrupt

    other = TrialStore(tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        prove(claim, progress=interrupt, at=other)
    kept = {path: path.stat().st_mtime_ns for path in other.folder.glob("jobs/*/result.json")}
    assert len(kept) == 11
    resumed = prove(claim, at=other)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert resumed.values == whole.values
    assert {path.name for path in other.folder.glob("jobs/*/*")} == {"result.json"}


def test_processes_change_no_figure(tiny, at, tmp_path):
    claim = tiny(training={"model": "linear", "limit": 40})
    two = prove(claim, jobs=2, at=TrialStore(tmp_path))
    assert two.values == prove(claim, at=at).values


def test_a_run_is_named_by_what_it_depends_on(tiny):
    stream = rm.streams.build(stream_recipe(tiny()))
    names = {
        Trial(label, stream, seed, settings, "mlp:10", budget, probes).job()["folder"]
        for label in ("er", "naive")
        for seed in (0, 1)
        for settings in ({}, {"lr": 0.5})
        for budget in (None, 50_000)
        for probes in (0, 5)
    }
    assert len(names) == 32
    assert Trial("er#one", stream, 0).job() == Trial("er#two", stream, 0).job()


def test_the_fingerprint_follows_imports():
    assert of_system("er") != of_system("naive")
    assert of_system("er") == of_system("er")
    assert fingerprint(["remanence.errors"]) != fingerprint(["remanence.errors", "remanence.training"])
    assert fingerprint(["remanence.training"]) == fingerprint(["remanence.training", "remanence.errors"])


def test_the_words_of_a_claim_do_not_count_and_its_measure_does(tmp_path, monkeypatch):
    """What a module assigns to CLAIM is compared as data; the code beside it is what figures depend on."""
    monkeypatch.setattr("remanence.arena.fingerprint.ROOT", tmp_path)

    def printed(text):
        (tmp_path / "claim_of_a_test.py").write_text(text)
        _read.cache_clear()
        return fingerprint(["remanence.claim_of_a_test"])

    try:
        first = printed("SIZE = 1\nCLAIM = dict(says='One.')\n")
        assert printed("SIZE = 1\nCLAIM = dict(says='Two.', cause='None.')\n") == first
        assert printed("SIZE = 2\nCLAIM = dict(says='One.')\n") != first
    finally:
        _read.cache_clear()


def test_a_budget_is_kept_by_both_or_the_claim_is_not_run(tiny, at):
    kept = prove(tiny(budget="7KB", settings={}), at=at)
    assert kept.verdict == "shown"
    assert all(held["peak"] <= 7_000 for held in kept.bytes.values())
    refused = prove(tiny(budget="7KB", settings={"er": {"size": 500}}), at=at)
    assert refused.verdict == "not run"
    assert "budget of 7.0 KB" in refused.why


def test_missing_data_means_not_run(tiny, at, monkeypatch):
    def missing(name, *where):
        raise UsageError("mnist could not be loaded")

    monkeypatch.setattr("remanence.streams.sources._load", missing)
    claim = tiny(stream={"source": "mnist", "scenarios": [["split", {}]]})
    verdict = prove(claim, at=at)
    assert (verdict.verdict, verdict.why) == ("not run", "mnist could not be loaded")


def test_runs_that_diverged_show_nothing(tiny, at):
    found = prove(tiny(search={}, settings={"naive": {"lr": 1e30}}, training={"model": "mlp:10"}), at=at)
    assert found.verdict == "not shown"
    assert "5 of 5 runs of naive" in found.why


def test_settings_are_searched_on_examples_that_are_never_tested_on(tiny):
    recipe = stream_recipe(tiny())
    whole = rm.streams.whole("digits")
    tested = {row.numpy().tobytes() for row in whole.tests[0].x}
    learned = {row.numpy().tobytes() for row in whole.segments[0].examples.x}
    for stream in tuning_streams(recipe, [5]):
        asked = {row.numpy().tobytes() for test in stream.tests for row in test.x}
        assert asked <= learned
        assert not asked & (tested - learned)
        trained = {int(i) for segment in stream.segments for i in segment.examples.span(0, 10_000).ids}
        assert len(trained) == sum(len(segment.examples) for segment in stream.segments)


def test_a_setting_that_diverges_is_not_chosen(tiny, at):
    found = search("naive", stream_recipe(tiny()), {"lr": [1e30, 0.1]}, {"batch_size": 20}, at=at)
    assert found.best == {"lr": 0.1}
    assert found.table[0]["mean"] is None


def test_settings_are_not_chosen_by_what_learning_nothing_would_win(tiny, at):
    assert "forgetting" not in RANKS
    assert search("naive", stream_recipe(tiny()), {"lr": [1e-6, 0.1]}, metric="forgetting", at=at).by == "accuracy"


def test_online_accuracy_is_measured_before_learning(tiny, at):
    found = prove(tiny(metric="online_accuracy", settings={"er": {"size": 50}}), at=at)
    assert all(value is not None for values in found.values.values() for value in values)


def test_seeds_that_were_searched_on_are_not_reported(tiny, at):
    with pytest.raises(UsageError, match="also searched on"):
        prove(tiny(), at=at, first_seed=998)
    with pytest.raises(UsageError, match="5 or more"):
        prove(tiny(), 4, at=at)


def test_a_check_made_again_with_other_seeds(tiny, at):
    other = prove(tiny(), at=at, first_seed=10)
    assert other.seeds == [10, 11, 12, 13, 14]
    assert other.verdict == "shown"
