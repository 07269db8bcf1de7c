"""Scores of yes-or-no answers: hits, false alarms, and the detection sensitivity d′ of signal detection theory.

Green and Swets, Signal Detection Theory and Psychophysics, 1966. Accuracy rewards whoever always gives the commoner
answer; d′ is 0 for any answer that does not depend on the item, but for what the correction of rates of 0 and 1 adds
where matches and non-matches are not equally many.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.recall.sequence_batch import SequenceBatch


@dataclass(frozen=True)
class Detection:
    """How the answers fell.

    Parameters
    ----------
    hits, misses:
        Matches that were answered with "match", and those that were not.
    false_alarms, correct_rejections:
        Non-matches that were answered with "match", and those that were not.
    """

    hits: int
    misses: int
    false_alarms: int
    correct_rejections: int

    @property
    def hit_rate(self) -> float:
        """The share of matches that were answered with "match"; NaN where there were none."""
        return _share(self.hits, self.misses)

    @property
    def false_alarm_rate(self) -> float:
        """The share of non-matches that were answered with "match"; NaN where there were none."""
        return _share(self.false_alarms, self.correct_rejections)

    @property
    def accuracy(self) -> float:
        """The share of right answers; NaN where nothing was asked."""
        return _share(self.hits + self.correct_rejections, self.misses + self.false_alarms)

    def sensitivity(self, margin: float | None = None) -> float:
        """d′, the z-score of the hit rate less that of the false alarm rate.

        A rate of 0 or 1 has an infinite z-score, so rates are corrected. By default half an answer is added to each
        count (the log-linear rule of Hautus, Corrections for extreme proportions and their biasing effects on
        estimated values of d′, 1995). With a `margin` only rates of 0 and 1 are moved, by that much; 0.01 is what
        Gong et al., 2023, arXiv:2305.03731, did. Then it is NaN where there were no matches or no non-matches.

        Example
        -------
        >>> round(Detection(hits=8, misses=0, false_alarms=1, correct_rejections=15).sensitivity(margin=0.01), 3)
        3.86
        """
        z = NormalDist().inv_cdf
        if margin is None:
            yes, no = self.hits + self.misses + 1, self.false_alarms + self.correct_rejections + 1
            return z((self.hits + 0.5) / yes) - z((self.false_alarms + 0.5) / no)
        if not 0 < margin < 0.5:
            raise UsageError(f"sensitivity was given the margin {margin}: give one between 0 and 0.5, or None")
        rates = [
            margin if rate == 0 else 1 - margin if rate == 1 else rate
            for rate in (self.hit_rate, self.false_alarm_rate)
        ]
        return z(rates[0]) - z(rates[1])


def _share(yes: int, no: int) -> float:
    return yes / (yes + no) if yes + no else float("nan")


def detection(given: SequenceBatch, guessed: Tensor) -> Detection:
    """Score answers to `n_back` or `spatial_n_back`.

    Parameters
    ----------
    given:
        Sequences whose "match" is the last token of the vocabulary and whose "no match" is the one before it.
    guessed:
        (rows, length) int64: the answers; any other token than "match" counts as "no match".

    Example
    -------
    >>> from remanence.streams.recall.n_back import n_back
    >>> given = n_back(10, seed=0)
    >>> detection(given, given.targets)
    Detection(hits=80, misses=0, false_alarms=0, correct_rejections=140)
    """
    match = given.vocabulary - 1
    truth = given.targets[given.asked]
    if guessed.shape != given.targets.shape or not bool((truth >= match - 1).all()):
        raise UsageError(
            f"detection scores answers to an n-back test: answers {tuple(guessed.shape)} were given to questions "
            f"{tuple(given.targets.shape)}, whose answers must be the last two of {given.vocabulary} tokens"
        )
    said, meant = guessed[given.asked] == match, truth == match
    counts = [int(which.sum()) for which in (said & meant, ~said & meant, said & ~meant, ~said & ~meant)]
    return Detection(*counts)
