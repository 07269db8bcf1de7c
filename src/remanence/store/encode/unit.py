"""Vectors that came from elsewhere, checked and brought to length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import EndpointError


def unit_vectors(given: Any, dimension: int, source: str) -> NDArray[np.float32]:
    """Rows (n, dimension) as float32 of length 1.

    Raises
    ------
    EndpointError
        If rows have another length than `dimension`, or hold no direction (NaN, infinite, or all zero).

    Example
    -------
    >>> unit_vectors([[3.0, 4.0]], 2, "an example").tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    try:
        vectors = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise EndpointError(
            f"{source} gave something that is no table of numbers, expected vectors: ask its operator"
        ) from None
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        width = vectors.shape[1] if vectors.ndim == 2 else "no"
        raise EndpointError(
            f"{source} gave vectors of {width} numbers, expected {dimension}: name the model that was meant"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = ~(np.isfinite(lengths) & (lengths > 0))[:, 0]
    if wrong.any():
        raise EndpointError(
            f"{source} gave a vector without a direction (NaN, infinite or all zero) for text {int(wrong.argmax())}: "
            "leave the text out, or use another model"
        )
    unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return unit
