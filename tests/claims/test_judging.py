"""The statistics against scipy and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.claims.engine.judging import Evidence, holds_more, judge, paired
from remanence.errors import UsageError

VALUES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=12)


@given(VALUES, st.sampled_from(["higher", "lower"]))
def test_the_bound_holds_exactly_where_the_paired_t_test_rejects(pairs, better):
    system, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired(system, baseline, better)
    if max(found.differences) - min(found.differences) < 1e-6:
        return  # the test is not defined without spread
    from scipy import stats  # within the test: collecting the tests would wait a second for it in every worker

    test = stats.ttest_rel(system, baseline, alternative="greater" if better == "higher" else "less")
    if abs(test.pvalue - 0.05) > 1e-6:
        assert found.holds == (test.pvalue < 0.05)
    interval = test.confidence_interval(0.95)
    assert found.bound == pytest.approx(interval.low if better == "higher" else interval.high, abs=1e-9)


def test_the_bound_by_hand():
    found = paired([0.3, 0.5, 0.4, 0.6, 0.2], [0.1, 0.1, 0.1, 0.1, 0.1], "higher")
    assert found.mean == pytest.approx(0.3)
    assert found.bound == pytest.approx(0.3 - 2.131847 * math.sqrt(0.025) / math.sqrt(5), abs=1e-6)


def test_equal_values_show_nothing_and_no_spread_shows_all():
    assert not paired([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "higher").holds
    assert not paired([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "lower").holds
    assert paired([0.6, 0.6, 0.6], [0.5, 0.5, 0.5], "higher").holds


def test_values_that_cannot_be_paired_are_refused():
    with pytest.raises(UsageError, match="3 and 2 values"):
        paired([1.0, 2.0, 3.0], [1.0, 2.0], "higher")


CLEAR = [0.90, 0.91, 0.92, 0.90, 0.91]
LOWER = [0.70, 0.72, 0.71, 0.70, 0.71]
FLOOR = [0.10, 0.10, 0.10, 0.10, 0.10]


def test_a_baseline_at_chance_shows_nothing():
    nearly = [0.09, 0.12, 0.10, 0.11, 0.10]
    found = judge(Evidence(CLEAR, nearly, "accuracy", level=nearly, floors={"chance": FLOOR}))
    assert found.verdict == "not shown" and "at the floor" in found.why and "chance" in found.why
    assert found.bound > 0.7
    assert judge(Evidence(CLEAR, LOWER, "accuracy", level=LOWER, floors={"chance": FLOOR})).verdict == "shown"


def test_a_baseline_no_better_than_the_plain_learner_shows_nothing():
    plain = [0.70, 0.71, 0.72, 0.70, 0.71]
    found = judge(Evidence(CLEAR, LOWER, "accuracy", level=LOWER, floors={"chance": FLOOR, "naive": plain}))
    assert found.verdict == "not shown" and "naive 0.708" in found.why


def test_floors_of_errors_lie_above():
    error, plain = [0.2, 0.21, 0.2], [0.5, 0.52, 0.51]
    given = Evidence(
        [0.1, 0.11, 0.1], error, "rmse", "lower", level=error, floors={"naive": plain}, level_better="lower"
    )
    assert judge(given).verdict == "shown"


def test_the_level_and_not_the_metric_clears_the_floors():
    """A baseline that forgets much and learns much is no floor; one that has learned nothing is."""
    forgets, never = [0.5, 0.5, 0.51], [0.6, 0.61, 0.62]
    given = Evidence(
        [0.1, 0.1, 0.11], forgets, "forgetting", "lower", level=[0.5, 0.5, 0.5], floors={"chance": [0.1] * 3}
    )
    assert judge(given).verdict == "shown"
    given = Evidence(
        [0.1, 0.1, 0.11], never, "forgetting", "lower", level=[0.1, 0.1, 0.1], floors={"chance": [0.1] * 3}
    )
    assert judge(given).verdict == "not shown"


@pytest.mark.parametrize("control", [CLEAR, [0.95] * 5, [0.89, 0.92, 0.91, 0.91, 0.90]])
def test_a_control_that_equals_or_beats_the_system_topples_it(control):
    found = judge(Evidence(CLEAR, LOWER, "accuracy", controls={"er#more": control}))
    assert found.verdict == "not shown" and "a control equals or beats it: er#more" in found.why


def test_a_control_that_stays_behind_or_diverged_does_not():
    assert judge(Evidence(CLEAR, LOWER, "accuracy", controls={"er#more": LOWER})).verdict == "shown"
    assert judge(Evidence(CLEAR, LOWER, "accuracy", controls={"er#more": [None] * 5})).verdict == "shown"


def test_runs_without_a_value_are_named():
    found = judge(Evidence(CLEAR, [*LOWER[:4], None], "accuracy", names=("er-ace", "er")))
    assert found.verdict == "not shown" and "1 of 5 runs of er gave no accuracy" in found.why


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_more_bytes_are_more_than_five_per_cent_more(baseline, system):
    assert holds_more({"total": system}, {"total": baseline}) == (system / baseline > 1.05)
