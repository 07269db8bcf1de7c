"""Reading: candidates by meaning and by words, fused into hits."""

from __future__ import annotations

import re
from typing import Any

from remanence.errors import UsageError
from remanence.store.database.base import Database
from remanence.store.encoding import AT_ONCE, Encoding
from remanence.store.record import Hit, Hits
from remanence.store.where import Filter

MODES = ("hybrid", "dense", "text")
_WORD = re.compile(r"\w+")


class Reader:
    """Reads one store."""

    def __init__(self, database: Database, encoding: Encoding) -> None:
        self.database, self.encoding = database, encoding

    def read(self, question: str, k: int, wanted: Filter, *, mode: str, explain: bool, **options: Any) -> Hits:
        if mode not in MODES:
            raise UsageError(f"the mode is {mode!r}, expected one of {', '.join(MODES)}")
        scores: dict[int, dict[str, float]] = {}
        space = self.encoding.serving
        if mode != "text" and space is not None and self.encoding.encoder is not None:
            self.encoding.encode_queued(AT_ONCE, wanted)
            vector = self.encoding.question(question)
            if vector is not None:
                for place, row in enumerate(self.database.dense(space, vector, 4 * k, wanted)[0].tolist()):
                    scores.setdefault(row, {})["dense"] = 1 / (60 + place)
        if mode != "dense":
            for place, row in enumerate(
                self.database.words(_WORD.findall(question.lower()), 4 * k, wanted)[0].tolist()
            ):
                scores.setdefault(row, {})["words"] = 1 / (60 + place)
        best = sorted(scores, key=lambda row: -sum(scores[row].values()))[:k]
        told = self.database.told(best)
        waiting = self.encoding.waiting(wanted) if mode != "text" else 0
        return Hits(
            (Hit(one.record(), sum(scores[one.row].values()), scores[one.row] if explain else {}) for one in told),
            waiting,
        )
