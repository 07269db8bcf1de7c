"""The statistics against scipy and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from remanence.claims.engine.paired import paired
from remanence.errors import UsageError

VALUES = st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=12)


@given(VALUES, st.sampled_from(["higher", "lower"]))
def test_the_bound_holds_exactly_where_the_paired_t_test_rejects(pairs, better):
    system, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    found = paired(system, baseline, better)
    if max(found.differences) - min(found.differences) < 1e-6:
        return  # the test is not defined without spread
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
