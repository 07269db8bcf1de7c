"""Every system with a paper has one claim, and every claim can be run as it is written."""

import dataclasses
import importlib
import subprocess
import sys

import pytest

from remanence import registry
from remanence.claims.engine import results
from remanence.claims.engine.registry import check, claim_about, claims, get
from remanence.claims.engine.results import stem
from remanence.errors import UsageError


def test_every_system_with_a_paper_has_a_claim():
    with_paper = {name for name, card in registry.all_systems().items() if card.paper is not None}
    assert with_paper <= set(claims())


def test_every_claim_is_about_a_system():
    assert set(claims()) <= set(registry.all_systems())


@pytest.mark.parametrize("name", claims())
def test_a_claim_can_be_run_as_it_is_written(name):
    check(get(name))


@pytest.mark.parametrize("name", claims())
def test_a_claim_is_against_the_baseline_on_the_card(name):
    claim, card = get(name), registry.get(name)
    if card.baseline:
        assert card.baseline in (claim.baseline, claim.baseline.partition("#")[0])


@pytest.mark.parametrize("name", claims())
def test_a_claim_lies_in_the_room_of_its_system_under_its_name(name):
    module = f"remanence.claims.experiments.{registry.get(name).room.replace('/', '.')}.{stem(name)}"
    assert importlib.import_module(module).CLAIM is claims()[name]


def test_the_verdicts_kept_are_about_claims_that_there_are():
    assert set(results.read()) <= set(claims())


def test_asking_for_one_claim_imports_no_other():
    code = "import sys; from remanence.claims.engine.registry import get; get('er'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    read = {name for name in done.stdout.split() if name.startswith("remanence.claims.experiments.weights.replay.")}
    assert read == {"remanence.claims.experiments.weights.replay.er"}


def test_a_system_without_a_claim_has_none():
    assert claim_about("naive") is None
    assert claim_about("nobody") is None


def test_an_unknown_claim_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'g-acil'"):
        get("gacil")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"seeds": 3}, "5 or more"),
        ({"budget": "many"}, "not a number of bytes"),
        ({"baseline": "naiv"}, "no system 'naiv'"),
        ({"baseline": "er"}, "compares it with itself"),
        ({"settings": {"er": {"sise": 5}}}, "no hyperparameter 'sise'"),
        ({"settings": {"er": {"size": 0}}}, "size must be"),
        ({"settings": {"ewc": {}}}, "sets something for 'ewc'"),
        ({"search": {"er": {"lr": [0.1, 0.2]}}}, "2 points for er and 1 points for naive"),
        ({"stream": {"source": "digit", "scenarios": []}}, "no stream 'digit'"),
        ({"stream": {"source": "digits", "scenarios": [["splitt", {}]]}}, "no scenario 'splitt'"),
        ({"stream": {"source": "digits", "scenarios": [["split", {"experience": 5}]]}}, "the option 'experience'"),
        ({"training": {"model": "mpl"}}, "no model 'mpl'"),
        ({"training": {"epoch": 2}}, "no hyperparameter 'epoch'"),
    ],
)
def test_what_could_not_be_run_is_said(tiny, changes, message):
    with pytest.raises(UsageError, match=message):
        check(dataclasses.replace(tiny(search={}), **changes))


def test_a_composed_claim_is_about_what_was_added(tiny):
    assert tiny("er+fpf#frequent", "er").name == "fpf"
    assert tiny("der++", "er").name == "der++"
    assert tiny("der+++fpf", "er").name == "fpf"
