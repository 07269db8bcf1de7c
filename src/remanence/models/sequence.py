"""A small sequence model around any mixing layer, to train and compare memories under one roof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError


class SequenceModel(nn.Module):
    """Embedding, then blocks of (norm, mixer, norm, feed-forward) with residual paths, then scores of the next token.

    Parameters
    ----------
    vocabulary:
        How many tokens there are (2 or more).
    width:
        Features of a token inside.
    mixers:
        One layer a block, ``mixer(x, state) -> (y, state)`` with x and y (batch, length, width).
    expansion:
        Hidden width of the feed-forward layers as a multiple of `width`; 0 for none.
    embedding:
        What turns tokens into features (batch, length, width); by default it is learned, one vector a token.

    Example
    -------
    >>> model = SequenceModel(16, 8, [Recurrent(8)])
    >>> logits, states = model(torch.zeros(2, 5, dtype=torch.int64))
    >>> tuple(logits.shape)
    (2, 5, 16)
    """

    def __init__(
        self,
        vocabulary: int,
        width: int,
        mixers: Sequence[nn.Module],
        *,
        expansion: int = 2,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if vocabulary < 2 or not mixers:
            raise UsageError("a sequence model needs at least two tokens and one mixing layer")
        self.embedding = _embedding(vocabulary, width) if embedding is None else embedding
        self.mixers = nn.ModuleList(mixers)
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-6) for _ in mixers)
        self.feeds = nn.ModuleList(_feed(width, expansion) for _ in mixers)
        self.last = nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor, states: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Scores (batch, length, vocabulary) of what follows each of ``tokens`` (batch, length), and the states."""
        x = self.embedding(tokens)
        after = []
        for place, (mixer, norm, feed) in enumerate(zip(self.mixers, self.norms, self.feeds, strict=True)):
            mixed, state = mixer(norm(x), None if states is None else states[place])
            after.append(state)
            x = x + mixed
            x = x + feed(x)
        return self.head(self.last(x)), tuple(after)


def _embedding(vocabulary: int, width: int) -> nn.Module:
    made = nn.Embedding(vocabulary, width)
    nn.init.normal_(made.weight, std=0.02)
    return made


def _feed(width: int, expansion: int) -> nn.Module:
    if not expansion:
        return _Nothing()
    hidden = expansion * width
    return nn.Sequential(nn.RMSNorm(width, eps=1e-6), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Recurrent(nn.Module):
    """torch's own LSTM or GRU with the signature of a mixing layer, as a baseline.

    Parameters
    ----------
    width:
        Features of input and output.
    cell:
        ``"lstm"`` or ``"gru"``.
    hidden:
        Numbers in the hidden state; `width` by default.
    """

    def __init__(self, width: int, cell: str = "lstm", hidden: int | None = None) -> None:
        super().__init__()
        kinds = {"lstm": nn.LSTM, "gru": nn.GRU}
        if cell not in kinds:
            raise UsageError(f"there is no recurrent cell {cell!r}: lstm or gru")
        self.hidden = hidden or width
        self.cell = kinds[cell](width, self.hidden, batch_first=True)
        self.out = nn.Linear(self.hidden, width)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.cell(x, state)
        return self.out(y), state

    @property
    def state_bytes(self) -> int:
        """Bytes of the state of one sequence."""
        return 4 * self.hidden * (2 if isinstance(self.cell, nn.LSTM) else 1)
