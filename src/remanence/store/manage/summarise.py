"""A note for each session, document or other source, made from what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.store.manage.policy import Policy, blocks
from remanence.store.record import Link
from remanence.store.version import StoredVersion

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

TAG = "summary"


class Summarise(Policy):
    """Writes a note of a few sentences for every source with enough records, linked "made from" to each of them.

    A source that has a note gets a new version of it once records have been added. Forgetting any of its records
    forgets the note, which the next run writes anew from what is left.

    Parameters
    ----------
    least:
        Records that a source must have (2 or more).
    sentences:
        How long a note is.
    """

    @validated
    def __init__(
        self,
        least: Annotated[int, Field(ge=2, description="records that a source must have")] = 5,
        sentences: Annotated[int, Field(ge=1, le=20, description="sentences of a note")] = 3,
    ) -> None:
        self.least, self.sentences = least, sentences

    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        members: dict[str, list[StoredVersion]] = {}
        notes: dict[str, StoredVersion] = {}
        for block in blocks(store, scope, progress):
            for stored in block:
                if stored.kind == "note" and TAG in stored.record().tags:
                    notes[stored.source or ""] = stored
                elif stored.source is not None:
                    members.setdefault(stored.source, []).append(stored)
        made = 0
        for source, its in members.items():
            note = notes.get(source)
            if len(its) < self.least or (note is not None and note.recorded_at >= max(one.recorded_at for one in its)):
                continue
            text = store.language.summary([_line(one) for one in its], self.sentences)
            if text:
                self._write(store, scope, source, text, its, note)
                made += 1
        return {"summarised": made}

    @staticmethod
    def _write(
        store: Records, scope: str, source: str, text: str, stored: list[StoredVersion], note: StoredVersion | None
    ) -> None:
        with store.database.transaction():
            there = store.database.current([one.id for one in stored])
            if len(there) < len(stored):
                return  # one was forgotten while the summary was being made, and the summary may repeat it
            if note is None:
                made = store.write(text, kind="note", scope=scope, source=source, tags=[TAG]).id
            else:
                made = store.revise(note.id, text).id
            store.database.link([Link(made, one.id, "made from") for one in there], store.clock())


def _line(stored: StoredVersion) -> str:
    return f"{stored.speaker}: {stored.text}" if stored.speaker else stored.text
