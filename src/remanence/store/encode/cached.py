"""An encoder that looks for vectors on disk first, by the text's content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from remanence import vector_cache
from remanence.errors import StateError
from remanence.minilm import check_texts
from remanence.store.encode.protocol import Encoder

_TEXTS_AT_ONCE = 1024


class Cached:
    """Another encoder behind the cache of vectors that all processes share.

    Parameters
    ----------
    encoder:
        What encodes texts that are not in the cache.

    Example
    -------
    >>> from remanence.store.encode import encoder
    >>> once = encoder("minilm", cache=False)
    >>> Cached(once).name == once.name
    True
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name, self.dimension = encoder.name, encoder.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1; each different text is encoded once."""
        check_texts(texts)
        found = np.empty((len(texts), self.dimension), np.float32)
        places: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(text, []).append(place)
        every = list(places)
        for begin in range(0, len(every), _TEXTS_AT_ONCE):
            part = every[begin : begin + _TEXTS_AT_ONCE]
            known = vector_cache.recall(self.name, part, self.dimension)
            missing = [text for text in part if text not in known]
            if missing:
                vectors = self.encoder.encode(missing)
                known.update(zip(missing, vectors, strict=True))
                vector_cache.keep(self.name, missing, vectors)
            for text in part:
                found[places[text]] = known[text]
        return found

    def fingerprint(self, text: str) -> str:
        """What stands for a text in the cache."""
        return vector_cache.fingerprint(text)

    def forget(self, fingerprints: Sequence[str]) -> bool:
        """Remove texts' vectors from the cache, whichever encoder gave them; False where something may remain."""
        try:
            vector_cache.forget(fingerprints)
        except StateError:
            return False
        return True
