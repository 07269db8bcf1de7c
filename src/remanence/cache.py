"""A folder of the user's for what can be computed again: decoded images, vectors of texts, encoders made for this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CACHE = "REMANENCE_CACHE"


def cache_folder() -> Path:
    """The folder named by REMANENCE_CACHE, or ``~/.cache/remanence``."""
    named = os.environ.get(CACHE)
    return Path(named) if named else Path.home() / ".cache" / "remanence"


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
