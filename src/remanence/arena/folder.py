"""A run's folder: who may write in it, what lies in it, and whose configuration it holds."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from remanence.arena.config import RunConfig
from remanence.arena.result import Result
from remanence.errors import UsageError
from remanence.files import write_atomically
from remanence.formats import Format
from remanence.version import __version__

RESULTS, CONFIG, ENVIRONMENT = "results.json", "config.toml", "environment.json"
FORMAT = Format("remanence-run", 1)
"""Of what lies in a run's folder; it stands in ``environment.json``."""


def default_folder(config: RunConfig, fresh: bool) -> Path:
    """``runs/STREAM-HASH``, or with `fresh` the first free name beside it."""
    name = Path(config.stream).stem if Path(config.stream).suffix else Path(config.stream).name
    base = Path("runs") / f"{name.replace(':', '-')}-{config.hash()}"
    if not fresh or not base.exists():
        return base
    number = 2
    while Path(f"{base}-{number}").exists():
        number += 1
    return Path(f"{base}-{number}")


@contextmanager
def opened(folder: Path, config: RunConfig) -> Iterator[None]:
    """Hold the folder for one process, with this configuration written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another process is running in {folder}: wait for it, or choose another folder with --out"
        ) from None
    except OSError:
        raise UsageError(f"{folder} cannot be written to: choose another folder with --out") from None
    try:
        _claim(folder, config)
        yield
    finally:
        lock.release()


def _claim(folder: Path, config: RunConfig) -> None:
    path = folder / CONFIG
    if path.exists():
        check_format(folder)
        if hash_of(path) != config.hash():
            raise UsageError(
                f"{folder} holds a run of another configuration or version: choose another folder with --out"
            )
        return
    others = [entry.name for entry in folder.iterdir() if entry.name not in (".lock", "jobs")]
    if others:
        raise UsageError(
            f"{folder} is not empty ({sorted(others)[0]} lies in it) and holds no run: choose another folder with --out"
        )
    write_atomically(path, config.dump())
    write_atomically(folder / ENVIRONMENT, json.dumps({"format": str(FORMAT), **environment()}, indent=1))


def check_format(folder: Path) -> None:
    """Refuse a folder that a newer version of this library wrote, with a `StateError`."""
    told = read_json(folder / ENVIRONMENT)
    if isinstance(told, dict):
        FORMAT.version_in(told.get("format"), folder)


def hash_of(path: Path) -> str:
    """The hash of the configuration in a run's folder, "" where this version cannot read it."""
    try:
        return RunConfig.read(RunConfig.load(path)).hash()
    except UsageError:
        return ""


def environment() -> dict[str, str]:
    """The versions that a run's figures depend on."""
    import numpy
    import torch

    return {
        "remanence": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "threads": "1 per job",
    }


def read_json(path: Path) -> Any:
    """JSON from a file, or None where it is not there or not whole."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): choose another folder") from None


def read_result(path: Path) -> Result | None:
    """The result in a file, or None where there is none that is whole, so that its job is run again."""
    try:
        return Result.from_dict(read_json(path))
    except (TypeError, KeyError, AttributeError):
        return None
