"""One name: a system, its file, its class, its test and its claim are found by each other."""

import re
from pathlib import Path

import pytest

from remanence.claims import experiments
from remanence.claims.engine.registry import claims
from remanence.registry import all_systems

TESTS = {path.stem.removeprefix("test_") for path in Path(__file__).parent.rglob("test_*.py")}
EXPERIMENTS = {path.stem for path in Path(experiments.__file__).parent.rglob("*.py")}


def plain(name):
    """Case and separators do not count; two pluses are read as pp."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))


def names(name):
    """How files and classes of a system may be called: its variant, in brackets, may be left out."""
    return {plain(name), plain(re.sub(r"\[.*?\]", "", name))}


@pytest.mark.parametrize("name", all_systems())
def test_file_class_test_and_claim_are_called_as_the_system(name):
    card = all_systems()[name]
    assert plain(card.factory.__name__) in names(name)
    assert plain(card.factory.__module__.rpartition(".")[2]) in names(name)
    assert names(name) & set(map(plain, TESTS)), f"tests/{card.room}/test_….py is missing"
    if card.paper is not None:
        assert name in claims()
        assert names(name) & set(map(plain, EXPERIMENTS))


def test_what_is_called_otherwise_is_noticed():
    assert names("a-mem[rules]") == {"amemrules", "amem"} and names("der++") == {"derpp"}
    assert plain("AsymmetricRehearsal") not in names("er-ace") and plain("ERACE") in names("er-ace")
