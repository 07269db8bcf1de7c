"""Language models around memory layers that know nothing, for tests: the same for every process of a run."""

from __future__ import annotations

import os
from unittest.mock import patch

from remanence.context.recurrent import recipe
from remanence.models.prepare import keep


def folder(layer: str) -> str:
    """The folder of a small model around this layer, with the weights that its training begins with."""
    with patch.dict(os.environ, {"REMANENCE_CACHE": os.environ["REMANENCE_TEST_MODELS"]}):
        wanted = recipe(f"micro-{layer}")
        if not wanted.ready:
            wanted.folder.mkdir(parents=True, exist_ok=True)
            keep(wanted, wanted.build())
        return str(wanted.folder)
