"""Where in the text the rows of a batch are: what was seen, the position of each row's next token, padding."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.errors import UsageError


class RowPositions:
    """Counts tokens and positions of the rows of a batch.

    Attributes
    ----------
    seen:
        How many tokens were read.
    next:
        The position of the next token of each row, (batch,) int64; None before anything was read.
    padded_left:
        On which side the rows are padded; None before any padding was seen.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing was read."""
        self.seen: int = 0
        self.next: Tensor | None = None
        self.padded_left: bool | None = None

    def rows(self, batch: int, device: torch.device | None) -> Tensor:
        """`next`, of so many rows."""
        if self.next is None:
            self.next = torch.zeros(batch, dtype=torch.int64, device=device)
        if len(self.next) != batch:
            raise UsageError(
                f"{batch} sequences came to a cache that holds {len(self.next)}: make a cache for each batch"
            )
        return self.next

    def new_tokens(self, mask: Tensor | None, batch: int, new: int) -> Tensor | None:
        """Which of the new tokens are no padding, (batch, n) bool, by an attention mask; None where all are."""
        if mask is None:
            return None
        if mask.dim() != 2 or mask.shape[0] != batch or mask.shape[1] < new:
            raise UsageError(
                f"the attention mask is {tuple(mask.shape)}, expected (batch, tokens): 1 for a token, 0 for padding"
            )
        valid = mask[:, -new:].bool()
        if bool(valid.all()):
            return None
        self._check_padding(valid)
        return valid

    def _check_padding(self, valid: Tensor) -> None:
        first, last = valid[:, 0], valid[:, -1]
        inner = (valid[:, 1:].int() - valid[:, :-1].int()).abs().sum(1) > 1
        left, right = bool((~first & last).any()), bool((first & ~last).any())
        if (
            bool(inner.any())
            or (left and right)
            or (right and self.padded_left)
            or (left and self.padded_left is False)
        ):
            raise UsageError("the batch is padded on the left and on the right: pad all its rows on one side")
        if left or right:
            self.padded_left = left
