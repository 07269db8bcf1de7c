"""Records that say the same become one; the others end, and stay in history."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.store.manage.policy import Policy, blocks, exactly, vectors_of
from remanence.store.record import Link
from remanence.store.times import moment
from remanence.store.version import StoredVersion

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

_WORD = re.compile(r"\w+")
_NEAR = 8


class Merge(Policy):
    """Of records of one scope and speaker that say the same, the earliest stays.

    Two say the same where their words are equal, or where their vectors and their words are alike enough: numbers
    and names must agree, since they are what near-equal sentences differ in. The later one's validity ends and
    a link "same as" leads to the one that stays, whose use count and strength take up its own.

    Parameters
    ----------
    alike:
        The least cosine of their vectors (0 to 1).
    shared:
        The least share of their words that both have (0 to 1).
    """

    @validated
    def __init__(
        self,
        alike: Annotated[float, Field(ge=0, le=1, description="least cosine of two records' vectors")] = 0.95,
        shared: Annotated[float, Field(ge=0, le=1, description="least share of common words")] = 0.8,
    ) -> None:
        self.alike, self.shared = alike, shared

    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        space = store.encoding.serving
        seen: dict[tuple[str | None, tuple[str, ...]], str] = {}
        gone: set[str] = set()
        for block in blocks(store, scope, progress):
            rows, found = vectors_of(store, block)
            vectors = dict(zip(rows.tolist(), found, strict=True))
            for stored in block:
                key = (stored.speaker, tuple(words(stored.text)))
                first = seen.setdefault(key, stored.id)
                if first == stored.id and space is not None and stored.row in vectors:
                    near, scores = store.database.dense(space, vectors[stored.row], _NEAR, exactly(store, scope))
                    alike = [
                        row for row, score in zip(near.tolist(), scores.tolist(), strict=True) if score >= self.alike
                    ]
                    earlier = [other for other in store.database.stored(alike) if other.row < stored.row]
                    first = next(
                        (o.id for o in earlier if o.id not in gone and self._same(o, stored, scope)), stored.id
                    )
                if first != stored.id:
                    self._end(store, stored, first)
                    gone.add(stored.id)
        return {"merged": len(gone)}

    def _same(self, a: StoredVersion, b: StoredVersion, scope: str) -> bool:
        if a.scope != scope or a.speaker != b.speaker or a.kind != b.kind:
            return False
        one, other = set(words(a.text)), set(words(b.text))
        if _telling(a.text) != _telling(b.text):
            return False
        return len(one & other) >= self.shared * max(1, len(one | other))

    @staticmethod
    def _end(store: Records, stored: StoredVersion, kept: str) -> None:
        with store.database.transaction():
            current = store.database.current([stored.id, kept])
            if len(current) < 2 or current[0].version != stored.version:
                return  # somebody changed or forgot one of them in the meantime
            stays = current[1]
            now = moment(store.clock())
            store.revise(stored.id, valid_from=now, valid_to=now)
            store.database.link([Link(stored.id, kept, "same as")], store.clock())
            store.database.adjust([stays.row], strength=[stays.strength + stored.strength])


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.lower())


def _telling(text: str) -> set[str]:
    """Numbers, and words with a capital that do not begin the sentence."""
    found = _WORD.findall(text)
    return {
        word for place, word in enumerate(found) if word.isdigit() or (place and word[:1].isupper() and word != "I")
    }
