"""Keys held in fewer numbers once they are no longer new: how a layer stores them, and how attention sees them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from remanence.context.caches.held import Held


class Thinning(ABC):
    """How a policy holds older keys in fewer numbers than they came with.

    A layer holds all keys whole as long as its bytes last. Then it is prepared once, and from there on all keys but
    the newest are thin. Widening must undo thinning up to what is lost: a key that is thinned, widened and thinned
    again is the same thin key.

    Attributes
    ----------
    whole:
        How many of the newest entries of a layer have whole keys (0 or more).
    """

    whole: int = 0

    @abstractmethod
    def width(self, features: int) -> int:
        """Numbers of a thin key, where a whole one has so many features."""

    @abstractmethod
    def prepare(self, held: Held) -> None:
        """Decide, from what a layer holds, how its keys are to be thinned; tensors go to `held.besides`."""

    @abstractmethod
    def thin(self, held: Held, keys: Tensor) -> Tensor:
        """Whole keys (batch, heads, n, features) as they are stored, (batch, heads, n, width)."""

    @abstractmethod
    def widen(self, held: Held, thin: Tensor, features: int) -> Tensor:
        """Thin keys as attention sees them, (batch, heads, n, features)."""
