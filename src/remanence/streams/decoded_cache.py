"""Decoded images in the user's cache folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from remanence.cache import cache_folder


def recall(key: str) -> dict[str, Tensor] | None:
    """The tensors kept under a key, None where there are none that can be read."""
    path = cache_folder() / "decoded" / f"{key}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


def keep(key: str, tensors: dict[str, Tensor]) -> None:
    """Keep tensors under a key, whole or not at all; a folder that cannot be written is passed over."""
    folder = cache_folder() / "decoded"
    half = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, half = tempfile.mkstemp(dir=folder, suffix=".half")
        os.close(handle)
        save_file(tensors, half)
        with open(half, "rb") as file:
            os.fsync(file.fileno())
        os.replace(half, folder / f"{key}.safetensors")
    except (OSError, SafetensorError):
        if half:
            Path(half).unlink(missing_ok=True)
