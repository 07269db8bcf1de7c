"""Who stands next to whom, what speaks for a candidate, and how reasons are added, against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.store.draft import draft
from remanence.store.retrieve.candidates import APART, WITHIN, Candidates, no_candidates, places
from remanence.store.retrieve.diversity import maximal_marginal_relevance
from remanence.store.retrieve.features import FEATURES
from remanence.store.retrieve.fusion import FIRST, WEIGHTS, contributions, total
from remanence.store.retrieve.query import query
from remanence.store.retrieve.recency import recency, strength
from remanence.store.retrieve.terms import occurrences
from remanence.store.times import instant
from remanence.store.version import version_of


def told(row, text="Something.", **given):
    return version_of(draft({"text": text, **given}), instant("2026-01-01"), row=row)


def candidates(*records, asked=(), cosine=None, place=None):
    count = len(records)
    return Candidates(
        list(records),
        np.zeros(count) if cosine is None else np.array(cosine, dtype=float),
        occurrences(asked, [one.text for one in records]),
        np.ones(len(asked)),
        np.arange(count) if place is None else np.array(place),
    )


def test_places_from_neighbours():
    rows = np.array([3, 9, 4, 20, 5])
    near = np.array([[3, 0, 5, 9], [9, 5, 0, 0]])
    found = places(rows, near, np.array([4, 20]))
    assert (found - found[0])[[0, 2, 4, 1, 3]].tolist() == [0, 1, 2, 3, 4]


def test_records_without_known_neighbours_stand_apart():
    found = places(np.array([1, 2, 3]), np.zeros((0, 4), dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert (np.diff(np.sort(found)) >= APART).all()


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 120), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_spread_and_before_against_loops(taken, shuffler):
    place = list(taken)
    shuffler.shuffle(place)
    some = candidates(*(told(row) for row in range(len(place))), place=place)
    values = np.array([[shuffler.random() for _ in place] for _ in range(2)])
    for scale in (2.0, 8.0):
        expected = [
            sum(
                row[j] * math.exp(-abs(place[i] - place[j]) / scale)
                for j in range(len(place))
                if 0 < abs(place[i] - place[j]) <= WITHIN
            )
            for row in values
            for i in range(len(place))
        ]
        assert np.allclose(some.spread(values, scale).ravel(), expected)
    at = {where: number for number, where in enumerate(place)}
    expected = [values[0][at[where - 1]] if where - 1 in at else 0.0 for where in place]
    assert some.before(values[0]).tolist() == expected


def test_reasons_are_finite_for_no_candidates_and_for_odd_ones():
    for some in (
        no_candidates(np.ones(2)),
        candidates(told(1, "?"), told(2, "[x"), asked=("camp",)),
        candidates(told(1, " . "), cosine=[-1.0]),
    ):
        asked = query("When did Ana camp last May?", now=instant("2026-11-21"))
        for name, reason in FEATURES.items():
            values = reason(asked, some)
            assert values.shape == (len(some),), name
            assert np.isfinite(values).all(), name


def test_what_is_said_around_counts_less_with_distance():
    asked = query("Who camps?")
    some = candidates(told(1, "camp"), told(2, "well"), told(3, "well"), told(4, "well"), asked=asked.terms)
    found = FEATURES["words nearby"](asked, some)
    assert (np.diff(found) < 0).all()
    assert found[0] == pytest.approx(0.5)


def test_a_reply_gets_what_its_question_says():
    asked = query("Where did you camp?")
    some = candidates(
        told(1, "Where did you camp?", speaker="A"), told(2, "In Porto.", speaker="B"), told(3, "Ah.", speaker="A"),
        asked=asked.terms,
    )  # fmt: skip
    assert FEATURES["reply"](asked, some).tolist() == [0, 1, 0]
    assert FEATURES["question"](asked, some).tolist() == [1, 0, 0]


def test_what_was_never_said_is_no_reply():
    asked = query("Where did you camp?")
    some = candidates(told(1, "Where did you camp?"), told(2, "In Porto."), asked=asked.terms)
    assert not FEATURES["reply"](asked, some).any()
    assert not FEATURES["question"](asked, some).any()


def test_a_picture_after_a_question_leaves_it_one():
    asked = query("x")
    some = candidates(*(told(1, text, speaker="A") for text in ("Like it? [shares a photo of a dog]", 'Ok?!"', "Ok.")))
    assert FEATURES["question"](asked, some).tolist() == [1, 1, 0]


def test_time_by_when_it_was_said_and_when_it_is_true():
    asked = query("What did she do in May 2026?", now=instant("2026-11-21"))
    found = FEATURES["time"](
        asked,
        candidates(
            told(1, said_at="2026-05-03"),
            told(2, said_at="2026-06-02"),
            told(3, said_at="2026-09-01"),
            told(4, said_at="2026-04-30"),
            told(5),
            told(6, valid_from="2026-01-01"),
            told(7, valid_from="2026-01-01", valid_to="2026-02-01"),
        ),
    )
    assert found[0] == 1
    assert 1 > found[1] > found[2] > 0
    assert found[3:].tolist() == [0, 0, 1, 0]


def test_contributions_add_up_and_name_what_is_known():
    asked = query("Where did Ana camp?", speakers=["Ana"])
    some = candidates(told(1, "We camp.", speaker="Ana"), told(2, "No."), asked=asked.terms, cosine=[0.5, 0.1])
    parts = contributions(asked, some, WEIGHTS)
    assert set(parts) == set(WEIGHTS) == set(FEATURES)
    assert set(FIRST) < set(FEATURES)
    score = total(parts, 2)
    assert score.tolist() == pytest.approx(np.sum(list(parts.values()), axis=0))
    assert score[0] > score[1]


@given(st.integers(1, 12), st.integers(1, 15), st.floats(0, 1))
def test_diverse_choices_are_distinct_and_begin_with_the_best(count, wanted, diversity):
    draw = np.random.default_rng(count)
    vectors = draw.normal(size=(count, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = draw.normal(size=count)
    chosen = maximal_marginal_relevance(scores, vectors, wanted, diversity).tolist()
    assert len(set(chosen)) == len(chosen) == min(count, wanted)
    assert chosen[0] == int(scores.argmax())


def test_recency_halves_and_strength_saturates():
    now = instant("2026-01-31")
    some = candidates(told(1), told(2, said_at="2026-01-31"), told(3, said_at="2027-01-01"), told(4, strength=3))
    assert recency(some, now, 30.0).tolist() == [0.5, 1.0, 1.0, 0.5]
    assert strength(some).tolist() == [0.5, 0.5, 0.5, 0.75]
