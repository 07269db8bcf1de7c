"""An encoder that takes every text by itself and remembers it while the process lives."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from remanence.store.encode.encoder import encoder

_made = functools.lru_cache(maxsize=2)(encoder)
_known: dict[tuple[str, str], NDArray[np.float32]] = {}
_MOST = 50_000


class UnbatchedEncoder:
    """Texts alone, not in batches, where the same bits are wanted whatever was encoded beside them.

    The learners of a process share one encoder and what it has encoded.

    Parameters
    ----------
    name:
        The encoder below.
    """

    def __init__(self, name: str) -> None:
        self._below = _made(name)

    @property
    def name(self) -> str:
        return self._below.name

    @property
    def dimension(self) -> int:
        return self._below.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1."""
        if len(_known) + len(texts) > _MOST:
            _known.clear()
        found = []
        for text in texts:
            key = (self.name, text)
            if key not in _known:
                _known[key] = self._below.encode([text])[0]
            found.append(_known[key])
        return np.stack(found) if found else np.zeros((0, self.dimension), dtype=np.float32)

    def forget_all(self) -> None:
        """Drop every text and vector that is remembered."""
        _known.clear()
