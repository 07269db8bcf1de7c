"""Tiny Shakespeare as text, its last tenth kept apart for measuring."""

from __future__ import annotations

import functools
import os

from remanence.errors import UsageError
from remanence.streams.dataset_table import DATA, below_data, checked, existing_data_folder

_FILE = "tinyshakespeare/input.txt"
_SUM = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_TRAINING = 0.9


def tiny_shakespeare(*, held_out: bool) -> str:
    """The first nine tenths of Tiny Shakespeare, to learn from, or the last tenth; cut at a line, all ASCII.

    Parameters
    ----------
    held_out:
        Whether the last tenth is wanted.

    Raises
    ------
    UsageError
        If the folder named by REMANENCE_DATA does not hold the file.
    StateError
        If the file is not the one expected.
    """
    return _halves(os.environ.get(DATA, ""))[held_out]


@functools.lru_cache(maxsize=2)
def _halves(folder: str) -> tuple[str, str]:
    existing_data_folder()
    path = below_data(_FILE)
    if path is None:
        raise UsageError(f"Tiny Shakespeare comes from a folder only: set {DATA} to one that holds {_FILE}")
    checked(path, _SUM, "Tiny Shakespeare")
    text = path.read_bytes().decode("ascii")
    cut = text.index("\n", int(_TRAINING * len(text))) + 1
    return text[:cut], text[cut:]
