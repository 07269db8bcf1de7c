"""Every system with a paper has one claim, and every claim can be run as it is written."""

import dataclasses

import pytest

from remanence import systems
from remanence.claims.registry import check, claims, get
from remanence.errors import UsageError


def test_every_system_with_a_paper_has_a_claim():
    with_paper = {name for name, card in systems.all_systems().items() if card.paper is not None}
    assert with_paper <= set(claims())


def test_every_claim_is_about_a_system():
    assert set(claims()) <= set(systems.all_systems())


@pytest.mark.parametrize("name", claims())
def test_a_claim_can_be_run_as_it_is_written(name):
    check(get(name))


@pytest.mark.parametrize("name", claims())
def test_a_claim_is_against_the_baseline_on_the_card(name):
    claim, card = get(name), systems.get(name)
    if card.baseline:
        assert card.baseline in (claim.baseline, claim.baseline.partition("#")[0])


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
