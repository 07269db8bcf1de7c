"""Which places of the codes belong to which cluster: the file beside codes that stand cluster after cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.index.files import mapped, order_path
from remanence.store.index.header import Header


@dataclass(frozen=True)
class InvertedLists:
    """How clustered places are found.

    Shapes
    ------
    place (ordered,) int32 by row; row (ordered,) int32 by place; starts (lists + 1,) int64, list i being the
    places from starts[i] to starts[i + 1]; centroids (lists, dimension) int8; lengths (lists,) float32, the
    inverse lengths of the centroids, 0 for a list without rows.
    """

    place: NDArray[np.int32]
    row: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.float32]
    centroids: NDArray[np.int8]

    @staticmethod
    def layout(header: Header) -> list[tuple[Any, tuple[int, ...]]]:
        """Kind and shape of each of the arrays, as they follow one another in the file."""
        return [
            (np.int64, (header.lists + 1,)),
            (np.int32, (header.ordered,)),
            (np.int32, (header.ordered,)),
            (np.float32, (header.lists,)),
            (np.int8, (header.lists, header.dimension)),
        ]

    @classmethod
    def opened(cls, folder: Path, header: Header, *, writable: bool = False) -> InvertedLists:
        arrays, offset = [], 0
        for kind, shape in cls.layout(header):
            arrays.append(mapped(order_path(folder, header.generation), kind, shape, offset=offset, writable=writable))
            offset += arrays[-1].nbytes
        starts, place, row, lengths, centroids = arrays
        return cls(place, row, starts, lengths, centroids)

    def write(self, path: Path) -> None:
        with open(path, "wb") as file:
            for array in (self.starts, self.place, self.row, self.lengths, self.centroids):
                file.write(np.ascontiguousarray(array).tobytes())
            file.flush()
            os.fsync(file.fileno())
