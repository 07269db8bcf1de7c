"""Searches on measurements whose truth is known: ends of grids, ties, and equal effort."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.arena.axes import above, below, between, geometric
from remanence.arena.tuning import EXTENSIONS, SPARE_SEEDS, TUNE_SEEDS, Tuning, compare
from remanence.errors import UsageError


def hill(peak, noise=None, asked=None):
    """Scores that fall off with the distance in decades from a peak, the same whatever is asked twice."""

    def measure(asks):
        if asked is not None:
            asked.extend(asks)
        return [-abs(math.log10(s["lr"]) - peak) + (noise or {}).get((s["lr"], seed), 0.0) for s, seed in asks]

    return measure


GRID = {"lr": [0.01, 0.03, 0.1]}


@given(st.floats(-3.4, 0.4))
def test_the_best_point_lies_inside_wherever_the_peak_is(peak):
    side, other = Tuning(GRID, hill(peak)), Tuning(GRID, hill(-1.5))
    compare([side, other])
    assert abs(math.log10(side.best["lr"]) - peak) < 0.3
    assert not side.frontier() and not side.found("score").ends
    assert len(side.tried) == len(other.tried)


def test_an_end_is_extended_on_both_sides_with_as_many_points():
    far, inside = Tuning(GRID, hill(0.0)), Tuning(GRID, hill(math.log10(0.03)))
    compare([far, inside])
    assert far.best == {"lr": 1.0}
    assert inside.best == {"lr": 0.03}
    assert len(far.tried) == len(inside.tried) == 6
    assert {"lr": 3.0} in [point.settings for point in far.tried.values()]
    within = [point.settings["lr"] for point in inside.tried.values()]
    assert min(within) == 0.01 and max(within) == 0.1


def test_what_never_ends_is_given_up_and_said():
    side = Tuning(GRID, lambda asks: [s["lr"] for s, _ in asks])
    compare([side])
    assert len(side.tried) == 3 + EXTENSIONS
    assert "lies at an end of what was tried" in side.found("score").ends["lr"]


def test_the_range_of_a_setting_ends_its_axis():
    def measure(asks):
        if any(s["lr"] > 0.3 for s, _ in asks):
            raise UsageError("lr must be at most 0.3")
        return [s["lr"] for s, _ in asks]

    refused = Tuning(GRID, measure)
    known = Tuning(GRID, lambda asks: [s["lr"] for s, _ in asks], allowed=lambda s: s["lr"] <= 0.3)
    for side in (refused, known):
        compare([side])
        assert side.best == {"lr": 0.3}
        assert side.found("score").ends == {"lr": "0.3 lies where its range ends"}


def test_a_setting_that_the_grid_itself_has_out_of_range_is_an_error():
    def measure(asks):
        raise UsageError("lr must be at most 0.3")

    with pytest.raises(UsageError, match="at most"):
        Tuning(GRID, measure)


def test_kinds_have_no_ends_and_that_is_said():
    side = Tuning({"align": [True, False]}, lambda asks: [float(s["align"]) for s, _ in asks])
    compare([side, Tuning(GRID, hill(0.0))])
    assert side.best == {"align": True} and len(side.tried) == 2
    assert side.found("score").ends == {"align": "True was chosen among kinds, which have no ends"}


def test_axes_are_extended_through_the_best_point():
    def measure(asks):
        return [-abs(math.log10(s["lr"])) - abs(math.log2(s["size"] / 64)) for s, _ in asks]

    side = Tuning({"lr": [0.01, 0.1], "size": [8, 16]}, measure)
    compare([side])
    assert side.best == {"lr": 1.0, "size": 64}
    assert not side.frontier()


def test_the_last_digit_decides_nothing():
    noise = {(0.03, seed): 1e-17 for seed in (*TUNE_SEEDS, *SPARE_SEEDS)}

    def measure(asks):
        return [0.5 + noise.get((s["lr"], seed), 0.0) * (seed - 999) + 1e-13 * (s["lr"] == 0.1) for s, seed in asks]

    side = Tuning({"lr": [0.01, 0.03, 0.1]}, measure)
    assert side.best == {"lr": 0.01}
    assert "6 seeds left 2, of which the first tried is taken" in side.tie


def test_what_two_seeds_cannot_tell_apart_more_seeds_settle():
    """On the first seeds the worse of two looks better by less than its noise; the truth is 0.1."""
    unlucky = {(0.1, 1000): -0.11}
    asked = []

    def measure(asks):
        asked.extend(asks)
        return [{0.01: 0.1, 0.03: 0.5, 0.1: 0.55}[s["lr"]] + unlucky.get((s["lr"], seed), 0.0) for s, seed in asks]

    side = Tuning(GRID, measure)
    assert side.tried[repr([("lr", 0.03)])].mean(TUNE_SEEDS, 1.0) > side.tried[repr([("lr", 0.1)])].mean(
        TUNE_SEEDS, 1.0
    )
    assert side.best == {"lr": 0.1}
    assert "settled it" in side.tie
    assert {seed for s, seed in asked if s["lr"] == 0.01} == set(TUNE_SEEDS)
    assert {seed for s, seed in asked if s["lr"] == 0.1} > set(TUNE_SEEDS)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_a_clear_best_is_chosen_whatever_the_noise_and_without_more_seeds(seed, place):
    def measure(asks):
        return [float(GRID["lr"].index(s["lr"]) == place) + ((seed * 7919 + at * 31) % 100) / 10_000 for s, at in asks]

    side = Tuning(GRID, measure)
    assert side.best == {"lr": GRID["lr"][place]}
    assert side.tie == "" and all(set(point.scores) == set(TUNE_SEEDS) for point in side.tried.values())


def test_points_that_give_the_same_are_one_and_said():
    side = Tuning({"normalize": [True, False]}, lambda asks: [0.1 * seed for _, seed in asks])
    assert side.best == {"normalize": True}
    assert side.found("score").distinct == 1 and side.tie == ""


def test_what_diverged_is_never_chosen():
    side = Tuning(
        GRID, lambda asks: [None if s["lr"] > 0.02 else -5.0 for s, _ in asks], allowed=lambda s: s["lr"] >= 0.01
    )
    compare([side])
    assert side.best == {"lr": 0.01}
    assert side.found("score").table[-1]["mean"] is None


def test_less_is_better_where_that_is_said():
    side = Tuning(GRID, lambda asks: [-x for x in hill(0.0)(asks)], higher=False)
    compare([side])
    assert side.best == {"lr": 1.0}


def test_one_point_is_taken_and_not_measured():
    side = Tuning({}, lambda asks: pytest.fail("measured"))
    compare([side, side])
    assert side.best == {} and side.found("score").table == []


NUMBERS = st.lists(st.integers(1, 60), min_size=2, max_size=5, unique=True)


@given(NUMBERS)
def test_an_axis_goes_on_beyond_its_ends_and_between_its_points(values):
    known = sorted(values)
    low, high = below(values), above(values)
    assert high is None or high > known[-1]
    assert low is None or low < known[0]
    assert low is None or not geometric(values) or low > 0
    middle = between(known[0], known[1], values)
    assert middle is None or known[0] < middle < known[1]
    assert all(value is None or isinstance(value, int) for value in (low, high, middle))


@given(st.integers(-5, 3), st.integers(2, 5))
def test_rates_of_one_and_three_go_on_with_one_and_three(start, count):
    rates = [(1.0, 3.0)[k % 2] * 10.0 ** (start + k // 2) for k in range(count)]
    following = (1.0, 3.0)[count % 2] * 10.0 ** (start + count // 2)
    assert above(rates) == pytest.approx(following)
    assert below(rates) == pytest.approx(3.0 * 10.0 ** (start - 1))
