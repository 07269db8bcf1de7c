"""Recipes in words: what the command line says, and what it cannot say."""

import pytest

from remanence import streams
from remanence.errors import UsageError
from remanence.streams import parse, with_seed


def test_the_default_scenario_is_the_split_that_suits_the_source() -> None:
    assert parse("digits").name == "digits/split"
    assert len(parse("digits")) == 5
    assert len(parse("digits", experiences=2)) == 2
    assert parse("digits", ["noise:rate=0.1"]).name == "digits/split/noise"
    assert parse("digits", ["limit:examples=9", "rotate:degrees=90"], experiences=3).name == "digits/limit/rotate"


def test_options_are_read_as_their_types() -> None:
    stream = parse("digits", ["split:experiences=2,order=shuffled,task_ids=yes", "blur"], seed=3)
    assert stream.recipe is not None
    assert stream.recipe["scenarios"][0] == [
        "split",
        {"experiences": 2, "order": "shuffled", "task_ids": True, "seed": 3},
    ]
    recur = parse("digits", ["recur:experiences=2,frequencies=1/1/1/1/1/1/1/1/1/2"])
    assert recur.recipe is not None
    assert recur.recipe["scenarios"][0][1]["frequencies"][-1] == 2.0


def test_the_seed_reaches_scenarios_that_name_none_themselves() -> None:
    recipe = parse("digits", ["split:seed=1", "limit:examples=5"], seed=9).recipe
    assert recipe is not None
    assert [options["seed"] for _, options in recipe["scenarios"]] == [1, 9]
    assert [options["seed"] for _, options in with_seed(recipe, 4)["scenarios"]] == [4, 4]
    assert [options["seed"] for _, options in recipe["scenarios"]] == [1, 9]


@pytest.mark.parametrize(
    ("scenarios", "message"),
    [
        (["splt"], "there is no scenario 'splt': did you mean 'split'"),
        (["split:experience=3"], "has no option 'experience': did you mean 'experiences'?"),
        (["online:seed=1"], "has no option 'seed': it has none"),
        (["split:experiences=many"], "experiences must be a valid integer"),
        (["split:experiences=11"], "ask for 1 to 10"),
        (["split:order=random"], "order must be 'ascending' or 'shuffled', got 'random'"),
        (["split:order"], "write option=value"),
        (["split:seed=1,seed=2"], "given twice"),
        (["blur:blurry=1.5"], "blurry must be less than or equal to 1"),
        (["recur:frequencies=1/2"], "2 frequencies were given"),
        (["split", "recur"], "put recur first"),
        (["permute:experiences=2", "blur"], "put split first"),
    ],
)
def test_mistakes_are_one_sentence(scenarios: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse("digits", scenarios)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_sources_and_doubled_numbers() -> None:
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        parse("digitz")
    with pytest.raises(UsageError, match="hub:owner/name"):
        parse("hub:mnist")
    with pytest.raises(UsageError, match="give one of them"):
        parse("digits", ["split:experiences=2"], experiences=3)


def test_options_of_the_wrong_type_are_refused_from_python_too() -> None:
    with pytest.raises(UsageError, match="scenario limit: examples must be"):
        streams.limit("digits", examples=0)
    with pytest.raises(UsageError, match="no option 'size'"):
        streams.limit("digits", size=3)  # type: ignore[call-arg]


def test_options_are_checked_before_any_data_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remanence.streams.recipes.whole", lambda name: pytest.fail("the data was loaded"))
    with pytest.raises(UsageError, match="rate must be"):
        parse("mnist", ["noise:rate=2"])


def test_a_wrong_call_from_python_is_a_wrong_call() -> None:
    with pytest.raises(TypeError, match="positional"):
        streams.limit("digits", 5, 6)  # type: ignore[misc]
    with pytest.raises(TypeError, match="multiple values"):
        streams.limit("digits", 5, examples=6)  # type: ignore[misc]
