"""What code a figure depends on, so that a figure is known to be stale when that code has changed."""

from __future__ import annotations

import ast
import functools
import hashlib
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from remanence.composition import compose
from remanence.version import __version__

ROOT = Path(__file__).parents[1]
RUNNER = ("remanence.factory", "remanence.streams", "remanence.arena.job")
"""What every run passes through."""


def fingerprint(modules: Iterable[str]) -> str:
    """Sixteen characters that change with the code of `modules` and of all in the library that they import.

    Comments, docstrings and layout do not count, and neither does what a module assigns to `CLAIM`: a claim is compared
    as data, and its words may be mended without running it again.

    Example
    -------
    >>> fingerprint(["remanence.errors"]) == fingerprint(["remanence.errors", "remanence.errors"])
    True
    """
    waiting, seen = set(modules), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= _read(name)[1] - seen
    parts = sorted(f"{name}={_read(name)[0]}" for name in seen)
    return hashlib.sha256("\n".join([__version__, *parts]).encode()).hexdigest()[:16]


def of_system(name: str) -> str:
    """The fingerprint of a learner, composed ones too, and of what runs it."""
    composed = compose(name)
    runner = composed.systems[0].factory.runner.partition(":")[0]  # named, not imported
    return fingerprint([*RUNNER, runner, *(card.factory.__module__ for card in composed.systems)])


@functools.cache
def _read(name: str) -> tuple[str, frozenset[str]]:
    """A digest of one module, and the modules of the library that it names in its imports."""
    path = _path(name)
    if path is None:
        return "outside", frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [line for line in tree.body if not _is_claim(line)]
    found = frozenset(other for other in _imports(tree) if _path(other) is not None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), found


def _is_claim(line: ast.stmt) -> bool:
    return isinstance(line, ast.Assign) and [target.id for target in line.targets if isinstance(target, ast.Name)] == [
        "CLAIM"
    ]


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in below if _path(name) is not None]
            yield from modules
            if len(modules) < len(below):
                yield node.module


def _path(name: str) -> Path | None:
    """The file of a module of this library; the package's own face names everything and counts for nothing."""
    first, *rest = name.split(".")
    if first != "remanence" or not rest:
        return None
    place = ROOT.joinpath(*rest)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def commit() -> str:
    """The commit of the source tree that runs, with ``+changes`` where files differ from it; ``""`` outside one."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", "__init__.py"):  # installed inside somebody else's repository, or in none
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", ".") else "")
    except OSError:
        return ""
