"""Texts as one vector per token, for late interaction: what the packaged MiniLM makes of each token it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class TokenEncoder(Protocol):
    """Whatever turns each text into as many unit vectors as it has tokens.

    `name` tells model, version and dimension apart, `dimension` is the length of a vector.
    """

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One array (tokens, dimension) of unit rows per text."""
        ...


class MiniLMTokens:
    """The last hidden states of the packaged MiniLM, each scaled to length 1.

    Example
    -------
    >>> MiniLMTokens().encode(["a cat sat"])[0].shape  # doctest: +SKIP
    (5, 384)

    References
    ----------
    Khattab, Zaharia: ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
    BERT, 2020, arXiv 2004.12832.

    Departures
    ----------
    ColBERT is trained for late interaction, marks queries and documents and projects to 128 dimensions.
    MiniLM was trained for the mean of these states, and is used as it is.
    """

    name = "minilm-l6-v2-tokens-384"
    dimension = 384

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One array (tokens, 384) of unit rows per text; of each text the first 256 tokens are read."""
        from remanence.streams.text import encode_tokens

        return [vectors.numpy() for vectors in encode_tokens(texts)]
