"""Saved caches, and whose they are."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from remanence.context.caches.supported import Shape
from remanence.errors import StateError
from remanence.state import read_state


def read_saved(path: str | os.PathLike[str], shape: Shape) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The saved cache of this model.

    Raises
    ------
    StateError
        If the file is none, or of another model or dtype.
    """
    tensors, structure = read_state(path)
    if "cache" not in structure:
        raise StateError(f"{path} holds no cache: give a file that cache.save wrote")
    if structure["dtype"] != str(shape.dtype):
        raise StateError(
            f"{path} was saved in {structure['dtype']} and the model computes in {shape.dtype}: load the model in the same dtype"
        )
    if structure["model"] != shape.fingerprint:
        raise StateError(f"{path} is the cache of another model: give the model that it was read with")
    return tensors, structure
