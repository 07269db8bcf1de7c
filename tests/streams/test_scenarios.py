"""Scenarios: nothing is lost or doubled where it should not be, and equal recipes give equal streams."""

import doctest
import inspect
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence import streams
from remanence.errors import UsageError
from remanence.streams import SCENARIOS, Stream, build
from remanence.streams.examples import Concatenated

FEW = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 1000)


def ids_of(stream: Stream) -> list[int]:
    return [int(i) for segment in stream.segments for rows in segment.examples.chunks() for i in rows.ids]


def same(one: Stream, other: Stream) -> bool:
    pairs = zip(one.segments, other.segments, strict=True)
    asked = zip(one.tests, other.tests, strict=True)
    return all(
        all(torch.equal(x, y) for x, y in zip(a.examples.span(0, 10**6), b.examples.span(0, 10**6), strict=True))
        and a.classes == b.classes
        for a, b in pairs
    ) and all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in asked)


RECIPES = {
    "split": [["split", {"order": "shuffled"}]],
    "permute": [["permute", {"experiences": 3}]],
    "rotate": [["rotate", {"experiences": 3, "order": "shuffled"}]],
    "blur": [["blur", {"blurry": 0.3}]],
    "recur": [["recur", {"experiences": 7, "examples": 30}]],
    "power_law": [["split", {}], ["power_law", {}]],
    "noise": [["split", {}], ["noise", {}]],
    "imbalance": [["imbalance", {"factor": 10}], ["split", {}]],
    "limit": [["split", {}], ["limit", {"examples": 50, "tests": 20}]],
    "disclose": [["split", {}], ["disclose", {"boundaries": False}]],
    "online": [["split", {}], ["online", {}]],
    "held_out": [["held_out", {}], ["split", {}]],
    "unlabelled": [["split", {}], ["unlabelled", {"after": 2}]],
    "changing": [["changing", {"sessions": 3, "people": 2}]],
    "working": [["working", {"experiences": 2, "tasks": 10}]],
    "fold": [["changing", {"sessions": 3, "people": 3}], ["fold", {"folds": 3}]],
    "alone": [["alone", {}]],
    "planted": [["planted", {"experiences": 3, "tokens": 400, "facts": 2, "filler": "talk"}]],
}
SOURCE = {"changing": "facts", "working": "cases", "fold": "facts", "alone": "locomo", "planted": "recall"}
"""Where a scenario starts, if not from digits."""


def recipe_of(name: str, request: pytest.FixtureRequest) -> dict:
    source = SOURCE.get(name, "digits")
    if source == "locomo":
        request.getfixturevalue("data")
    return {"source": source, "scenarios": RECIPES[name]}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recipe_builds_the_same_stream_again(name: str, request: pytest.FixtureRequest) -> None:
    recipe = recipe_of(name, request)
    one = build(streams.with_seed(recipe, 5))
    again = build(json.loads(json.dumps(one.recipe)))
    assert same(one, again)
    assert again.recipe == one.recipe
    for segment in one.segments:
        if one.task.kind == "classification":
            assert set(segment.classes) == set(segment.examples.labels().tolist())
        rows = segment.examples.span(0, 10**6)
        assert torch.equal(rows.y, segment.examples.labels())
        assert rows.x.dtype == torch.uint8


@pytest.mark.parametrize("name", [n for n in SCENARIOS if "seed" in inspect.signature(SCENARIOS[n]).parameters])
def test_another_seed_gives_another_stream(name: str, request: pytest.FixtureRequest) -> None:
    recipe = recipe_of(name, request)
    assert not same(build(streams.with_seed(recipe, 1)), build(streams.with_seed(recipe, 2)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_examples_in_the_docstring_run(name: str) -> None:
    function = SCENARIOS[name]
    found = doctest.DocTestFinder().find(function, name, globs=dict(vars(inspect.getmodule(function))))
    assert any(test.examples for test in found)
    for test in found:
        assert doctest.DocTestRunner().run(test).failed == 0


@FEW
@given(SEEDS, st.floats(0, 1), st.floats(0, 1), st.integers(1, 10))
def test_blur_keeps_each_example_once_and_disjoint_classes_at_home(
    seed: int, blurry: float, disjoint: float, experiences: int
) -> None:
    stream = streams.blur("digits", blurry, disjoint=disjoint, experiences=experiences, seed=seed)
    assert sorted(ids_of(stream)) == list(range(1438))
    owned = [test.classes for test in stream.tests]
    assert sorted(label for group in owned for label in group) == list(range(10))
    assert all(owned)
    assert sum(len(test.y) for test in stream.tests) == 359
    at_home = 0
    strays = set()
    for segment, group in zip(stream.segments, owned, strict=True):
        labels = segment.examples.labels()
        home = torch.isin(labels, torch.tensor(group))
        at_home += int(home.sum())
        strays |= set(labels[~home].tolist())
    assert len(strays) <= 10 - round(disjoint * 10)
    assert at_home >= 1438 * (1 - blurry) - 1


def test_blur_without_disjoint_classes_and_all_moving_mixes_evenly_over_the_groups_of_a_split() -> None:
    stream = streams.blur(streams.split("digits"), 1.0, disjoint=0.0, tests="whole")
    assert sorted(ids_of(stream)) == list(range(1438))
    assert [len(segment.examples) for segment in stream.segments] == [312, 274, 301, 286, 265]
    assert all(len(segment.classes) == 10 for segment in stream.segments)
    assert len(stream.tests) == 1


def test_blur_of_disjoint_classes_is_a_split() -> None:
    stream = streams.blur(streams.split("digits"), 0.5, disjoint=1.0)
    assert [segment.classes for segment in stream.segments] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def test_a_blurred_stream_tells_nothing_and_comes_in_order() -> None:
    experiences = list(streams.blur("digits").experiences())
    assert len(experiences) == 1
    assert experiences[0].examples.ordered
    assert experiences[0].classes is None
    assert experiences[0].task is None
    assert not experiences[0].boundary


def test_permute_moves_values_in_the_same_way_in_training_and_test() -> None:
    plain, stream = streams.whole("digits"), streams.permute("digits", 3, seed=4)
    for k, (segment, test) in enumerate(zip(stream.segments, stream.tests, strict=True)):
        before, after = plain.segments[0].examples.span(0, 400).x, segment.examples.span(0, 400).x
        assert torch.equal(before, after) == (k == 0)
        assert torch.equal(before.flatten(1).sort(1).values, after.flatten(1).sort(1).values)
        where = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
        moved = where if k == 0 else segment.examples.function(where)
        assert torch.equal(plain.tests[0].x.flatten(1)[:, moved.flatten().long()], test.x.flatten(1))
    assert sorted(ids_of(stream)) == sorted(list(range(1438)) * 3)


def test_rotate_by_right_angles_is_exact_and_anticlockwise() -> None:
    plain = streams.whole("digits").tests[0].x
    stream = streams.rotate("digits", 4, degrees=360)
    assert [segment.name for segment in stream.segments] == ["0°", "90°", "180°", "270°"]
    for k, test in enumerate(stream.tests):
        assert torch.equal(test.x, torch.rot90(plain, k, (2, 3)))


def test_rotate_keeps_the_proportions_of_images_that_are_not_square() -> None:
    from remanence.streams.transforms import Rotation

    image = torch.zeros(1, 1, 9, 15, dtype=torch.uint8)
    image[0, 0, 4, 3:12] = 200
    turned = Rotation(90)(image)
    assert int((turned[0, 0, :, 7] > 150).sum()) == 9


def test_rotate_refuses_what_is_no_image() -> None:
    stream = Stream("vectors", streams.whole("digits").segments, streams.whole("digits").tests, shape=(64,))
    with pytest.raises(UsageError, match="needs images"):
        streams.rotate(stream)


def test_transformed_splits_have_one_transformation_for_each_experience() -> None:
    stream = streams.permute(streams.split("digits"))
    assert [segment.classes for segment in stream.segments] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    with pytest.raises(UsageError, match="leave the number out"):
        streams.permute(streams.split("digits"), 3)


def test_recur_draws_classes_by_their_frequencies() -> None:
    given_ = (0.0, 6.0, 3.0, 1.0, 0, 0, 0, 0, 0, 0)
    stream = streams.recur("digits", 600, classes=1, frequencies=given_, examples=1)
    counts = torch.bincount(torch.tensor([segment.classes[0] for segment in stream.segments]), minlength=10)
    expected = torch.tensor(given_) / 10 * 600
    assert (counts - expected).abs().max() < 4 * (600 * 0.25) ** 0.5
    assert counts[expected == 0].sum() == 0


@FEW
@given(SEEDS, st.integers(1, 10), st.integers(1, 12))
def test_recur_holds_all_examples_of_distinct_classes(seed: int, classes: int, experiences: int) -> None:
    stream = streams.recur("digits", experiences, classes=classes, seed=seed)
    counts = streams.whole("digits").segments[0].examples.labels().bincount()
    for segment in stream.segments:
        assert len(segment.classes) == classes
        assert len(segment.examples) == int(counts[list(segment.classes)].sum())


def test_recur_can_let_classes_go_and_be_skewed() -> None:
    stream = streams.recur("digits", 20, classes=2, gone=True)
    assert all(max(segment.classes) < 5 for segment in stream.segments[10:])
    skewed = streams.recur("digits", 400, classes=1, examples=1, skew=4.0)
    counts = torch.bincount(torch.tensor([s.classes[0] for s in skewed.segments]), minlength=10)
    assert counts.max() > 4 * counts.min().clamp(min=1)
    assert len(streams.recur("digits", 2, tests="classes").tests) == 10
    with pytest.raises(UsageError, match="ask for fewer"):
        streams.recur("digits", 4, classes=6, gone=True)


@FEW
@given(SEEDS, st.floats(0.05, 1), st.floats(0, 3))
def test_power_law_adds_a_share_of_old_examples_and_keeps_the_new(seed: int, share: float, exponent: float) -> None:
    base = streams.split("digits")
    stream = streams.power_law(base, exponent, share=share, seed=seed)
    for k, (old, new) in enumerate(zip(base.segments, stream.segments, strict=True)):
        more = len(new.examples) - len(old.examples)
        assert more == (round(share * len(old.examples)) if k else 0)
        ids = new.examples.span(0, 10**6).ids.tolist()
        assert ids[: len(old.examples)] == old.examples.span(0, 10**6).ids.tolist()
        seen = {label for segment in base.segments[:k] for label in segment.classes}
        assert set(new.classes) - set(old.classes) <= seen


def test_power_law_falls_with_the_time_since() -> None:
    base = streams.permute("digits", 9)
    stream = streams.power_law(base, 1.0, share=1.0)
    joined = stream.segments[8].examples
    assert isinstance(joined, Concatenated)
    counts = torch.tensor([float(len(part)) for part in joined.parts[1:]])
    expected = 1 / torch.arange(8, 0, -1)
    expected = expected / expected.sum() * 1438
    assert (counts - expected).abs().max() < 4 * expected.max().sqrt()
    even = streams.power_law(base, 0.0, share=1.0).segments[8].examples
    assert isinstance(even, Concatenated)
    assert min(map(len, even.parts[1:])) > 120
    with pytest.raises(UsageError, match="several experiences"):
        streams.power_law("digits")


@FEW
@given(SEEDS, st.floats(0, 1))
def test_noise_makes_exactly_its_share_wrong_within_the_experience(seed: int, rate: float) -> None:
    clean = streams.split("digits")
    noisy = streams.noise(clean, rate, seed=seed)
    for before, after in zip(clean.segments, noisy.segments, strict=True):
        wrong = before.examples.labels() != after.examples.labels()
        assert int(wrong.sum()) == round(rate * len(before.examples))
        assert set(after.examples.labels().tolist()) <= set(before.classes)
        assert torch.equal(before.examples.span(0, 9999).x, after.examples.span(0, 9999).x)
    assert same(Stream("", [], noisy.tests), Stream("", [], clean.tests))
    with pytest.raises(UsageError, match="one class only"):
        streams.noise(streams.split("digits", 10))


@FEW
@given(SEEDS, st.floats(1, 100))
def test_imbalance_falls_from_the_commonest_to_the_rarest_class(seed: int, factor: float) -> None:
    stream = streams.imbalance("digits", factor, seed=seed)
    ids = ids_of(stream)
    assert len(set(ids)) == len(ids)
    counts = sorted(stream.segments[0].examples.labels().bincount().tolist(), reverse=True)
    assert counts == [max(round(127 * factor ** (-k / 9) + 1e-9), 1) for k in range(10)]


@FEW
@given(SEEDS, st.integers(1, 400))
def test_limit_takes_at_most_so_many_and_keeps_their_order(seed: int, examples: int) -> None:
    base = streams.split("digits")
    stream = streams.limit(base, examples, tests=7, seed=seed)
    for before, after in zip(base.segments, stream.segments, strict=True):
        whole, some = before.examples.span(0, 9999).ids.tolist(), after.examples.span(0, 9999).ids.tolist()
        assert len(some) == min(examples, len(whole))
        assert some == [i for i in whole if i in set(some)]
    assert all(len(test.y) == 7 for test in stream.tests)


def test_disclose_hides_boundaries_and_mixes_what_nobody_else_can() -> None:
    base = streams.split("digits", 2)
    hidden = streams.disclose(base, boundaries=False, seed=1)
    (experience,) = hidden.experiences()
    assert sorted(ids_of(hidden)) == list(range(1438))
    assert ids_of(hidden) != ids_of(base)
    assert experience.examples.ordered
    assert hidden.segment_ends == base.segment_ends
    told = next(streams.disclose(base, task_ids=True, classes=False).experiences())
    assert told.task == 0
    assert told.classes is None
    with pytest.raises(UsageError, match="without boundaries"):
        streams.disclose(base, boundaries=False, task_ids=True)
    assert not next(streams.online(base).experiences()).again


@FEW
@given(SEEDS, st.floats(0.01, 0.9))
def test_held_out_examples_are_never_learned(seed: int, share: float) -> None:
    shown = [x.tobytes() for x in streams.whole("digits").segments[0].examples.x.numpy()]
    doubles = 1438 - len(set(shown))
    for names in (["split"], ["permute:experiences=2"], ["split", "power_law"], ["recur:experiences=9"]):
        stream = streams.hold_out(streams.parse("digits", names), share, seed)
        every = {shown[row] for row in ids_of(stream)}
        asked = {x.tobytes() for x in stream.tests[0].x.numpy()}
        assert len(asked & every) <= doubles
        assert len(stream.tests) == len(streams.parse("digits", names).tests)


def test_hold_out_of_a_stream_without_a_recipe_or_tests() -> None:
    x, y = torch.rand(100, 3), torch.arange(100) % 2
    stream = streams.hold_out(streams.tensors(x, y, experiences=4), 0.2)
    assert [len(segment.examples) for segment in stream.segments] == [20] * 4
    assert [len(test.y) for test in stream.tests] == [5] * 4 or sum(len(test.y) for test in stream.tests) == 20


def test_labels_are_kept_from_the_learner_after_the_first_experiences() -> None:
    stream = streams.unlabelled(streams.split("digits", experiences=5), after=2)
    experiences = list(stream.experiences())
    assert [experience.labelled for experience in experiences] == [True, True, False, False, False]
    assert [experience.classes for experience in experiences] == [(0, 1), (2, 3), None, None, None]
    hidden, whole = experiences[3].examples, stream.segments[3].examples
    for rows in (hidden.span(0, 9), hidden.cut(torch.arange(9)), hidden.learn(torch.arange(9))):
        assert torch.equal(rows.x, whole.span(0, 9).x) and torch.equal(rows.ids, whole.span(0, 9).ids)
        assert (rows.y == -1).all()
    assert (hidden.labels() == -1).all()
    assert not streams.limit(stream, examples=20).segments[4].labelled
    held = streams.hold_out(stream, 0.2)
    assert not held.segments[2].labelled and set(held.tests[2].y.tolist()) == {4, 5}


def test_labels_cannot_be_hidden_where_nothing_is_left_to_learn_or_nothing_to_hide() -> None:
    split = streams.split("digits", experiences=5)
    with pytest.raises(UsageError, match="labels were to end after 5 experiences"):
        streams.unlabelled(split, after=5)
    with pytest.raises(UsageError, match="boundaries"):
        streams.unlabelled(streams.disclose(split, boundaries=False))
    with pytest.raises(UsageError, match="tell boundaries"):
        list(streams.disclose(streams.unlabelled(split), boundaries=False).experiences())
