"""A language model over bytes that remembers through one memory layer alone.

Each byte comes with its own features and with codes of the last three bytes, before it and with it, so that what
follows something can be stored under it and found again by a layer that knows nothing of language.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from remanence.context.layers.layer import MemoryLayer
from remanence.context.tree import State
from remanence.errors import StateError
from remanence.models.byte_tokenizer import PAD, VOCABULARY
from remanence.models.sequence import SequenceModel
from remanence.randomness import generator

GRAM = 3
"""Bytes of which a code is made."""
_BUCKETS = 1 << 14
_MULTIPLIERS = (1_000_003, 8_191, 131_101)


class RecurrentLM(nn.Module):
    """Features of bytes, one memory layer and one feed-forward layer with residual paths, scores of the next byte.

    Parameters
    ----------
    layer:
        A memory layer of width ``letters + 2 * codes``.
    letters:
        Learned features of a byte (1 or more).
    codes:
        Numbers of the code of three bytes (1 or more). Codes are drawn once and not learned.

    Shapes
    ------
    ``tokens`` (batch, length) int64; scores (batch, length, vocabulary); the state is a mapping of ``last``, the last
    three tokens, and ``memory``, the state of the layer.

    Example
    -------
    >>> from remanence.context.layers.linear_attention import LinearAttention
    >>> model = RecurrentLM(LinearAttention(24), letters=8, codes=8)
    >>> scores, state = model(torch.tensor([list(b"To be")]))
    >>> tuple(scores.shape), state["last"].tolist()
    ((1, 5, 259), [[32, 98, 101]])

    References
    ----------
    The codes are hash n-gram embeddings, here of one length and not learned: Pagnoni et al., Byte Latent Transformer:
    Patches Scale Better Than Tokens, 2024, arXiv:2412.09871.
    """

    codes: Tensor

    def __init__(self, layer: MemoryLayer, *, letters: int, codes: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(VOCABULARY, letters)
        nn.init.normal_(self.letters.weight, std=letters**-0.5)
        table = torch.randn(_BUCKETS, codes, generator=generator(0, "codes of three bytes")) * codes**-0.5
        self.register_buffer("codes", table, persistent=False)
        self.body = SequenceModel(VOCABULARY, letters + 2 * codes, [layer], embedding=nn.Identity())

    @property
    def layer(self) -> MemoryLayer:
        """The memory."""
        return cast(MemoryLayer, self.body.mixers[0])

    def initial(self, batch: int) -> dict[str, State]:
        """The state before anything was read."""
        last = torch.full((batch, GRAM), PAD, device=self.letters.weight.device)
        return {"last": last, "memory": self.layer.initial(batch)}

    def forward(self, tokens: Tensor, state: State = None) -> tuple[Tensor, dict[str, State]]:
        """Read tokens from a state on: scores of what follows each, and the state after."""
        state = self.initial(len(tokens)) if state is None else state
        if not isinstance(state, dict) or not isinstance(state["last"], Tensor):
            raise StateError("the state is a mapping of last and memory: give the one that the model returned")
        known = torch.cat([state["last"], tokens], 1)
        codes = self._codes(known)
        x = torch.cat([self.letters(tokens), codes[:, :-1], codes[:, 1:]], -1)
        scores, (memory,) = self.body(x, (state["memory"],))
        return scores, {"last": known[:, -GRAM:].clone(), "memory": memory}

    def _codes(self, tokens: Tensor) -> Tensor:
        """The codes (batch, length - 2, codes) of each three tokens in a row (batch, length)."""
        size = tokens.shape[1] - GRAM + 1
        mixed = torch.stack(
            [tokens[:, place : place + size] * factor for place, factor in enumerate(_MULTIPLIERS)]
        ).sum(0)
        mixed = (mixed ^ (mixed >> 13)) * 0x9E3779B1
        return self.codes[(mixed ^ (mixed >> 15)) % _BUCKETS]
