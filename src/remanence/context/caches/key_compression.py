"""Keys held in fewer numbers once they are no longer new: how a layer stores them, and how attention sees them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from remanence.context.caches.rotary import Rotary


class Keys(Protocol):
    """What a compression sees of the layer whose keys it compresses."""

    rotary: Rotary | None
    besides: dict[str, Tensor]

    @property
    def keys(self) -> Tensor: ...

    @property
    def valid(self) -> Tensor: ...


class KeyCompression(ABC):
    """How a policy holds older keys in fewer numbers than they came with.

    A layer holds all keys whole as long as its bytes last. Then it is prepared once, and from there on all keys but
    the newest are compressed. Widening must undo compression up to what is lost: a key that is compressed, widened and compressed
    again is the same compressed key.

    Attributes
    ----------
    whole:
        How many of the newest entries of a layer have whole keys (0 or more).
    """

    whole: int = 0

    @abstractmethod
    def width(self, features: int) -> int:
        """Numbers of a compressed key, where a whole one has so many features."""

    @abstractmethod
    def prepare(self, held: Keys) -> None:
        """Decide, from what a layer holds, how its keys are to be compressed; tensors go to `held.besides`."""

    @abstractmethod
    def compress(self, held: Keys, keys: Tensor) -> Tensor:
        """Whole keys (batch, heads, n, features) as they are stored, (batch, heads, n, width)."""

    @abstractmethod
    def widen(self, held: Keys, compressed: Tensor, features: int) -> Tensor:
        """Compressed keys as attention sees them, (batch, heads, n, features)."""
