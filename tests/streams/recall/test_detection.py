"""d′ is what it is by hand, and does not reward answering always the same."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.detection import Detection, detection
from remanence.streams.recall.mqar import mqar
from remanence.streams.recall.n_back import n_back

COUNTS = st.integers(0, 50)


def test_by_hand():
    # Log-linear: 6.5 / 9 = 0.7222 and 2.5 / 17 = 0.1471; tables of the normal give z = 0.5895 and −1.0491.
    assert Detection(6, 2, 2, 14).sensitivity() == pytest.approx(0.5895 + 1.0491, abs=2e-4)
    # Nothing missed: 8.5 / 9 = 0.9444 and 0.5 / 17 = 0.0294; z = 1.5932 and −1.8895.
    assert Detection(8, 0, 0, 16).sensitivity() == pytest.approx(1.5932 + 1.8895, abs=2e-4)
    # With the paper's margin 0.99 and 0.01: z = ±2.3263; rates that are neither 0 nor 1 stay: z(0.75) = 0.6745.
    assert Detection(8, 0, 0, 16).sensitivity(margin=0.01) == pytest.approx(2 * 2.3263, abs=2e-4)
    assert Detection(6, 2, 4, 12).sensitivity(margin=0.01) == pytest.approx(2 * 0.6745, abs=2e-4)
    counts = Detection(6, 2, 4, 12)
    assert (counts.hit_rate, counts.false_alarm_rate, counts.accuracy) == (0.75, 0.25, 0.75)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_swapping_what_is_a_match_turns_the_sign_and_it_is_always_finite(a, b, c, d):
    found = Detection(a, b, c, d).sensitivity()
    assert math.isfinite(found)
    assert Detection(c, d, a, b).sensitivity() == pytest.approx(-found)


def test_always_the_same_answer_has_no_sensitivity():
    assert Detection(0, 8, 0, 16).sensitivity(margin=0.01) == 0
    assert Detection(8, 0, 16, 0).sensitivity(margin=0.01) == 0
    assert Detection(100, 100, 50, 50).sensitivity() == pytest.approx(0, abs=1e-9)


def test_what_was_not_asked_has_no_rate():
    none = Detection(0, 0, 3, 4)
    assert all(map(math.isnan, (none.hit_rate, Detection(1, 1, 0, 0).false_alarm_rate, none.sensitivity(margin=0.01))))
    assert math.isnan(Detection(0, 0, 0, 0).accuracy)


def test_answers_are_counted():
    given_ = n_back(7, 0, n=1, items=5, matches=2, symbols=3)
    guessed = torch.randint(0, 5, given_.targets.shape, generator=torch.Generator().manual_seed(0))
    counted = {"hits": 0, "misses": 0, "false_alarms": 0, "correct_rejections": 0}
    for row in range(7):
        for at in range(1, 5):
            same, said = given_.tokens[row, at] == given_.tokens[row, at - 1], guessed[row, at] == 4
            counted[("hits" if said else "misses") if same else ("false_alarms" if said else "correct_rejections")] += 1
    assert all(counted.values())
    assert detection(given_, guessed) == Detection(**counted)


def test_what_is_no_n_back_test_is_refused():
    drawn = mqar(1, 0)
    with pytest.raises(UsageError, match="scores answers to an n-back test"):
        detection(drawn, drawn.targets)
    with pytest.raises(UsageError, match="scores answers to an n-back test"):
        detection(n_back(2, 0), n_back(1, 0).targets)
    with pytest.raises(UsageError, match=r"between 0 and 0\.5"):
        Detection(1, 1, 1, 1).sensitivity(margin=0.5)
