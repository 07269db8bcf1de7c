"""What a store asks of an encoder that can also search the vectors of the one before it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.encode.compatible.head import EmbeddingHead

Array = NDArray[np.float32]


class TextEncoder(Protocol):
    """Texts to unit vectors; `name` tells model, version and dimension apart."""

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit vectors (n, dimension)."""
        ...


class CompatibleEncoder(TextEncoder, Protocol):
    """An encoder whose vectors can be compared with those of the encoder named by `compatible_with`.

    A store that holds vectors of that encoder searches them with ``to_old(encode([query]))``, and what was
    encoded anew with ``encode([query])``; nothing has to be encoded again.
    """

    compatible_with: str

    def to_old(self, vectors: Array) -> Array:
        """Vectors of this encoder (n, dimension) as unit vectors in the old encoder's space."""
        ...


class HeadEncoder:
    """A trained head on the vectors of another encoder, as one encoder.

    Parameters
    ----------
    name:
        What the store calls it; with the weights it must change.
    features:
        The encoder whose vectors the head was trained on.
    head:
        The head.
    compatible_with:
        The name of the encoder of the old vectors.

    Raises
    ------
    UsageError
        If the head takes vectors of another dimension.

    Example
    -------
    >>> class Letters:
    ...     name, dimension = "letters", 2
    ...     def encode(self, texts):
    ...         return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)
    >>> encoder = HeadEncoder("letters-2", Letters(), EmbeddingHead(2, 3, dimension=4), "letters-1")
    >>> vectors = encoder.encode(["abba", "b"])
    >>> vectors.shape, encoder.to_old(vectors).shape, encoder.compatible_with
    ((2, 4), (2, 3), 'letters-1')
    """

    def __init__(self, name: str, features: TextEncoder, head: EmbeddingHead, compatible_with: str) -> None:
        if features.dimension != head.inputs:
            raise UsageError(
                f"the head takes vectors of {head.inputs} numbers, and {features.name} gives {features.dimension}: "
                "give the encoder that it was trained on"
            )
        self.name, self.features, self.head, self.compatible_with = name, features, head, compatible_with
        self.dimension = head.dimension

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit vectors (n, dimension)."""
        return self.head.embed(self.features.encode(texts))

    def to_old(self, vectors: Array) -> Array:
        """The part of the vectors that lies in the old space, scaled to length 1 (n, old dimension)."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise UsageError(f"vectors of shape {vectors.shape} were given, expected (any number, {self.dimension})")
        import torch

        found: Array = self.head.to_old(torch.from_numpy(np.ascontiguousarray(vectors))).numpy()
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one safetensors file; names and the encoder below it are the caller's to keep."""
        self.head.save(path)
