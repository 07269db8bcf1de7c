"""The command `remanence store`. What it prints comes from `printing`; heavy modules are imported when needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from remanence.errors import UsageError
from remanence.store import command_upkeep
from remanence.store.command_line import (
    AsJson,
    EncoderName,
    File,
    Id,
    Scope,
    Text,
    Where,
    conditions,
    lines_of,
    object_of,
    opened,
    progressing,
)

app = typer.Typer(
    help="Long-term memory in one file: write, find, revise, and really forget.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
        "metadata": object_of(metadata),
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if (text is None) == (lines is None):
        raise UsageError("give either a text or --lines FILE")
    said = sys.stdin.read() if text == "-" else text or ""
    with opened(file, encoder, create=True) as store, progressing("writing", as_json) as progress:
        if lines is not None:
            ids = store.write_many(lines_of(lines, fields), wait=wait, progress=progress)
            print(json.dumps(ids) if as_json else f"{len(ids):,} records written")
            return
        record = store.write(said, wait=wait, **fields)
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


for _command in (
    command_upkeep.consolidate,
    command_upkeep.encode,
    command_upkeep.export,
    command_upkeep.import_,
    command_upkeep.stats,
    command_upkeep.doctor,
    command_upkeep.bench,
):
    app.command(name=_command.__name__.rstrip("_"))(_command)
