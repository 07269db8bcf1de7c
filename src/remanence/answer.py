"""What a learner answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Answer:
    """What a learner answers to a batch of questions.

    `scores` is (n, classes) for classification, higher meaning likelier, with the labels of its columns
    in `classes`; for regression it is (n, 1), the values, and `classes` is empty. For retrieval it is
    (n, k), the scores of the rows of the stream that `records` (n, k) int64 names, best first, -1 where
    there is none. For answering it is (n, 1), the logarithm of the probability that the learner gives each of
    the n `texts`; `records` may name the rows that were read for them.
    """

    scores: Tensor
    classes: tuple[int, ...] = ()
    records: Tensor | None = None
    texts: tuple[str, ...] = ()

    @property
    def labels(self) -> Tensor:
        """The likeliest label of each row (n,) int64; -1 while no class is known."""
        if not self.classes:
            return torch.full((len(self.scores),), -1)
        return torch.tensor(self.classes)[self.scores.argmax(1).cpu()]

    @property
    def values(self) -> Tensor:
        """The predicted value of each row (n,)."""
        return self.scores.squeeze(1)
