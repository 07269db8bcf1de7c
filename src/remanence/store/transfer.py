"""A whole store as JSON lines, versions and links included, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError
from remanence.files import whole_file
from remanence.formats import Format
from remanence.store.database import descriptors
from remanence.store.draft import draft
from remanence.store.record import Link
from remanence.store.times import instant, moment
from remanence.store.version import StoredVersion, version_of

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

FORMAT = Format("remanence-store", 1)
_TIMES = ("said_at", "recorded_at", "replaced_at", "valid_from", "valid_to", "closed_to", "used_at")
_BLOCK = 2000


def export(store: Records, path: str | os.PathLike[str], progress: Progress | None) -> int:
    """Write a line that names the format, a line for each version, oldest first, and a line for each link."""
    path = _target(path)
    total = int(store.database.statistics()["versions"])
    done = 0
    with whole_file(path) as file:

        def line(content: dict[str, Any]) -> None:
            file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")

        line({"format": str(FORMAT)})
        for stored in store.database.export_rows():
            line(readable(stored))
            done += 1
            if progress and done % _BLOCK == 0:
                progress(done, total)
        for link in store.database.links():
            line(readable_link(link))
    if progress:
        progress(done, total)
    return done


def _path(given: str | os.PathLike[str], what: str) -> Path:
    if not isinstance(given, str | os.PathLike) or not os.fspath(given):
        raise UsageError(f"{str(given)[:80]!r} is no path to {what}: name a file")
    return Path(given)


def _target(given: str | os.PathLike[str]) -> Path:
    """Where an export may go: an export takes its file's place whole, so never that of a store or of a device."""
    path = _path(given, "export to")
    if path.exists() and not path.is_dir():
        if not path.is_file():
            raise UsageError(f"{path} is no regular file: name one to export to")
        if descriptors.keeps(path) or _is_database(path):
            raise UsageError(f"{path} is a database, which the export would replace: name another file")
    return path


def _is_database(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\x00"


def readable(stored: StoredVersion) -> dict[str, Any]:
    """A version as a JSON-able line, times in ISO 8601."""
    known = asdict(stored)
    del known["row"]
    known["tags"], known["metadata"] = json.loads(stored.tags), json.loads(stored.metadata)
    for name in _TIMES:
        at = moment(known[name])
        known[name] = at.isoformat() if at else None
    return {"record": {name: value for name, value in known.items() if value not in (None, [], {})}}


def readable_link(link: Link) -> dict[str, Any]:
    """A link as a JSON-able line."""
    return {"link": {**asdict(link), "made_at": link.made_at.isoformat() if link.made_at else None}}


def import_(store: Records, path: str | os.PathLike[str], progress: Progress | None) -> int:
    """Read what `export` wrote into a store, all of it or nothing."""
    source = _path(path, "import")
    if descriptors.keeps(source):
        raise UsageError(f"{source} is the file of a store that is open: give one that export wrote")
    if not source.is_file():
        raise UsageError(f"there is no file {source} to import: give one that export wrote")
    with open(source, "rb") as file:
        lines = (_line(source, number, raw) for number, raw in enumerate(file, 1))
        if FORMAT.version_in(next(lines, {}).get("format"), source) is None:
            raise UsageError(f"{source} was not written by export: its first line does not name {str(FORMAT)!r}")
        done = restore_lines(store, lines, str(source), progress)
    store.encoding.written()
    return done


def restore_lines(
    store: Records, lines: Iterable[dict[str, Any]], source: str = "the saved state", progress: Progress | None = None
) -> int:
    """Write versions and links as `readable` and `readable_link` told them, all or none; the number of versions."""
    done = 0
    block: list[StoredVersion] = []

    def write() -> None:
        if block:
            store.database.restore(block)
            block.clear()

    with store.database.transaction():
        for number, content in enumerate(lines, 2):
            if "record" in content:
                block.append(_version(source, number, content["record"]))
                done += 1
                if len(block) == _BLOCK:
                    write()
                    if progress:
                        progress(done, 0)
            elif "link" in content:
                write()
                made = instant(content["link"].get("made_at"), "made_at") if isinstance(content["link"], dict) else None
                store.database.link([_link(source, number, content["link"])], store.clock() if made is None else made)
            else:
                raise UsageError(f"line {number} of {source} is neither a record nor a link: use an intact export")
        write()
    if progress:
        progress(done, done)
    return done


def _line(source: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        content = json.loads(raw)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UsageError(f"line {number} of {source} is no JSON object: use an intact export; nothing was imported")
    return content


def _version(source: str, number: int, given: Any) -> StoredVersion:
    known = {field.name for field in fields(StoredVersion)} - {"row"}
    if not isinstance(given, dict) or not given.keys() <= known or not {"id", "text", "recorded_at"} <= given.keys():
        raise UsageError(
            f"line {number} of {source} is no version of a record: use an intact export; nothing was imported"
        )
    times = {name: instant(given.get(name), name) for name in _TIMES}
    writable = {"text", "kind", "scope", "speaker", "source", "tags", "metadata", "strength", "parent", "id"}
    checked = draft({name: value for name, value in given.items() if name in writable})
    stored = version_of(checked, times.pop("recorded_at") or 0, _count(source, number, given.get("version", 1), 1))
    return StoredVersion(**{**asdict(stored), **times, "uses": _count(source, number, given.get("uses", 0), 0)})


def _count(source: str, number: int, given: Any, least: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not least <= given < 2**31:
        raise UsageError(
            f"line {number} of {source} counts {str(given)[:40]!r}, expected a whole number of {least} or more"
        )
    return given


def _link(source: str, number: int, given: Any) -> Link:
    try:
        return Link(str(given["source"]), str(given["target"]), str(given["relation"]), float(given["weight"]))
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"line {number} of {source} is no link: use an intact export; nothing was imported") from None
