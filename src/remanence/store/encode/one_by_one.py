"""An encoder that takes every text by itself and remembers it while the process lives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from remanence.store.encode.encoder import encoder


class OneByOne:
    """Texts alone, not in batches, where the same bits are wanted whatever was encoded beside them.

    Parameters
    ----------
    name:
        The encoder below.
    """

    def __init__(self, name: str) -> None:
        self._below = encoder(name)
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        return self._below.name

    @property
    def dimension(self) -> int:
        return self._below.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._below.encode([text])[0]
        found = [self._known[text] for text in texts]
        return np.stack(found) if found else np.zeros((0, self.dimension), dtype=np.float32)

    def forget_all(self) -> None:
        """Drop every text and vector that is remembered."""
        self._known.clear()
