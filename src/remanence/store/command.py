"""The command `remanence store`. What it prints comes from `printing`; heavy modules are imported when needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from remanence.errors import UsageError

if TYPE_CHECKING:
    from remanence.store.store import Store

app = typer.Typer(
    help="Long-term memory in one file: write, find, revise, and really forget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

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


@app.command()
def write(
    file: File,
    text: Annotated[Text, typer.Argument(help="What to remember; - reads it from standard input.")] = None,
    lines: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Many at once: a file with one record a line, as JSON or plain text."),
    ] = None,
    speaker: Annotated[Text, typer.Option(help="Who said it.")] = None,
    said_at: Annotated[Text, typer.Option(help="When it was said, as 2026-05-03T10:00Z.")] = None,
    valid_from: Annotated[Text, typer.Option(help="Since when it is true.")] = None,
    valid_to: Annotated[Text, typer.Option(help="Until when it is true.")] = None,
    scope: Annotated[Text, typer.Option(help="Whose or what it belongs to, such as user/42.")] = None,
    source: Annotated[Text, typer.Option(help="Where it came from: a session, a file.")] = None,
    kind: Annotated[Text, typer.Option(help="episode, fact, skill, case or note.")] = None,
    tag: Annotated[Optional[list[str]], typer.Option(help="A label; may be repeated.")] = None,  # noqa: UP045
    metadata: Annotated[Text, typer.Option(help="A JSON object.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Encode before returning.")] = False,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Remember a text, or a file of them. Makes the store where there is none."""
    given = {
        "speaker": speaker,
        "said_at": said_at,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "scope": scope,
        "source": source,
        "kind": kind,
        "tags": tag,
        "metadata": _object(metadata),
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if (text is None) == (lines is None):
        raise UsageError("give either a text or --lines FILE")
    told = sys.stdin.read() if text == "-" else text or ""
    with opened(file, encoder, create=True) as store, progressing("writing", as_json) as progress:
        if lines is not None:
            ids = store.write_many(_lines(lines, fields), wait=wait, progress=progress)
            print(json.dumps(ids) if as_json else f"{len(ids):,} records written")
            return
        record = store.write(told, wait=wait, **fields)
        print(json.dumps(record.as_dict()) if as_json else record.id)


@app.command()
def read(
    file: File,
    question: Annotated[str, typer.Argument(help="In natural language.")],
    k: Annotated[int, typer.Option("-k", min=1, help="At most how many.")] = 5,
    scope: Scope = "",
    where: Where = None,
    as_of: Annotated[Text, typer.Option(help="Only what was true then.")] = None,
    known_at: Annotated[Text, typer.Option(help="Only what the store knew then.")] = None,
    mode: Annotated[str, typer.Option(help="hybrid, dense, text or graph.")] = "hybrid",
    explain: Annotated[bool, typer.Option("--explain", help="Show what put each hit there.")] = False,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Find what answers a question."""
    from remanence.store.printing import hits_json, hits_table, show

    with opened(file, "none" if mode == "text" else encoder) as store:
        hits = store.read(
            question,
            k,
            scope=scope,
            where=conditions(where),
            as_of=as_of,
            known_at=known_at,
            mode=mode,
            explain=explain,
        )
        elsewhere = not hits and not scope and any(store.scopes())
    if as_json:
        print(json.dumps(hits_json(hits)))
        return
    show(hits_table(hits, explain))
    if elsewhere:
        print("only records without a scope were searched: name one with --scope, or --scope '*' for all")
    if hits.pending:
        print(f"{hits.pending:,} texts wait for a vector and were searched by words alone: read again, or run encode")


@app.command(name="list")
def list_(
    file: File,
    scope: Scope = "*",
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="At most how many, the newest first.")] = 20,
    as_of: Annotated[Text, typer.Option(help="Only what was true then.")] = None,
    as_json: AsJson = False,
) -> None:
    """List records, the newest first."""
    from remanence.store.printing import records_table, show

    with opened(file) as store:
        found = store.list(scope=scope, where=conditions(where), limit=limit, as_of=as_of)
    if as_json:
        print(json.dumps([record.as_dict() for record in found]))
    else:
        show(records_table(found))


@app.command()
def history(file: File, record: Id, as_json: AsJson = False) -> None:
    """Show all versions of a record, and when each was true."""
    from remanence.store.printing import history_table, show

    with opened(file) as store:
        versions = store.history(record)
    if as_json:
        print(json.dumps([version.as_dict() for version in versions]))
    else:
        show(history_table(versions))


@app.command()
def revise(
    file: File,
    record: Id,
    text: Annotated[str, typer.Argument(help="What it says now.")],
    expected_version: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Refuse if another version came in between."),
    ] = None,
    valid_from: Annotated[Text, typer.Option(help="Since when the new version is true; now, if not given.")] = None,
    correction: Annotated[bool, typer.Option("--correction", help="The old version was never true.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a new version of a record; the old one stays in history."""
    with opened(file) as store:
        made = store.revise(
            record, text, expected_version=expected_version, valid_from=valid_from, correction=correction
        )
    print(json.dumps(made.as_dict()) if as_json else f"version {made.version}")


@app.command()
def forget(
    file: File,
    records: Annotated[Optional[list[str]], typer.Argument(help="Ids of records.")] = None,  # noqa: UP045
    scope: Annotated[Text, typer.Option(help="All of a scope, with what lies below it; * for everything.")] = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before forgetting by scope or condition.")] = False,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Delete records from everywhere: text, vectors, indexes, history, links, caches, file bytes."""
    from remanence.store.printing import receipt_table, show

    if records and (scope is not None or where):
        raise UsageError("give ids, or --scope and --where, not both")
    with opened(file, encoder) as store:
        if not records and (scope is not None or where) and not yes:
            count = store.count(scope=scope, where=conditions(where))
            if not sys.stdin.isatty():
                raise UsageError(f"{count:,} records would be forgotten for good: repeat with --yes")
            typer.confirm(f"Forget {count:,} records for good?", abort=True)
        receipt = store.forget(records or None, scope=scope, where=conditions(where))
    if as_json:
        places = dict(receipt.places)
        print(
            json.dumps(
                {"records": receipt.records, "versions": receipt.versions, "places": places, "checked": receipt.checked}
            )
        )
    else:
        show(receipt_table(receipt))


@app.command()
def consolidate(
    file: File,
    policy: Annotated[
        str, typer.Option(help="merge, link, decay, summarise, promote; several by commas.")
    ] = "merge,link,decay",
    scope: Scope = "*",
    set_: Annotated[Optional[list[str]], typer.Option("--set", help="A setting, such as half_life=30.")] = None,  # noqa: UP045
    language: Annotated[
        Text, typer.Option(help="A model behind an OpenAI-compatible endpoint; rules by default.")
    ] = None,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Look after what is kept, when nothing arrives."""
    with opened(file, encoder, language=language) as store, progressing("consolidating", as_json) as progress:
        done = store.consolidate(
            [one.strip() for one in policy.split(",") if one.strip()], scope=scope, progress=progress, **_settings(set_)
        )
    print(json.dumps(done) if as_json else ", ".join(f"{count:,} {name}" for name, count in done.items()))


@app.command()
def encode(file: File, encoder: EncoderName = "auto", as_json: AsJson = False) -> None:
    """Encode what waits for a vector; with another encoder, everything anew while the old vectors serve."""
    from remanence.store.connect import recorded_encoder
    from remanence.store.encode.encoder import encoder_of

    with opened(file) as store:
        changes = encoder != "auto" and recorded_encoder(store.database) not in (None, encoder)
    with opened(file, "auto" if changes else encoder) as store, progressing("encoding", as_json) as progress:
        if changes and (made := encoder_of(encoder)) is not None and made.name != store.statistics()["encoder"]:
            store.change_encoder(made, progress=progress)
            done = store.statistics()["versions"]
        else:
            done = store.encode(progress=progress)
    print(json.dumps({"encoded": done}) if as_json else f"{done:,} texts encoded")


@app.command()
def export(
    file: File, path: Annotated[Path, typer.Argument(help="Where to write JSON lines.")], as_json: AsJson = False
) -> None:
    """Write everything to JSON lines: all versions and links."""
    with opened(file) as store, progressing("exporting", as_json) as progress:
        count = store.export(path, progress=progress)
    print(json.dumps({"versions": count}) if as_json else f"{count:,} versions written to {path}")


@app.command(name="import")
def import_(
    file: File,
    path: Annotated[Path, typer.Argument(help="What export wrote.")],
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Read what export wrote, all of it or nothing. Makes the store where there is none."""
    with opened(file, encoder, create=True) as store, progressing("importing", as_json) as progress:
        count = store.import_(path, progress=progress)
    print(json.dumps({"versions": count}) if as_json else f"{count:,} versions read from {path}")


@app.command()
def stats(file: File, as_json: AsJson = False) -> None:
    """Show what a store holds, and what it weighs."""
    from remanence.store.printing import show, statistics_table

    with opened(file) as store:
        found = store.statistics()
    if as_json:
        print(json.dumps(found))
    else:
        show(statistics_table(found))


@app.command()
def doctor(
    file: File,
    check: Annotated[bool, typer.Option("--check", help="Only say what is wrong, mend nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a store, and mend its indexes where they are missing, stale or torn. Exit code 1 where --check finds something."""
    with opened(file) as store:
        wrong = list(store.check(repair=not check))
        if not check:
            store.optimize()
    print(json.dumps(wrong) if as_json else "\n".join(wrong) or "all is well")
    if wrong and check:
        raise typer.Exit(1)


@app.command()
def bench(
    file: File,
    questions: Annotated[int, typer.Option(min=1, help="How many readings to time.")] = 50,
    encoder: EncoderName = "auto",
    as_json: AsJson = False,
) -> None:
    """Time this store on this machine: opening, reading by meaning and by both, and durable writes in a scratch store."""
    from remanence.store.measuring import measure
    from remanence.store.printing import show, statistics_table

    figures = measure(file, questions, encoder)
    if as_json:
        print(json.dumps(figures))
    else:
        show(statistics_table(figures))


def conditions(given: list[str] | None) -> list[tuple[str, str, Any]] | None:
    """Conditions as (field, operator, value) from what stands on a command line.

    >>> conditions(["speaker=Ana", "uses >= 3", "metadata.city in Lisbon,Oslo"])
    [('speaker', '=', 'Ana'), ('uses', '>=', 3), ('metadata.city', 'in', ['Lisbon', 'Oslo'])]
    """
    import re

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


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise UsageError(f'the metadata {text[:60]!r} is no JSON object: write it as \'{{"city": "Lisbon"}}\'')
    return read


def _settings(given: list[str] | None) -> dict[str, Any]:
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


def _lines(path: Path, fields: dict[str, Any]) -> Iterator[Any]:
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
