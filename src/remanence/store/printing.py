"""Tables and JSON of what a store says, for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from remanence.store.record import Hits, Receipt, Record

_WIDEST = 300
_PIPED = 160
_ID = 32


def show(what: Any) -> None:
    """Print as wide as the terminal is; wide where it goes to a file or a pipe, so that ids stay whole."""
    console = Console()
    (console if console.is_terminal else Console(width=_PIPED)).print(what)


def hits_table(hits: Hits, explain: bool) -> Table:
    """Hits, best first."""
    table = Table(title=None if hits else "nothing found")
    for column in ("score", "speaker", "said"):
        table.add_column(column, overflow="fold")
    # as wide as an id, which is there to be copied
    last = "text, id, and what put it there" if explain else "text and id"
    table.add_column(last, overflow="fold", ratio=1, min_width=_ID)
    for hit in hits:
        record = hit.record
        cells = [f"{hit.score:.2f}", _cell(record.speaker or ""), day(record.said_at), _text(record)]
        if explain:
            parts = sorted(hit.explain.items(), key=lambda part: -abs(part[1]))
            cells[-1] += "\n" + ", ".join(f"{escape(name)} {value:.2f}" for name, value in parts if value)
        table.add_row(*cells)
    return table


def hits_json(hits: Hits) -> dict[str, Any]:
    found = [{"score": hit.score, "record": hit.record.as_dict(), "explain": dict(hit.explain)} for hit in hits]
    return {"hits": found, "pending": hits.pending}


def records_table(records: Sequence[Record]) -> Table:
    """Records in order."""
    table = Table(title=None if records else "no records")
    for column in ("written", "kind", "scope", "speaker"):
        table.add_column(column, overflow="fold")
    table.add_column("text and id", overflow="fold", ratio=1, min_width=_ID)
    for record in records:
        where = (day(record.recorded_at), record.kind, record.scope, record.speaker or "")
        table.add_row(*map(_cell, where), _text(record))
    return table


def history_table(versions: Sequence[Record]) -> Table:
    """Versions, and the two times of each."""
    table = Table(title=versions[0].id)
    for column in ("version", "text", "true from", "until", "known from", "until"):
        table.add_column(column, overflow="fold")
    for one in versions:
        times = (one.valid_from, one.valid_to, one.recorded_at, one.replaced_at)
        table.add_row(str(one.version), _cell(_cut(one.text)), *map(minute, times))
    return table


def receipt_table(receipt: Receipt) -> Table:
    """What became of a request to forget."""
    table = Table(title=f"{receipt.records:,} records, {receipt.versions:,} versions", caption=receipt.checked)
    table.add_column("place")
    table.add_column("outcome")
    for place, outcome in receipt.places.items():
        table.add_row(place, outcome)
    return table


def statistics_table(found: Mapping[str, Any]) -> Table:
    """Names and numbers."""
    table = Table(show_header=False)
    for name, value in found.items():
        if isinstance(value, Mapping):
            for part, number in value.items():
                table.add_row(f"{name}, {part}", _number(number))
        else:
            table.add_row(name, _number(value))
    return table


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(record: Record) -> str:
    version = f" v{record.version}" if record.version > 1 else ""
    return f"{_cell(_cut(record.text))}\n[dim]{record.id}{version}[/]"


def _cell(text: str) -> str:
    """A text as it is, neither markup nor a command to the terminal."""
    return escape("".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text.replace("\t", " ")))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}…"


def day(at: datetime | None) -> str:
    return at.date().isoformat() if at else ""


def minute(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M") if at else ""
