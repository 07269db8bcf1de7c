"""Searching the vectors of an older encoder with a newer one, so that a store need not encode its texts anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.encode.protocol import Encoder


@runtime_checkable
class CompatibleEncoder(Encoder, Protocol):
    """An encoder whose vectors can be brought into the space of the encoder named by `compatible_with`."""

    @property
    def compatible_with(self) -> str: ...

    def to_old(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of this encoder (n, dimension) as unit vectors in the old encoder's space."""
        ...


class InOldSpace:
    """A compatible encoder that gives vectors in the old encoder's space, under the old encoder's name.

    A store opened with it reads and writes beside the old vectors at once, and none is encoded again. What the
    new encoder knows beyond the old space is not used until the store changes to the new encoder itself.

    Parameters
    ----------
    encoder:
        A `CompatibleEncoder`, also behind the cache of vectors.
    dimension:
        Of the old vectors.

    Raises
    ------
    UsageError
        If the encoder was not trained to be compatible with another, or gives vectors of another dimension there.

    Example
    -------
    >>> class Both:
    ...     name, dimension, compatible_with = "new#3", 3, "old#2"
    ...     def encode(self, texts):
    ...         return np.tile(np.array([0.6, 0.0, 0.8], np.float32), (len(texts), 1))
    ...     def to_old(self, vectors):
    ...         return vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    >>> inside = InOldSpace(Both(), 2)
    >>> inside.name, inside.encode(["a text"]).tolist()
    ('old#2', [[1.0, 0.0]])
    """

    def __init__(self, encoder: Encoder, dimension: int) -> None:
        found = compatible(encoder)
        if found is None:
            raise UsageError(
                f"the encoder {encoder.name} was not trained to be compatible with another: give one that was, or "
                "call change_encoder, which encodes the texts anew"
            )
        self.encoder, self._found = encoder, found
        self.name, self.dimension = found.compatible_with, dimension
        inside = self.encode([""])
        if inside.shape != (1, dimension):
            raise UsageError(
                f"{encoder.name} gives {inside.shape[1]} numbers in the space of {self.name}, expected {dimension}: "
                "give the dimension of the old vectors"
            )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (n, dimension) in the old space."""
        return self._found.to_old(self.encoder.encode(texts))


def compatible(encoder: Encoder) -> CompatibleEncoder | None:
    """The encoder, or the one behind its cache, if it can search older vectors; else None."""
    inner = getattr(encoder, "encoder", None)
    return next((found for found in (encoder, inner) if isinstance(found, CompatibleEncoder)), None)
