"""A language model that knows nothing, the same for every process of a run of the tests."""

from __future__ import annotations

import os
from pathlib import Path

from remanence.models.small import small_language_model


def folder(width: int = 16, layers: int = 2, positions: int = 256) -> str:
    """The folder in which it lies."""
    return small_language_model(Path(os.environ["REMANENCE_TEST_MODELS"]), width, layers, positions)
