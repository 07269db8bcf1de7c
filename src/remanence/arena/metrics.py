"""From scores over a stream to the numbers that the field reports: pure functions, no learner in sight.

A *matrix* has one row per experience and one column per test set; ``matrix[k][j]`` is the score on
test set j after experience k, None where it was not asked. Column j is taught by experience j, so the
numbers that compare with "right after it was taught" need at least as many columns as rows; elsewhere
(a prequential stream, a single test set) they are None, as is every number that lacks its scores.

Everything that is a difference reads the same whether higher or lower scores are better: forgetting,
dips and intransigence are positive where it got worse, transfer is positive where it got better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remanence.arena.result import Probe
from remanence.arena.score_matrix import (
    Matrix,
    Scores,
    curves,
    difference,
    is_square,
    largest_drop,
    mean,
    scores_since_taught,
    signed,
)

WINDOWS = (10, 100)
MEGABYTE = 1024**2


def summarise(
    matrix: Matrix,
    before: Scores = (),
    probes: Sequence[Probe] = (),
    bytes_after: Sequence[int] = (),
    higher_is_better: bool = True,
) -> dict[str, float | None]:
    """Every metric of one run by name; intransigence and areas over bytes need other runs and are not here.

    Parameters
    ----------
    matrix:
        Scores after each experience.
    before:
        The score on each test set before anything was learned.
    probes:
        Scores taken while the stream ran.
    bytes_after:
        Total bytes after each experience.
    higher_is_better:
        False for errors.

    Example
    -------
    >>> found = summarise([[0.9, 0.1], [0.6, 0.8]], before=[0.1, 0.1])
    >>> round(found["accuracy"], 3), round(found["forgetting"], 3), found["worst_dip"] == found["forgetting"]
    (0.7, 0.3, True)
    """
    up = higher_is_better
    found: dict[str, float | None] = {
        "accuracy": average_accuracy(matrix),
        "average_incremental_accuracy": average_incremental_accuracy(matrix),
        "learning_accuracy": learning_accuracy(matrix),
        "forgetting": forgetting(matrix, up),
        "backward_transfer": backward_transfer(matrix, up),
        "forward_transfer": forward_transfer(matrix, before, up),
        "worst_dip": worst_dip(matrix, probes, up),
        "recovery": recovery(matrix, probes, up),
        "min_acc": min_acc(matrix, probes, up),
        "wc_acc": wc_acc(matrix, probes, up),
        "lca": learning_curve_area(probes),
    }
    for window in WINDOWS:
        found[f"wf_{window}"] = windowed_forgetting(probes, window, up)
        found[f"wp_{window}"] = windowed_plasticity(probes, window, up)
    found["bytes_peak"] = float(max(bytes_after)) if bytes_after else None
    return found


def average_accuracy(matrix: Matrix) -> float | None:
    """Mean score over the test sets after the last experience."""
    return mean(matrix[-1]) if matrix else None


def average_incremental_accuracy(matrix: Matrix) -> float | None:
    """Mean over experiences of the mean score on the test sets taught so far, each test set counting alike.

    Source: Rebuffi et al., iCaRL, 2017, arXiv:1611.07725 (which pools rows: the same for equal test sets).
    """
    return mean(mean(row[: k + 1]) for k, row in enumerate(matrix)) if is_square(matrix) else None


def learning_accuracy(matrix: Matrix) -> float | None:
    """Mean score on each test set right after the experience that taught it."""
    return mean(row[k] for k, row in enumerate(matrix)) if is_square(matrix) else None


def forgetting(matrix: Matrix, higher_is_better: bool = True) -> float | None:
    """Best score since a test set was taught, less its last score; mean over all but the last taught.

    Source: Chaudhry et al., Riemannian Walk for Incremental Learning, 2018, arXiv:1801.10112. There the
    best is taken from the first experience on; here from the one that taught it, which differs only
    where something scored higher before it was taught.
    """
    if not is_square(matrix):
        return None
    m = signed(matrix, higher_is_better)
    last = len(m) - 1
    lost = []
    for j in range(last):
        best = max((row[j] for row in m[j:last] if row[j] is not None), default=None)  # type: ignore[type-var]
        lost.append(difference(best, m[last][j]))
    return mean(lost)


def backward_transfer(matrix: Matrix, higher_is_better: bool = True) -> float | None:
    """Last score less the score right after it was taught; mean over all but the last taught.

    Source: Lopez-Paz and Ranzato, Gradient Episodic Memory, 2017, arXiv:1706.08840.
    """
    if not is_square(matrix):
        return None
    m = signed(matrix, higher_is_better)
    return mean(difference(m[-1][j], m[j][j]) for j in range(len(m) - 1))


def forward_transfer(matrix: Matrix, before: Scores, higher_is_better: bool = True) -> float | None:
    """Score just before a test set is taught, less the score before anything was; mean over all but the first.

    Source: Lopez-Paz and Ranzato, Gradient Episodic Memory, 2017, arXiv:1706.08840.
    """
    if not is_square(matrix):
        return None
    m = signed(matrix, higher_is_better)
    start = signed([before], higher_is_better)[0]
    return mean(difference(m[j - 1][j], start[j]) for j in range(1, min(len(m), len(start))))


def intransigence(matrix: Matrix, reference: Matrix, higher_is_better: bool = True) -> float | None:
    """Score of a jointly trained reference less the own score, on each test set right after it was taught.

    Row k of `reference` comes from training on everything up to experience k together. The mean over
    experiences is given; it is negative where the learner did better than the reference.

    Source: Chaudhry et al., Riemannian Walk for Incremental Learning, 2018, arXiv:1801.10112.
    """
    if not (is_square(matrix) and is_square(reference)):
        return None
    own, joint = signed(matrix, higher_is_better), signed(reference, higher_is_better)
    return mean(difference(joint[k][k], own[k][k]) for k in range(min(len(own), len(joint))))


def worst_dip(matrix: Matrix, probes: Sequence[Probe] = (), higher_is_better: bool = True) -> float | None:
    """How far any test set ever fell below its score at the end of the experience that taught it.

    Exactly: the largest of ``matrix[j][j] - s`` over all test sets j and all scores s on j that were
    taken in a later experience, by a probe or at its end; 0 where none fell. It includes what was never
    won back, so it is at least as large as the fall of any test set between being taught and the end.
    """
    if not is_square(matrix):
        return None
    m, later = signed(matrix, higher_is_better), scores_since_taught(matrix, probes, higher_is_better)
    dips = [difference(m[j][j], score) for j, scores in later.items() for score in scores]
    known = [dip for dip in dips if dip is not None]
    return max(0.0, *known) if known else None


def recovery(matrix: Matrix, probes: Sequence[Probe], higher_is_better: bool = True) -> float | None:
    """Share of the drops inside experiences that is won back by the end of the same experience.

    For each test set j and each later experience e: the drop is the score at the end of e - 1 less the
    lowest probe in e, what is won back is the score at the end of e less that lowest probe. Their sums
    are divided: 0 where nothing comes back, 1 where all does, more where it ends higher. None without
    a drop.
    """
    if not is_square(matrix) or not probes:
        return None
    m = signed(matrix, higher_is_better)
    sign = 1 if higher_is_better else -1
    lowest: dict[tuple[int, int], float] = {}
    for probe in probes:
        for j, score in enumerate(probe.scores[: max(probe.experience, 0)]):
            if score is not None:
                key = (probe.experience, j)
                lowest[key] = min(lowest.get(key, sign * score), sign * score)
    drop = won = 0.0
    for (e, j), low in lowest.items():
        if e < len(m):
            start, end = m[e - 1][j], m[e][j]
            if start is not None and end is not None and start > low:
                drop += start - low
                won += max(end, low) - low
    return won / drop if drop else None


def min_acc(matrix: Matrix, probes: Sequence[Probe] = (), higher_is_better: bool = True) -> float | None:
    """Average minimum accuracy: the worst score on each earlier test set since it was taught, their mean.

    Source: De Lange et al., Continual evaluation for lifelong learning, 2022, arXiv:2205.13452.
    """
    if not is_square(matrix):
        return None
    worst = [min(scores) for scores in scores_since_taught(matrix, probes, higher_is_better).values() if scores]
    found = mean(worst)
    return found if found is None or higher_is_better else -found


def wc_acc(matrix: Matrix, probes: Sequence[Probe] = (), higher_is_better: bool = True) -> float | None:
    """Worst-case accuracy: the last test set's score and `min_acc`, weighted 1 to the number of earlier ones.

    Source: De Lange et al., Continual evaluation for lifelong learning, 2022, arXiv:2205.13452.
    """
    if not is_square(matrix):
        return None
    k = len(matrix)
    current = matrix[-1][k - 1]
    if k == 1 or current is None:
        return current
    low = min_acc(matrix, probes, higher_is_better)
    return None if low is None else current / k + (1 - 1 / k) * low


def windowed_forgetting(probes: Sequence[Probe], window: int, higher_is_better: bool = True) -> float | None:
    """Largest drop within `window` consecutive probes, mean over the test sets taught so far.

    A test set counts from the first probe in the experience that teaches it; no drop counts as 0.

    Source: De Lange et al., Continual evaluation for lifelong learning, 2022, arXiv:2205.13452.
    """
    return mean(largest_drop(curve, window) for curve in curves(probes, higher_is_better))


def windowed_plasticity(probes: Sequence[Probe], window: int, higher_is_better: bool = True) -> float | None:
    """Largest rise within `window` consecutive probes, mean over the test sets taught so far.

    Source: De Lange et al., Continual evaluation for lifelong learning, 2022, arXiv:2205.13452 (by its
    formula; the authors' code misses rises that start below an earlier score).
    """
    return mean(largest_drop(curve, window) for curve in curves(probes, not higher_is_better))


def learning_curve_area(probes: Sequence[Probe], first: int = 10) -> float | None:
    """Mean of the `first` probes of each test set while it is taught, mean over test sets.

    Source: Chaudhry et al., Efficient Lifelong Learning with A-GEM, 2019, arXiv:1812.00420, with probes
    in place of updates.
    """
    taught: dict[int, list[float]] = {}
    for probe in probes:
        if 0 <= probe.experience < len(probe.scores):
            score = probe.scores[probe.experience]
            if score is not None:
                taught.setdefault(probe.experience, []).append(score)
    return mean(mean(scores[:first]) for scores in taught.values())


def area_over_bytes(points: Iterable[tuple[float, float]]) -> tuple[float, float] | None:
    """Area under score against bytes by the trapezoid rule, and the same per megabyte of its width.

    Called with final scores it is AUC-L, with average incremental accuracies AUC-A. The area is in
    scores times megabytes of 1024² bytes, as published; the second number is the mean score over
    budgets, which compares across ranges. None with fewer than two different sizes.

    Source: Zhou et al., A Model or 603 Exemplars, 2022, arXiv:2205.13218.

    Parameters
    ----------
    points:
        Bytes and score of one run per budget; runs of equal bytes are averaged.

    Example
    -------
    >>> area_over_bytes([(0, 0.5), (2 * 1024**2, 0.7)])
    (1.2, 0.6)
    """
    at: dict[float, list[float]] = {}
    for size, score in points:
        at.setdefault(size / MEGABYTE, []).append(score)
    sizes = sorted(at)
    if len(sizes) < 2:
        return None
    heights = [sum(at[size]) / len(at[size]) for size in sizes]
    area = sum(
        (right - left) * (low + high) / 2
        for left, right, low, high in zip(sizes, sizes[1:], heights, heights[1:], strict=False)
    )
    return area, area / (sizes[-1] - sizes[0])
