"""What the commands of `remanence store` have in common: their arguments, and what these say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from remanence.errors import UsageError

if TYPE_CHECKING:
    from remanence.store.store import Store

File = Annotated[str, typer.Argument(help="The store: a file, or postgresql://user@host/database.")]
Id = Annotated[str, typer.Argument(help="The id of a record.")]
Text = Optional[str]  # noqa: UP045 (typer reads the annotation at run time)
Scope = Annotated[Text, typer.Option(help="A path such as user/42, with what lies below it; * for all.")]
Where = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(help="A condition such as speaker=Ana, said_at>=2026-05, metadata.city=Lisbon; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EncoderName = Annotated[
    str, typer.Option(help="auto, minilm, sentence-transformers:NAME, openai:MODEL, or none to go by words alone.")
]


@contextmanager
def opened(
    file: str, encoder: str | None = None, *, create: bool = False, language: str | None = None
) -> Iterator[Store]:
    """The store of a command, closed at its end; what was written is encoded by the next reading."""
    from remanence.store.connect import open as open_store

    chosen = None if encoder in (None, "none") else encoder
    with open_store(file, encoder=chosen, create=create, background=False, language=language) as store:
        yield store


@contextmanager
def progressing(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def conditions(given: list[str] | None) -> list[tuple[str, str, Any]] | None:
    """Conditions as (field, operator, value) from what stands on a command line.

    >>> conditions(["speaker=Ana", "uses >= 3", "metadata.city in Lisbon,Oslo"])
    [('speaker', '=', 'Ana'), ('uses', '>=', 3), ('metadata.city', 'in', ['Lisbon', 'Oslo'])]
    """
    if not given:
        return None
    found = []
    for text in given:
        match = re.fullmatch(
            r"\s*([\w.\- ]+?)\s*(<=|>=|!=|=|<|>|\bnot in\b|\bin\b|\bhas not\b|\bhas\b|\bcontains\b)\s*(.*)", text, re.S
        )
        if match is None:
            raise UsageError(f"the condition {text[:80]!r} cannot be read: write it as field=value or field>=value")
        name, operator, value = match.groups()
        several = operator in ("in", "not in")
        found.append(
            (name, operator, [_number(name, v.strip()) for v in value.split(",")] if several else _number(name, value))
        )
    return found


def _number(name: str, value: str) -> Any:
    """Numbers, true, false and null where the field holds such; texts elsewhere."""
    if name not in ("uses", "strength", "version") and not name.startswith("metadata."):
        return value
    try:
        read = json.loads(value)
    except ValueError:
        return value
    return value if isinstance(read, dict | list) else read


def object_of(text: str | None) -> dict[str, Any] | None:
    """What ``--metadata`` says: one JSON object."""
    if text is None:
        return None
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise UsageError(f'the metadata {text[:60]!r} is no JSON object: write it as \'{{"city": "Lisbon"}}\'')
    return read


def settings_of(given: list[str] | None) -> dict[str, Any]:
    """What every ``--set name=value`` says: values as JSON, and as text where they are none."""
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text[:60]!r} has no value: write name=value")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def lines_of(path: Path, fields: dict[str, Any]) -> Iterator[Any]:
    """Records of a file, one a line: JSON objects, or plain texts."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give one with a record a line")
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text:
                continue
            if not text.startswith("{"):
                yield {**fields, "text": text}
                continue
            try:
                record = json.loads(text)
            except ValueError:
                raise UsageError(f"line {number} of {path} is no JSON object: mend it; nothing was written") from None
            yield {**fields, **record}
