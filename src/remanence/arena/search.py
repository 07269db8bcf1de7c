"""Hyperparameters searched on other class orders than those reported, and never on the test data.

Source: Cha and Cho, Hyperparameters in Continual Learning: a Reality Check, 2024, arXiv:2403.09066. There
the search has a dataset of its own; here it has its own class orders, seeds and a held-out share of the
training examples of the same dataset.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from remanence import streams
from remanence.arena.result import Result
from remanence.arena.trials import Trial, TrialStore, run_trials, system_of
from remanence.arena.tuning import SPARE_SEEDS, TUNE_SEEDS, Ask, Found, Settings, Tuning, compare
from remanence.composition import compose
from remanence.errors import BudgetError, UsageError
from remanence.streams.experience import Stream
from remanence.streams.sources import SOURCES
from remanence.training import Training

SHARE = 0.1
RANKS = frozenset({"accuracy", "average_incremental_accuracy", "online_accuracy", "min_acc", "wc_acc"})
"""Metrics that settings may be chosen by; others (forgetting, bytes) could be won by learning nothing."""


def tuning_streams(recipe: dict[str, Any], seeds: Sequence[int], share: float = SHARE) -> list[Stream]:
    """The streams that settings are searched on: other orders, tested on training examples held out of them.

    Streams of questions that are made up anew for each seed are taken whole: no other seed asks what they ask.
    """
    built = [(seed, streams.build(streams.with_seed(recipe, seed))) for seed in seeds]
    if made_up(recipe):
        return [stream for _, stream in built]
    return [streams.hold_out(stream, share, seed) for seed, stream in built]


def made_up(recipe: Mapping[str, Any]) -> bool:
    """Whether the questions of a stream are drawn by its seed, so that each seed has data of its own."""
    source = SOURCES.get(str(recipe["source"]))
    return source is not None and source.rows == (0, 0)


Order = tuple[tuple[int, ...], ...]
"""The classes of each test set, in order."""


def order_of(stream: Stream) -> Order:
    """The classes that each test set asks about."""
    return tuple(tuple(test.classes) for test in stream.tests)


def tuning_face(recipe: dict[str, Any], seed: int, share: float = SHARE) -> tuple[Stream, Order]:
    """What describes the stream that is searched on with a seed, without its data, and its order of classes."""
    return _tuning_face(json.dumps(recipe, sort_keys=True), seed, share)


@functools.lru_cache(maxsize=64)
def _tuning_face(recipe: str, seed: int, share: float) -> tuple[Stream, Order]:
    stream = tuning_streams(json.loads(recipe), [seed], share)[0]
    return replace(stream, segments=(), tests=()), order_of(stream)


class StreamSearch:
    """A search for one learner on one stream.

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
    tune_seeds, spare_seeds:
        Seeds of streams and learners, none of which may be reported later.
    share:
        The share of the training examples held out to be tested on (between 0 and 1).
    at:
        Where and how the trials run.
    """

    def __init__(
        self,
        label: str,
        recipe: dict[str, Any],
        grid: Mapping[str, Sequence[Any]],
        settings: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        budget: int | None = None,
        metric: str = "accuracy",
        tune_seeds: Sequence[int] = TUNE_SEEDS,
        spare_seeds: Sequence[int] = SPARE_SEEDS,
        share: float = SHARE,
        at: TrialStore | None = None,
    ) -> None:
        self.label, self.recipe, self.fixed, self.model, self.budget = (
            label,
            recipe,
            dict(settings or {}),
            model,
            budget,
        )
        self.by = metric if metric in RANKS else "accuracy"
        self.share, self.at = 0.0 if made_up(recipe) else share, at or TrialStore()
        self.seconds = 0.0
        self.tuning = Tuning(
            grid,
            self._scores,
            seeds=tune_seeds,
            spare=spare_seeds,
            higher=self.by != "accuracy" or not tune_seeds or self._face(tune_seeds[0]).task.higher_is_better,
            allowed=self._allowed,
        )

    def found(self) -> Found:
        """What came of it."""
        return self.tuning.found(self.by, share=self.share, seconds=self.seconds)

    def _allowed(self, settings: Settings) -> bool:
        """Whether settings lie within the ranges that their cards and the training name."""
        composed = compose(system_of(self.label))
        try:
            mine, training = composed.split_settings({**self.fixed, **settings})
            composed.check(mine)
            Training.read(training)
        except UsageError:
            return False
        return True

    def _scores(self, asked: Sequence[Ask]) -> list[float | None]:
        trials = [
            Trial(
                self.label,
                self._face(seed),
                seed,
                {**self.fixed, **settings},
                self.model,
                self.budget,
                0,
                self.by == "online_accuracy",
            )
            for settings, seed in asked
        ]
        try:
            results = run_trials(trials, self.at)
        except BudgetError as error:
            raise UsageError(str(error)) from None
        self.seconds += sum(sum(result.seconds.values()) for result in results)
        return [score_by(result, self.by) for result in results]

    def _face(self, seed: int) -> Stream:
        """What describes the stream of a seed, without its data."""
        return tuning_face(self.recipe, seed, self.share)[0]


def search(
    label: str,
    recipe: dict[str, Any],
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Found:
    """Find the best settings of one learner, its grid extended where its best point lies at an end.

    Parameters are those of `StreamSearch`.

    Example
    -------
    >>> recipe = {"source": "digits", "scenarios": [["split", {"experiences": 2}], ["limit", {"examples": 60}]]}
    >>> from pathlib import Path; import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     at = TrialStore(Path(folder))
    ...     found = search("naive", recipe, {"lr": [1e-5, 0.1]}, tune_seeds=[7], spare_seeds=[], at=at)
    >>> found.best["lr"] >= 0.1
    True
    """
    given = StreamSearch(label, recipe, grid, settings, **options)
    compare([given.tuning])
    return given.found()


def score_by(result: Result, by: str) -> float | None:
    """The metric that settings are chosen by, of one run."""
    return result.accuracy if by == "accuracy" else result.metrics.get(by)
