"""Hyperparameters searched on other class orders than those reported, and never on the test data.

Source: Cha and Cho, Hyperparameters in Continual Learning: a Reality Check, 2024, arXiv:2403.09066. There
the search has a dataset of its own; here it has its own class orders, seeds and a held-out share of the
training examples of the same dataset.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from remanence import streams
from remanence.arena.result import Result
from remanence.arena.trials import Trial, Workplace, run_trials
from remanence.errors import UsageError
from remanence.streams.experience import Stream

TUNE_SEEDS = (1000, 1001)
SHARE = 0.1
RANKS = frozenset({"accuracy", "average_incremental_accuracy", "online_accuracy", "min_acc", "wc_acc"})
"""Metrics that settings may be chosen by; others (forgetting, bytes) could be won by learning nothing."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    `best` are the settings, `by` the metric they were chosen by, `table` every point with its score on
    each tuning seed (None where the run diverged) and their mean, `seconds` the wall time of all its runs added up.
    """

    best: dict[str, Any] = field(default_factory=dict)
    by: str = "accuracy"
    table: list[dict[str, Any]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: list(TUNE_SEEDS))
    share: float = SHARE
    seconds: float = 0.0


def points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid, in order.

    >>> points({"lr": [0.1, 0.3], "size": [10]})
    [{'lr': 0.1, 'size': 10}, {'lr': 0.3, 'size': 10}]
    """
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def edges(grid: Mapping[str, Sequence[Any]], best: Mapping[str, Any]) -> list[str]:
    """The settings whose best value is the smallest or largest tried, so that a better one may lie beyond.

    >>> edges({"lr": [0.01, 0.1, 1.0], "size": [2]}, {"lr": 1.0, "size": 2})
    ['lr']
    """
    found = []
    for name, values in grid.items():
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) == len(values) > 1 and best.get(name) in (min(numbers), max(numbers)):
            found.append(name)
    return found


def tuning_streams(recipe: dict[str, Any], seeds: Sequence[int], share: float = SHARE) -> list[Stream]:
    """The streams that settings are searched on: other orders, tested on training examples held out of them."""
    return [streams.hold_out(streams.build(streams.with_seed(recipe, seed)), share, seed) for seed in seeds]


def search(
    label: str,
    recipe: dict[str, Any],
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    budget: int | None = None,
    metric: str = "accuracy",
    tune_seeds: Sequence[int] = TUNE_SEEDS,
    share: float = SHARE,
    at: Workplace | None = None,
) -> Found:
    """Find the best point of a grid for one learner.

    Parameters
    ----------
    label:
        The name of a learner.
    recipe:
        The stream's, as in `Stream.recipe`; its seeds are replaced.
    grid:
        Values to try by hyperparameter or training setting; every combination is a point.
    settings:
        What is fixed.
    model, budget:
        As in `remanence.make`.
    metric:
        What a point is judged by, the mean over tuning seeds; the final score if it could be won by
        learning nothing.
    tune_seeds:
        Seeds of streams and learners, none of which may be reported later.
    share:
        The share of the training examples held out to be tested on (between 0 and 1).
    at:
        Where and how the trials run.

    Example
    -------
    >>> recipe = {"source": "digits", "scenarios": [["split", {"experiences": 2}], ["limit", {"examples": 60}]]}
    >>> from pathlib import Path; import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = search("naive", recipe, {"lr": [1e-5, 0.1]}, tune_seeds=[7], at=Workplace(Path(folder)))
    >>> found.best
    {'lr': 0.1}
    """
    by = metric if metric in RANKS else "accuracy"
    tries = points(grid)
    if len(tries) == 1:
        return Found(tries[0], by, [], list(tune_seeds), share)
    if not tune_seeds:
        raise UsageError("a search was asked for without a seed to tune on: give one or more")
    tuning = tuning_streams(recipe, tune_seeds, share)
    trials = [
        Trial(label, stream, seed, {**(settings or {}), **point}, model, budget, 0, by == "online_accuracy")
        for stream, seed in zip(tuning, tune_seeds, strict=True)
        for point in tries
    ]
    results = run_trials(trials, at or Workplace())
    table: list[dict[str, Any]] = []
    for number, point in enumerate(tries):
        scores = [score_by(result, by) for result in results[number :: len(tries)]]
        known = [score for score in scores if score is not None]
        mean = statistics.fmean(known) if len(known) == len(scores) else None
        table.append({"settings": point, "scores": scores, "mean": mean})
    sign = 1.0 if tuning[0].task.higher_is_better else -1.0
    ranked = max(table, key=lambda row: sign * row["mean"] if row["mean"] is not None else float("-inf"))
    seconds = sum(sum(result.seconds.values()) for result in results)
    return Found(ranked["settings"], by, table, list(tune_seeds), share, round(seconds, 1))


def score_by(result: Result, by: str) -> float | None:
    """The metric that settings are chosen by, of one run."""
    return result.accuracy if by == "accuracy" else result.metrics.get(by)
