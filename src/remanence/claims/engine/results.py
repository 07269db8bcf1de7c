"""What running the claims gave: one JSON file for each system, packed with the library."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from remanence.claims.engine.verdict import Verdict
from remanence.errors import StateError
from remanence.files import write_atomically

RESULTS = Path(__file__).parent.parent / "results"
"""Where the results lie, in a source tree and where the library is installed."""


def stem(name: str) -> str:
    """What the files of a system's claim are called, its experiment and its results.

    >>> stem("der++"), stem("a-mem[rules]")
    ('der_pp', 'a_mem_rules')
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("++", "_pp")).strip("_")


def file_name(name: str) -> str:
    """The file of a system's results."""
    return f"{stem(name)}.json"


def read(folder: str | os.PathLike[str] = RESULTS) -> dict[str, Verdict]:
    """The verdicts reached before, by system.

    Raises
    ------
    StateError
        If a file is not what `write` writes.
    """
    found = [_read(path) for path in sorted(Path(folder).glob("*.json"))]
    return {verdict.name: verdict for verdict in found}


def read_one(name: str, folder: str | os.PathLike[str] = RESULTS) -> Verdict | None:
    """The verdict on one system's claim, None where it was never run."""
    path = Path(folder) / file_name(name)
    return _read(path) if path.exists() else None


def write(verdict: Verdict, folder: str | os.PathLike[str] = RESULTS) -> None:
    """Keep one verdict, whole or not at all."""
    text = json.dumps(verdict.as_dict(), ensure_ascii=False, indent=1)
    write_atomically(Path(folder) / file_name(verdict.name), _short_lists(text) + "\n")


def _read(path: Path) -> Verdict:
    try:
        data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        verdict = Verdict.from_dict(dict(data))
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} cannot be read ({error}): move it away and run the claim again") from None
    if path.name != file_name(verdict.name):
        raise StateError(f"{path} holds the verdict on {verdict.name}: its name is {file_name(verdict.name)}")
    return verdict


def _short_lists(text: str) -> str:
    """Lists of numbers and words on one line, so that a figure is a line of a difference and not a page."""
    return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]", text)
