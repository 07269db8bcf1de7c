"""The rules of a verdict, each on measurements whose truth is known: every one catches what it is for."""

import dataclasses
import json
from io import StringIO

import pytest
from rich.console import Console

from remanence.arena import trials
from remanence.arena.search import made_up, tuning_streams
from remanence.arena.trials import TrialStore
from remanence.claims.__main__ import main
from remanence.claims.engine import command, results
from remanence.claims.engine.docs import index, page
from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.engine.floors import trivial
from remanence.claims.engine.prove import holds_still, prove
from remanence.claims.engine.tables import verdict_table
from remanence.streams import permute, split

ASKED = []


def measure(
    side: str, seed: int, held_out: bool, *, lr: float = 1.0, gain: float = 0.0, held: int = 100, fading: bool = False
) -> Measured:
    """Best at a rate of 1; `gain` is what a side truly adds, and a `fading` one adds it on the first seeds alone."""
    ASKED.append((side, seed, held_out, lr))
    value = 1.0 - abs(lr - 1.0) / 10 + gain * (not fading or seed < 5) + (seed * 37 % 11) / 1000
    return Measured({"score": value}, {"vectors": held}, {"updates": 7})


def experiment(**changes):
    given = {
        "system": "er#fancy",
        "baseline": "er#plain",
        "says": "Fancy is better.",
        "measure": measure,
        "data": "numbers",
        "metric": "score",
        "settings": {"er#fancy": {"gain": 0.5}},
    } | changes
    return Experiment(**given)


@pytest.fixture
def at(tmp_path):
    ASKED.clear()
    return TrialStore(tmp_path / "store")


def test_a_baseline_tuned_at_the_end_of_its_grid_is_tuned_beyond_it(at):
    """With its own rate the baseline is as good: the margin came from its grid alone."""
    grids = {"er#fancy": {"lr": [0.5, 1.0, 2.0]}, "er#plain": {"lr": [0.0625, 0.125, 0.25]}}
    settings = {"er#fancy": {"gain": 0.0}}
    verdict = prove(experiment(search=grids, settings=settings), at=at)
    assert verdict.verdict == "not shown" and verdict.mean == pytest.approx(0.0)
    assert verdict.search["er#plain"]["best"] == {"lr": 1.0}
    counts = {label: len(found["table"]) for label, found in verdict.search.items()}
    assert counts["er#fancy"] == counts["er#plain"] == 6
    assert "extended" in verdict.protocol["search"] and "end of what was tried" not in verdict.protocol["search"]
    limited = prove(experiment(search=grids, settings=settings, limits={"lr": (0.05, 2.0)}), at=at)
    assert limited.search["er#plain"]["best"] == {"lr": 1.0}
    short = prove(experiment(search=grids, settings=settings, limits={"lr": (0.05, 0.3)}), at=at)
    assert short.verdict == "shown" and "lr of er#plain: 0.25 lies where its range ends" in short.protocol["search"]


def test_a_control_topples_what_only_extra_effort_gave(at):
    settings = {"er#fancy": {"gain": 0.5}, "er#more": {"gain": 0.5}, "er#some": {"gain": 0.2}}
    fallen = prove(experiment(settings=settings, controls=("er#some", "er#more")), at=at)
    assert fallen.verdict == "not shown" and "a control equals or beats it: er#more" in fallen.why
    assert fallen.bound > 0.4
    settings.pop("er#more")
    kept = prove(experiment(settings=settings, controls=("er#some",)), at=at)
    assert kept.verdict == "shown" and len(kept.values["er#some"]) == 5
    assert "control, `er#some`: score 1.2" in page("weights/replay", {"er": kept})


def test_a_control_takes_what_was_found_for_its_learner_unless_it_sets_it(at):
    grids = {label: {"lr": [0.5, 1.0, 2.0]} for label in ("er#fancy", "er#plain")}
    settings = {"er#fancy": {"gain": 0.5}, "er#slow": {"lr": 0.25}}
    verdict = prove(experiment(search=grids, settings=settings, controls=("er#same", "er#slow")), at=at)
    assert verdict.settings["er#same"] == {"lr": 1.0}
    assert verdict.settings["er#slow"] == {"lr": 0.25}


def test_a_baseline_at_its_floor_shows_nothing(at):
    settings = {"er#fancy": {"gain": 0.5}, "nothing": {"gain": 0.0}}
    floored = prove(experiment(settings=settings, beside=("nothing",), floors=("nothing",)), at=at)
    assert floored.verdict == "not shown" and "the baseline is at the floor" in floored.why
    assert prove(experiment(chance=1.01), at=at).verdict == "not shown"
    above = prove(experiment(chance=0.5), at=at)
    assert above.verdict == "shown" and above.floors == {"chance": [0.5] * 5}


def test_more_bytes_are_said_and_counted_apart(at):
    equal = prove(experiment(settings={"er#fancy": {"gain": 0.5, "held": 105}}), at=at)
    more = prove(experiment(settings={"er#fancy": {"gain": 0.5, "held": 106}}), at=at)
    assert (equal.grade, more.grade) == ("shown (not audited)", "shown at more bytes (not audited)")
    assert "1 shown at more bytes (not audited), " in index({"er": more})
    fewer = prove(experiment(settings={"er#fancy": {"gain": 0.5, "held": 50}}), at=at)
    assert not fewer.more_bytes
    smaller = prove(experiment(settings={"er#fancy": {"gain": -0.5, "held": 200}}), at=at)
    assert smaller.grade == "not shown"


def test_an_audit_takes_fresh_seeds_and_no_search(at):
    grids = {label: {"lr": [0.5, 1.0, 2.0]} for label in ("er#fancy", "er#plain")}
    plain = prove(experiment(search=grids), at=at)
    before = len(ASKED)
    audited = prove(experiment(search=grids), at=at, audit=True)
    fresh = ASKED[before:]
    assert {seed for _, seed, _, _ in fresh} == {5, 6, 7, 8, 9} and not any(held for _, _, held, _ in fresh)
    assert len(fresh) == 10 and {lr for _, _, _, lr in fresh} == {1.0}
    assert plain.grade == "shown (not audited)" and audited.grade == "shown"
    assert audited.audit.mean == pytest.approx(0.5) and audited.audit.seeds == [5, 6, 7, 8, 9]
    assert dataclasses.replace(audited, audit=None, seconds=plain.seconds).values == plain.values


def test_what_holds_on_the_first_seeds_alone_falls_in_the_audit(at):
    fading = experiment(settings={"er#fancy": {"gain": 0.5, "fading": True}})
    assert prove(fading, at=at).verdict == "shown"
    fallen = prove(fading, at=at, audit=True)
    assert fallen.verdict == "not shown" and fallen.audit.verdict == "not shown"
    assert "it fell in the audit" in fallen.why and "seeds 5 to 9" in fallen.why
    assert fallen.bound > 0.4


def test_what_is_not_shown_is_not_audited(at):
    assert prove(experiment(better="lower"), at=at, audit=True).audit is None


def test_an_audit_is_kept_beside_the_verdict_and_printed(at, tmp_path):
    verdict = prove(experiment(), at=at, audit=True)
    results.write(verdict, tmp_path)
    assert results.read_one("er", tmp_path) == verdict
    assert json.loads((tmp_path / "er.json").read_text())["audit"]["seeds"] == [5, 6, 7, 8, 9]
    console = Console(width=150, file=StringIO())
    console.print(verdict_table(verdict))
    for word in ("er: shown", "audit", "on seeds 5 to 9", "the rule is 600"):
        assert word in console.file.getvalue()
    assert "- audit: shown, +0.500" in page("weights/replay", {"er": verdict})


def test_a_verdict_holds_as_long_as_claim_code_and_rules_are_the_same(at):
    claim = experiment()
    verdict = prove(claim, at=at)
    assert holds_still(verdict, claim)
    assert holds_still(verdict, experiment(says="In other words.", cause="None."))
    assert not holds_still(verdict, claim, audit=True)
    assert holds_still(prove(claim, at=at, audit=True), claim, audit=True)
    assert not holds_still(verdict, experiment(seeds=6))
    assert not holds_still(dataclasses.replace(verdict, code="other"), claim)
    assert not holds_still(dataclasses.replace(verdict, rules=1), claim)
    assert not holds_still(None, claim)


def test_all_claims_go_on_where_they_were_stopped(at, tmp_path, monkeypatch):
    ran = []
    claim = experiment()

    def run(claim, *args, **kwargs):
        ran.append(claim.name)
        return prove(claim, at=at, audit=True)

    monkeypatch.setattr(command, "prove", run)
    monkeypatch.setattr(command, "get", lambda name: claim)
    options = {"docs": tmp_path, "kept": tmp_path / "results", "console": Console(file=StringIO())}
    command.prove_all(["er"], **options)
    command.prove_all(["er"], **options)
    assert ran == ["er"]
    command.prove_all(["er"], fresh=True, **options)
    assert ran == ["er", "er"]


def test_the_plain_learner_and_chance_stand_in_a_claim_on_a_stream(tiny, tmp_path):
    store = TrialStore(tmp_path)
    verdict = prove(tiny("er", "er#small", settings={"er": {"size": 50}, "er#small": {"size": 20}}), at=store)
    assert set(verdict.floors) == {"the best answer without looking", "naive"}
    assert len(verdict.floors["naive"]) == 5
    assert max(verdict.floors["naive"]) < min(verdict.values["er#small"])
    at_floor = prove(tiny("er", "ewc", settings={"er": {"size": 50}, "ewc": {"strength": 1e-6}}, search={}), at=store)
    assert at_floor.verdict == "not shown" and "the baseline is at the floor: ewc" in at_floor.why
    assert at_floor.bound > 0


def test_a_baseline_is_run_once_for_all_claims(tiny, tmp_path, monkeypatch):
    made = []
    execute = trials.execute

    def counted(job, folder):
        made.extend([job["folder"]] * (not (tmp_path / "jobs" / job["folder"] / "result.json").exists()))
        return execute(job, folder)

    monkeypatch.setattr(trials, "execute", counted)
    sizes = {"settings": {"er": {"size": 50}, "er#small": {"size": 20}}, "search": {}}
    prove(tiny("er", "er#small", **sizes), at=TrialStore(tmp_path))
    first = len(made)
    prove(
        tiny("er-ace", "er#small", **{**sizes, "settings": {"er-ace": {"size": 50}, "er#small": {"size": 20}}}),
        at=TrialStore(tmp_path),
    )
    assert [name.split("-")[0:2] for name in made[first:]] == [["er", "ace"]] * 5


def test_the_best_answer_without_looking_is_found_in_the_labels():
    stream = split("digits", experiences=5)
    assert trivial(stream, "accuracy") == pytest.approx(0.12, abs=0.02)
    told = dataclasses.replace(stream, disclosure=dataclasses.replace(stream.disclosure, test_task_ids=True))
    assert 0.5 <= trivial(told, "accuracy") < 0.6
    assert trivial(stream, "online_accuracy") > 0.4  # classes come two at a time, so that the last label repeats
    assert trivial(permute("digits", experiences=2), "online_accuracy") < 0.2


def test_an_audit_that_would_ask_the_same_again_is_not_run(tiny, at, tmp_path):
    one = {
        "stream": {"source": "digits", "scenarios": [["split", {"experiences": 5}]]},
        "training": {"model": "linear"},
        "search": {},
    }
    same = prove(tiny(**one), at=TrialStore(tmp_path), audit=True)
    assert same.verdict == "shown" and same.grade == "shown at more bytes (not audited)"
    assert same.audit.verdict == "not run" and "5 of 5 fresh seeds ask what the verdict was taken on" in same.audited
    other = prove(tiny(), at=TrialStore(tmp_path), audit=True)
    assert other.audit.verdict == "shown" and other.grade == "shown at more bytes"


def test_settings_of_questions_made_up_by_the_seed_are_searched_on_other_questions():
    cases = {"source": "cases", "scenarios": [["working", {"experiences": 2, "tasks": 5}]]}
    assert made_up(cases) and not made_up({"source": "digits", "scenarios": []})
    one, other = tuning_streams(cases, [1000, 1001])
    assert [test.x.tolist() for test in one.tests] != [test.x.tolist() for test in other.tests]


def test_a_verdict_and_its_audit_are_kept_where_results_lie_or_in_the_runs(at, tmp_path, monkeypatch, capsys):
    verdict = prove(experiment(), at=at, audit=True)
    monkeypatch.setattr(command, "prove", lambda *args, **kwargs: verdict)
    monkeypatch.setattr(command, "get", lambda name: experiment())
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    command.prove_command("er", audit=True, keep=True)
    assert results.read_one("er", tmp_path) == verdict
    assert "er: shown" in capsys.readouterr().out
    monkeypatch.setattr(command.os, "access", lambda *args: False)
    monkeypatch.chdir(tmp_path)
    command.prove_command("er", audit=True, keep=True)
    assert results.read_one("er", tmp_path / "runs" / "claims" / "results") == verdict


def test_what_the_paper_reports_stands_beside_what_is_compared(at):
    assert "metric" not in prove(experiment(), at=at).protocol
    other = prove(experiment(paper_metric="perplexity of books"), at=at)
    assert other.protocol["metric"] == "score; the paper reports perplexity of books"


def test_pages_are_written_without_running_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "prove", lambda *args, **kwargs: pytest.fail("a claim was run"))
    monkeypatch.setattr("sys.argv", ["remanence.claims", "--pages", "--docs", str(tmp_path)])
    assert main() == 0
    assert (tmp_path / "claims.md").exists() and (tmp_path / "claims" / "weights-replay.md").exists()
