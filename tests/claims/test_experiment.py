"""Experiments: claims that are measurements of their own, judged, kept and told like the others."""

import dataclasses
import json
from io import StringIO

import pytest
from rich.console import Console

from remanence.arena.trials import TrialStore
from remanence.claims.engine.command import runs_of
from remanence.claims.engine.docs import page
from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.engine.prove import prove
from remanence.claims.engine.registry import check
from remanence.claims.engine.tables import verdict_table
from remanence.claims.engine.verdict import Verdict
from remanence.errors import UsageError

CALLS = []


def measure(side: str, seed: int, held_out: bool, *, size: float = 1.0, noise: float = 0.0) -> Measured:
    """Larger is better, and `plain` is always worse; held-out data likes a size of 2."""
    CALLS.append((side, seed, held_out, size))
    value = -abs(size - 2.0) if held_out else size + (seed % 3) * 0.01 + noise
    if side == "er#plain":
        value -= 0.5
    return Measured({"score": value, "other": float(seed)}, {"vectors": 100}, {"updates": 7})


def experiment(**changes):
    given = {
        "system": "er#fancy",
        "baseline": "er#plain",
        "says": "Fancy | is better.",
        "measure": measure,
        "data": "numbers",
        "metric": "score",
        "search": {label: {"size": [1.0, 2.0, 4.0]} for label in ("er#fancy", "er#plain")},
        "settings": {"none": {"size": 0.0}},
        "beside": ("none",),
    } | changes
    return Experiment(**given)


@pytest.fixture
def at(tmp_path):
    CALLS.clear()
    return TrialStore(tmp_path)


def test_an_experiment_is_searched_on_held_out_data_and_judged_on_the_rest(at):
    verdict = prove(experiment(), at=at)
    assert verdict.verdict == "shown"
    assert verdict.differences == pytest.approx([0.5] * 5)
    assert verdict.search["er#fancy"]["best"] == {"size": 2.0}
    assert {size for side, _, held_out, size in CALLS if not held_out and side != "none"} == {2.0}
    assert {seed for _, seed, held_out, _ in CALLS if held_out} == {1000, 1001}
    assert {seed for _, seed, held_out, _ in CALLS if not held_out} == {0, 1, 2, 3, 4}
    assert verdict.figures["none"]["score"] == pytest.approx([0, 0.01, 0.02, 0, 0.01])
    assert "3 points each, by the mean score over seeds 1000 and 1001, on held-out data" in verdict.protocol["search"]
    assert verdict.updates["er#fancy"] == {"updates": 7} and verdict.bytes["none"]["total"] == 100


def test_a_false_or_undefined_experiment_is_not_shown(at):
    assert prove(experiment(better="lower"), at=at).verdict == "not shown"
    lost = prove(experiment(settings={"er#fancy": {"noise": float("nan")}}), at=at)
    assert lost.verdict == "not shown" and "5 of 5 runs of er#fancy gave no score" in lost.why


def test_what_was_measured_is_not_measured_again_unless_asked(at):
    first = prove(experiment(), at=at)
    made = len(CALLS)
    assert made == runs_of(experiment(), None) == 2 * 3 * 2 + 3 * 5
    assert prove(experiment(), at=at).values == first.values and len(CALLS) == made
    prove(experiment(), at=dataclasses.replace(at, fresh=True))
    assert len(CALLS) == 2 * made


def test_its_verdict_goes_to_json_and_back_and_prints_and_is_in_the_docs(at):
    verdict = prove(experiment(), at=at)
    assert Verdict.from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict
    assert verdict.claim["measure"].endswith("test_experiment.measure")
    console = Console(width=150, file=StringIO())
    console.print(verdict_table(verdict))
    for word in ("er: shown", "measured", "none", "+0.500"):
        assert word in console.file.getvalue()
    text = page("weights/replay", {"er": verdict})
    for word in ("Fancy \\| is better.", "numbers", "measured, `none`: score 0.008 ± 0.008", "score 2.008"):
        assert word in text
    assert "final accuracy" not in text.partition("## er: shown")[2]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 4}, "5 or more"),
        ({"baseline": "er#fancy", "search": {}}, "compares it with itself"),
        ({"search": {"er#fancy": {"size": [1.0, 2.0]}}}, "2 points for er#fancy and 1 points for er#plain"),
        ({"settings": {"nobody": {}}}, "sets something for 'nobody'"),
        ({"settings": {"none": {"sise": 1.0}}}, "did you mean 'size'"),
        ({"search": {"none": {"size": [1.0, 2.0]}}}, "more points for 'none'"),
        ({"floors": ("er#plain",)}, "name it among beside"),
        ({"limits": {"size": (2.0, 1.0)}}, "smaller number first"),
        ({"controls": ("none",)}, "names 'none' twice"),
        ({"system": "fancy", "search": {}}, "no system 'fancy'"),
    ],
)
def test_what_could_not_be_run_is_said(changes, message):
    check(experiment())
    with pytest.raises(UsageError, match=message):
        check(experiment(**changes))


def test_a_figure_that_was_not_measured_is_said(at):
    verdict = prove(experiment(metric="recall"), at=at)
    assert verdict.verdict == "not run" and "measured no 'recall'" in verdict.why
