"""What an encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors.

    ``name`` says which model, version and dimension made a vector (``minilm:int8@2#384``): vectors of two
    encoders may be compared exactly where their names are equal. It stands in the database beside each vector,
    and ``encoder(name)`` makes the same encoder again.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (n, dimension) of length 1, in the order of the texts."""
        ...
