"""Sequences with questions in them: tokens, the right answers, and how long ago each was to be seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from remanence.errors import UsageError

IGNORE = -100
"""The target of a position where nothing is asked; torch's cross entropy passes it over."""


@dataclass(frozen=True)
class SequenceBatch:
    """Sequences of one recall task.

    Parameters
    ----------
    tokens:
        (rows, length) int64 in ``[0, vocabulary)``.
    targets:
        (rows, length) int64: at a position where something is asked, the token that a model should give as the
        next one after reading up to there; `IGNORE` everywhere else.
    distance:
        (rows, length) int64: for each asked position, how many tokens ago the answer was last told, or, where it
        was not told as such, what has to be remembered for it; 0 elsewhere.
    vocabulary:
        How many different tokens there are.
    """

    tokens: Tensor
    targets: Tensor
    distance: Tensor
    vocabulary: int

    def __post_init__(self) -> None:
        if not self.tokens.shape == self.targets.shape == self.distance.shape or self.tokens.dim() != 2:
            raise UsageError(
                f"tokens {tuple(self.tokens.shape)}, targets {tuple(self.targets.shape)} and distance "
                f"{tuple(self.distance.shape)} must be of one shape (rows, length)"
            )

    @property
    def asked(self) -> Tensor:
        """Where something is asked, (rows, length) bool."""
        return self.targets != IGNORE

    def accuracy(self, guessed: Tensor) -> float:
        """The share of asked positions where ``guessed`` (rows, length) names the right token."""
        return float((guessed == self.targets)[self.asked].double().mean())

    def by_distance(self, guessed: Tensor, edges: list[int]) -> list[tuple[int, float, int]]:
        """For each edge: the accuracy and the number of questions whose distance is at most it and above the last."""
        right, far = (guessed == self.targets)[self.asked], self.distance[self.asked]
        found, low = [], -1
        for edge in edges:
            among = (far > low) & (far <= edge)
            found.append(
                (edge, float(right[among].double().mean()) if bool(among.any()) else float("nan"), int(among.sum()))
            )
            low = edge
        return found

    def rows(self, chosen: slice | Tensor) -> SequenceBatch:
        """Some of the sequences."""
        return SequenceBatch(self.tokens[chosen], self.targets[chosen], self.distance[chosen], self.vocabulary)


def concatenate(parts: list[SequenceBatch]) -> SequenceBatch:
    """Sequences of equal length of one task, one after another."""
    return SequenceBatch(
        torch.cat([part.tokens for part in parts]),
        torch.cat([part.targets for part in parts]),
        torch.cat([part.distance for part in parts]),
        max(part.vocabulary for part in parts),
    )
