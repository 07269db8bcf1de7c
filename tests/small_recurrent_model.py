"""Language models around memory layers that know nothing, the same for every process of a run of the tests."""

from __future__ import annotations

import os
from pathlib import Path

from remanence.context.recurrent.small import small_recurrent_model


def folder(layer: str) -> str:
    """The folder in which the one around this layer lies."""
    return small_recurrent_model(layer, Path(os.environ["REMANENCE_TEST_MODELS"]))
