"""Metrics against hand-computed examples, brute force and invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanence.arena import metrics
from remanence.arena.result import Probe

MATRIX = [
    [0.9, 0.2, 0.1],
    [0.5, 0.8, 0.3],
    [0.7, 0.6, 1.0],
]
BEFORE = [0.1, 0.1, 0.2]
PROBES = [
    Probe(0, -1, [0.1, 0.1, 0.2]),
    Probe(5, 0, [0.4, 0.2, 0.2]),
    Probe(10, 0, [0.9, 0.2, 0.1]),
    Probe(15, 1, [0.2, 0.6, 0.2]),
    Probe(20, 1, [0.5, 0.8, 0.3]),
    Probe(25, 2, [0.6, 0.1, 0.9]),
    Probe(30, 2, [0.7, 0.6, 1.0]),
]


def test_hand_computed() -> None:
    found = metrics.summarise(MATRIX, BEFORE, PROBES, [100, 300, 200])
    expected = {
        "accuracy": (0.7 + 0.6 + 1.0) / 3,
        "average_incremental_accuracy": (0.9 + (0.5 + 0.8) / 2 + (0.7 + 0.6 + 1.0) / 3) / 3,
        "learning_accuracy": (0.9 + 0.8 + 1.0) / 3,
        "forgetting": ((0.9 - 0.7) + (0.8 - 0.6)) / 2,
        "backward_transfer": ((0.7 - 0.9) + (0.6 - 0.8)) / 2,
        "forward_transfer": ((0.2 - 0.1) + (0.3 - 0.2)) / 2,
        "worst_dip": 0.7,  # test set 0 at update 15 (0.9 to 0.2); test set 1 at update 25 falls as far
        # experience 1: 0.9 to 0.2, back to 0.5; experience 2: 0.8 to 0.1, back to 0.6; test set 0 never below 0.5 in 2
        "recovery": (0.3 + 0.5) / (0.7 + 0.7),
        "min_acc": (0.2 + 0.1) / 2,
        "wc_acc": 1.0 / 3 + 2 / 3 * 0.15,
        "lca": ((0.4 + 0.9) / 2 + (0.6 + 0.8) / 2 + (0.9 + 1.0) / 2) / 3,
        "wf_10": (0.7 + 0.7 + 0.0) / 3,
        "wp_10": ((0.7 - 0.2) + (0.6 - 0.1) + 0.1) / 3,
        "bytes_peak": 300.0,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert metrics.intransigence(MATRIX, [[1.0, 0, 0], [1, 0.7, 0], [0, 0, 1.0]]) == pytest.approx(0.0)


def test_errors_read_with_the_same_signs() -> None:
    negated = [[-score for score in row] for row in MATRIX]
    probes = [Probe(p.update, p.experience, [-s for s in p.scores if s is not None]) for p in PROBES]
    up = metrics.summarise(MATRIX, BEFORE, PROBES)
    down = metrics.summarise(negated, [-s for s in BEFORE], probes, higher_is_better=False)
    levels = {"accuracy", "average_incremental_accuracy", "learning_accuracy", "min_acc", "wc_acc", "lca"}
    for name, value in up.items():
        if value is not None:
            assert down[name] == pytest.approx(-value if name in levels else value), name
    assert metrics.forgetting([[1.0, 3.0], [2.5, 1.0]], higher_is_better=False) == pytest.approx(1.5)


@pytest.mark.parametrize("matrix", [[], [[0.5], [0.6], [0.7]], [[None, None], [None, None]]])
def test_what_cannot_be_said_is_none(matrix: list[list[float | None]]) -> None:
    found = metrics.summarise(matrix)
    assert found["forgetting"] is None
    assert found["worst_dip"] is None
    assert found["backward_transfer"] is None
    assert found["bytes_peak"] is None


def test_one_experience() -> None:
    found = metrics.summarise([[0.8]], [0.1], [Probe(3, 0, [0.8])])
    assert found["accuracy"] == found["wc_acc"] == 0.8
    assert found["forgetting"] is None
    assert found["min_acc"] is None


def test_a_run_that_stopped_early_counts_what_it_has() -> None:
    assert metrics.forgetting(MATRIX[:2]) == pytest.approx(0.4)
    assert metrics.wc_acc(MATRIX[:2], PROBES[:5]) == pytest.approx(0.8 / 2 + 0.2 / 2)


def test_missing_scores_are_left_out() -> None:
    matrix = [[0.9, None, None], [0.5, 0.8, None], [None, 0.6, 1.0]]
    assert metrics.average_accuracy(matrix) == pytest.approx(0.8)
    assert metrics.forgetting(matrix) == pytest.approx(0.2)
    assert metrics.forward_transfer(matrix, [None, None, None]) is None


def test_windowed_rise_from_below_an_earlier_score() -> None:
    probes = [Probe(i, 0, [score]) for i, score in enumerate([0.5, 0.3, 0.9])]
    assert metrics.windowed_plasticity(probes, 3) == pytest.approx(0.6)


def test_area() -> None:
    megabyte = 1024**2
    points = [(3 * megabyte, 0.9), (1 * megabyte, 0.4), (1 * megabyte, 0.6), (2 * megabyte, 0.7)]
    area, mean = metrics.area_over_bytes(points) or (0, 0)
    assert area == pytest.approx((0.5 + 0.7) / 2 + (0.7 + 0.9) / 2)
    assert mean == pytest.approx(area / 2)
    assert metrics.area_over_bytes([(5.0, 0.3), (5.0, 0.4)]) is None


score = st.floats(0, 1)


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[list[float]], list[Probe]]:
    size = draw(st.integers(1, 5))
    matrix = [draw(st.lists(score, min_size=size, max_size=size)) for _ in range(size)]
    probes, update = [], 0
    for k in range(size):
        for _ in range(draw(st.integers(0, 4))):
            update += 1
            probes.append(Probe(update, k, draw(st.lists(score, min_size=size, max_size=size))))
        update += 1
        probes.append(Probe(update, k, list(matrix[k])))
    return matrix, probes


@given(runs(), st.integers(2, 6))
def test_invariants_and_brute_force(run: tuple[list[list[float]], list[Probe]], window: int) -> None:
    matrix, probes = run
    size = len(matrix)
    found = metrics.summarise(matrix, [0.0] * size, probes)
    forgotten, backward, dip = found["forgetting"], found["backward_transfer"], found["worst_dip"]
    if size > 1:
        assert forgotten is not None and backward is not None and dip is not None
        assert forgotten >= -backward - 1e-12
        assert -1 <= forgotten <= 1
        low = found["min_acc"]
        last = sum(matrix[-1][:-1]) / (size - 1)
        assert low is not None and low <= last + 1e-12
        falls = [matrix[j][j] - (p.scores[j] or 0.0) for j in range(size) for p in probes if p.experience > j]
        assert dip == pytest.approx(max(0.0, *falls))
        assert dip >= max(0.0, *(matrix[j][j] - matrix[-1][j] for j in range(size - 1))) - 1e-12
    accuracy, worst = found["accuracy"], found["wc_acc"]
    assert accuracy is not None and worst is not None
    assert worst <= accuracy + 1e-12
    drops, rises = [], []
    for j in range(size):
        curve = [p.scores[j] or 0.0 for p in probes if p.experience >= j]
        pairs = [(a, b) for a in range(len(curve)) for b in range(a + 1, min(len(curve), a + window))]
        drops.append(max([0.0, *(curve[a] - curve[b] for a, b in pairs)]))
        rises.append(max([0.0, *(curve[b] - curve[a] for a, b in pairs)]))
    assert metrics.windowed_forgetting(probes, window) == pytest.approx(sum(drops) / size)
    assert metrics.windowed_plasticity(probes, window) == pytest.approx(sum(rises) / size)


@given(runs(), st.floats(-0.5, 0.5))
def test_differences_do_not_move_with_the_level(run: tuple[list[list[float]], list[Probe]], by: float) -> None:
    matrix, probes = run
    moved = [[s + by for s in row] for row in matrix]
    moved_probes = [Probe(p.update, p.experience, [(s or 0.0) + by for s in p.scores]) for p in probes]
    a = metrics.summarise(matrix, [0.0] * len(matrix), probes)
    b = metrics.summarise(moved, [by] * len(matrix), moved_probes)
    for name in ("forgetting", "backward_transfer", "forward_transfer", "worst_dip", "wf_10", "wp_10"):
        assert b[name] == (None if a[name] is None else pytest.approx(a[name], abs=1e-9)), name
