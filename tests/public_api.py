"""The public names as lines of text, read from the source without importing it: a snapshot is kept beside this file.

A public name is one that ``remanence``, or a package it offers, lists in ``__all__``, with the members of a class; and
the hyperparameters of every system. Each parameter is a line of its own, so that one more with a default adds a line,
and whatever takes one away, or asks for more, breaks somebody's call. ``make api`` renews the snapshot, once the
changelog's newest section names in backticks what breaks.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).with_suffix(".txt")


def lines() -> list[str]:
    """Every public name of the source, and every parameter, sorted."""
    package = griffe.load("remanence", search_paths=[str(ROOT / "src")])
    assert isinstance(package, griffe.Module)
    found: set[str] = set()
    offered = dict(_offered(package))
    for name, target in offered.items():
        found |= set(_described(f"remanence.{name}", target))
        if isinstance(target, griffe.Module):
            for inner, object_ in _offered(target):
                found |= set(_described(f"remanence.{name}.{inner}", object_))
    for system, owner in _systems(package):
        found |= set(_parameters(f"system {system}", owner))
    return sorted(found)


def _offered(module: griffe.Module) -> Iterator[tuple[str, griffe.Object]]:
    """What a module lists in ``__all__``, where it lies: by a table of places to load from, or imported."""
    table = {}
    if "_WHERE" in module.members:
        table = ast.literal_eval(str(module["_WHERE"].value))
    names = set(table) | {name for name in map(str, module.exports or ()) if name.isidentifier()}
    package = module.package
    for name in sorted(name for name in names if not name.startswith("_")):
        if name in table:
            place, _, attribute = table[name].partition(":")
            path = place.split(".")[1:] + ([attribute] if attribute else [])
            yield name, _final(package[path])
        else:
            yield name, _final(module[name])


def _final(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


def _described(path: str, found: griffe.Object) -> Iterator[str]:
    if isinstance(found, griffe.Function):
        yield from _parameters(path, found)
        return
    yield path
    if not isinstance(found, griffe.Class):
        return
    for name, member in sorted(found.all_members.items()):
        inner = _final(member)
        if name == "__init__" and isinstance(inner, griffe.Function):
            yield from _parameters(path, inner)
        elif not name.startswith("_"):
            yield from _described(f"{path}.{name}", inner)
    if "dataclass" in str([str(one.value) for one in found.decorators]) and "__init__" not in found.members:
        yield from (f"{path}({name})" for name in found.members if not name.startswith("_"))


def _parameters(path: str, found: griffe.Object) -> Iterator[str]:
    yield path
    if isinstance(found, griffe.Class):
        found = _final(found.all_members["__init__"]) if "__init__" in found.all_members else found
    given = [one for one in found.parameters if one.name not in ("self", "cls")] if _is_function(found) else []
    for place, one in enumerate(given, 1):
        told = "required" if one.required else f"= {one.default}"
        # hyperparameters are given by name; elsewhere another order breaks a call
        by_name = one.kind is griffe.ParameterKind.keyword_only or path.startswith("system ")
        yield f"{path}({one.name} {told})" if by_name else f"{path}({one.name} {told}, {place})"


def _is_function(found: griffe.Object) -> bool:
    return isinstance(found, griffe.Function)


def _systems(module: griffe.Module) -> Iterator[tuple[str, griffe.Object]]:
    for member in module.members.values():
        if isinstance(member, griffe.Module):
            yield from _systems(member)
        elif isinstance(member, griffe.Class | griffe.Function):
            for decorator in member.decorators:
                if told := re.match(r"system\(\s*['\"]([^'\"]+)['\"]", str(decorator.value)):
                    yield told[1], member


def breaks(before: list[str], now: list[str]) -> list[str]:
    """Lines that somebody's program may stand on and that went, and parameters that it does not give yet."""
    gone = set(before) - set(now)
    new = set(now) - set(before)
    asked = {line for line in new if re.search(r" required(, \d+)?\)$", line) and _owner(line) in before}
    return sorted(gone | asked)


def unannounced(broken: list[str], changelog: str) -> list[str]:
    """Of these lines those that the changelog's newest section does not name, nor what they went with.

    >>> log = "## Unreleased\\n`Learner.rest` is gone, `er(size)` too\\n## 0.1.0\\n`run`"
    >>> unannounced(["remanence.Learner.rest", "system er(size = 1)", "system er(lr = 1)", "remanence.run"], log)
    ['system er(lr = 1)', 'remanence.run']
    """
    newest = re.split(r"^## ", changelog, flags=re.MULTILINE)[1]
    told = {re.sub(r"^rm\.", "remanence.", word) for word in re.findall(r"`([^`]+)`", newest)}
    return [line for line in broken if not told & _names(line, broken)]


def _names(line: str, broken: list[str]) -> set[str]:
    """By what a line may be announced: its dotted name or any end of it, and that of an owner that went as well."""
    path = _owner(line)
    parts = path.removeprefix("system ").split(".")
    names = {".".join(parts[start:]) for start in range(len(parts))}
    if path != line:
        parameter = line[len(path) + 1 :].split(" ")[0]
        names = {f"{name}({parameter})" for name in names} | (names if path in broken else set())
    if "." in path and _owner(path.rpartition(".")[0]) in broken:
        names |= _names(path.rpartition(".")[0], broken)
    return names


def _owner(line: str) -> str:
    return line.partition("(")[0]


def main() -> None:
    now = lines()
    before = SNAPSHOT.read_text("utf-8").splitlines() if SNAPSHOT.exists() else []
    silent = unannounced(breaks(before, now), (ROOT / "CHANGELOG.md").read_text("utf-8"))
    if silent:
        sys.exit("\n".join(["these break without a word in the changelog's newest section:", *silent]))
    SNAPSHOT.write_text("\n".join(now) + "\n", "utf-8")


if __name__ == "__main__":
    main()
