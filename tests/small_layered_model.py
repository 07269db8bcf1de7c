"""Language models around memory layers that know nothing, for tests: the same for every process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import torch

from remanence.context.layered import recipe
from remanence.models.prepare import keep


def folder(layer: str) -> str:
    """The folder of a small model around this layer, with the weights that its training begins with."""
    cache = Path(tempfile.gettempdir()) / f"remanence-test-layers-{torch.__version__}-{os.getuid()}"
    with patch.dict(os.environ, {"REMANENCE_CACHE": str(cache)}):
        wanted = recipe(f"micro-{layer}")
        if not wanted.ready:
            wanted.folder.mkdir(parents=True, exist_ok=True)
            keep(wanted, wanted.build())
        return str(wanted.folder)
