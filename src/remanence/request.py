"""What shall be forgotten, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from remanence.errors import UsageError

Removal = Literal["removed", "approximately removed", "suppressed", "remains"]


@dataclass(frozen=True)
class Request:
    """What shall be forgotten: examples by id, a whole class, or rows given again.

    Parameters
    ----------
    ids:
        Stable ids of examples, as the stream gave them.
    label:
        A class.
    x, y:
        The data itself, where a closed form needs it to subtract it; ids may accompany it.
    """

    ids: tuple[int, ...] = ()
    label: int | None = None
    x: Tensor | None = None
    y: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.ids and self.label is None and self.x is None:
            raise UsageError("nothing was named to forget: give ids, a label, or the rows x and y")
        if (self.x is None) != (self.y is None):
            raise UsageError("x was given without y or y without x: give both or neither")
        if self.x is not None and self.y is not None and len(self.x) != len(self.y):
            raise UsageError(f"{len(self.x)} inputs and {len(self.y)} targets were given: give as many of each")


@dataclass(frozen=True)
class Receipt:
    """What became of a request to forget, place by place, and how that was checked.

    `places` maps a place (weights, rehearsal, importances, snapshots, statistics…) to its outcome.
    """

    request: Request
    places: dict[str, Removal]
    checked: str
    count: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing that was asked for remains anywhere."""
        return all(outcome == "removed" for outcome in self.places.values())
