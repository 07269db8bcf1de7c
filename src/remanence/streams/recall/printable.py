"""Recall sequences as text: one printable character a token, for language models that read bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.recall.sequence_batch import SequenceBatch

FIRST = ord("!")
"""The byte of token 0; the others follow in the order of ASCII, up to ``~``."""
SYMBOLS = ord("~") - FIRST + 1
"""How many different tokens can be printed: 94."""


def in_bytes(given: SequenceBatch) -> SequenceBatch:
    """The same sequences and questions with bytes for tokens, for a model with a vocabulary of 256 bytes.

    Example
    -------
    >>> from remanence.streams.recall.copying import copying
    >>> in_bytes(copying(1, seed=0, items=3, length=8)).tokens.tolist()
    [[41, 35, 40, 33, 33, 42, 33, 33]]
    """
    if given.vocabulary > SYMBOLS:
        raise UsageError(
            f"a sequence of {given.vocabulary} kinds of tokens cannot be printed with {SYMBOLS} characters: draw it "
            "with a smaller vocabulary"
        )
    targets = torch.where(given.asked, given.targets + FIRST, given.targets)
    return SequenceBatch(given.tokens + FIRST, targets, given.distance, 256)


def printable(given: SequenceBatch) -> list[str]:
    """Each sequence as a text, one character a token.

    Example
    -------
    >>> from remanence.streams.recall.copying import copying
    >>> printable(copying(1, seed=0, items=3, length=8))
    [')#(!!*!!']
    """
    return [bytes(row).decode("ascii") for row in in_bytes(given).tokens.tolist()]


def tokens_of(texts: list[str]) -> Tensor:
    """The tokens that `printable` made these texts of, (rows, length) int64.

    Example
    -------
    >>> tokens_of([")#(!!*!!"]).tolist()
    [[8, 2, 7, 0, 0, 9, 0, 0]]
    """
    for text in texts:
        strange = [c for c in text if not FIRST <= ord(c) < FIRST + SYMBOLS]
        if strange or len(text) != len(texts[0]):
            raise UsageError(
                f"the text {text[:20]!r} was not printed by a recall stream: it must have {len(texts[0])} characters "
                "from '!' to '~'"
            )
    return torch.tensor([[ord(c) - FIRST for c in text] for text in texts], dtype=torch.int64)
