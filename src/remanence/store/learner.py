"""A text memory as a learner: records arrive as experiences, questions are answered with the rows that say so."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from remanence.errors import StateError, Unsupported
from remanence.learner import Answer, Learner, Request, Update
from remanence.learner import Removal as Outcome
from remanence.store import transfer
from remanence.store.database.sqlite import SqliteDatabase
from remanence.store.encode.one_by_one import OneByOne
from remanence.store.memories.base import ROWS, Memory
from remanence.store.store import Store
from remanence.store.times import instant
from remanence.store.where import Filter
from remanence.streams.experience import Task
from remanence.streams.written import unpack

if TYPE_CHECKING:
    from remanence.streams.experience import Experience

_SECOND = 1_000_000
_BEGIN = 946_684_800 * _SECOND
"""The instant (2000-01-01) from which inputs that say no time are a second apart."""

ENCODER = "minilm"


class TextMemory(Learner):
    """Runs a text memory on a stream of records and questions.

    The store lies in a temporary file. Its time is that of the stream, its ids follow from seed and position, and
    every text is encoded by itself, so that a run gives the same bits however it was interrupted.

    Parameters
    ----------
    memory:
        The composition.
    metric:
        How the stream scores answers, such as ``recall@5``: which says how many rows an answer names.
    seed:
        From which ids are derived.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"retrieval"})
    takes: ClassVar[frozenset[str] | None] = frozenset()
    kind: ClassVar[str] = "files"
    batch_size = 1
    probes = 2
    """How often it is asked within an experience: every question is a search, and records come one by one."""

    def __init__(self, memory: Memory, metric: str, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.memory, self.task = memory, Task("retrieval", metric)
        self._time = _BEGIN
        self._made = 0
        self._encoder = OneByOne(ENCODER)
        self._folder = tempfile.TemporaryDirectory(prefix="remanence-")
        self._opened = 0
        self.store = self._fresh_store()

    def _fresh_store(self) -> Store:
        self._opened += 1
        database = SqliteDatabase(Path(self._folder.name) / f"{self._opened}.db", durable=False)
        store = Store(database, self._encoder, background=False, clock=lambda: self._time, ids=self._fresh_id)
        self.memory.on(store)
        return store

    def _fresh_id(self) -> str:
        self._made += 1
        return hashlib.sha256(f"{self.seed} {self._made}".encode()).hexdigest()[:32]

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        total = len(experience.examples)
        for place in range(start, total):
            rows = experience.examples.learn(torch.tensor([place]))
            given = unpack(rows.x)[0]
            self._take_in(given, int(rows.ids[0]))
            if place == total - 1 and experience.boundary:
                self.memory.session_end(given.get("scope", ""))
            yield Update(examples=1)

    def _take_in(self, given: dict[str, Any], row: int) -> None:
        said = instant(given.get("said_at"), "said_at")
        self._time = max(self._time + 1, said) if said is not None else self._time + _SECOND
        metadata = {**given.get("metadata", {}), ROWS: [row]}
        self.memory.write({**given, "metadata": metadata})

    def _rest(self, budget: int) -> Iterator[Update]:
        if budget > 0:
            self.memory.rest()
            yield Update()

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        k = self.task.k
        records = torch.full((len(x), k), -1, dtype=torch.int64)
        scores = torch.zeros((len(x), k))
        self.store.encode()
        empty = not len(self.store)
        for place, asked in enumerate(unpack(x)):
            # A row that is a record (asked about before it is learned) is taken as a question in its own words
            question, scope = asked.get("question") or asked["text"], asked.get("scope", "")
            if empty or (scope and scope not in self.store.scopes()):
                continue
            found: dict[int, float] = {}
            for hit in self.memory.read(question, k, scope):
                for row in hit.record.metadata.get(ROWS, ()):
                    found.setdefault(int(row), hit.score)
            # A record that was made of several rows counts as all of them: k rows are named, however few records
            named = list(found.items())[:k]
            records[place, : len(named)] = torch.tensor([row for row, _ in named], dtype=torch.int64)
            scores[place, : len(named)] = torch.tensor([score for _, score in named])
        return Answer(scores, (), records)

    # Forgetting

    def _forget(self, request: Request) -> tuple[dict[str, Outcome], int, str]:
        if not request.ids:
            raise Unsupported("a text memory forgets rows by their ids, and none was given: name them")
        wanted = set(request.ids)
        every = Filter(scope=None, history=True)
        ids = {t.id for t in self.store.database.find(every) if wanted & set(json.loads(t.metadata).get(ROWS, ()))}
        if not ids:
            return {"text": "removed"}, 0, "no record was made from those rows"
        receipt = self.store.forget(sorted(ids))
        self._encoder.forget_all()
        places: dict[str, Outcome] = {p: "removed" if o == "removed" else "remains" for p, o in receipt.places.items()}
        return places, len(receipt.ids), receipt.checked

    # What it costs, keeping and coming back

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        yield from (("files", tensor) for tensor in self._tensors().values())
        for tensors, _ in self._snapshots.values():
            yield from (("snapshots", tensor) for tensor in tensors.values())

    def _tensors(self) -> dict[str, Tensor]:
        """What the store holds: its versions and links as text, and the vectors in the same order."""
        self.store.encode()
        lines, rows = [], []
        for told in self.store.database.export_rows():
            lines.append(json.dumps(transfer.readable(told), ensure_ascii=False))
            rows.append(told.row)
        lines += [json.dumps(transfer.readable_link(link)) for link in self.store.database.links()]
        text = "\n".join(lines).encode()
        space = self.store.encoding.serving
        if space is None:
            raise StateError("the store of a text memory has no encoder: make the learner anew")
        _, vectors = self.store.database.vectors(space, np.array(rows, dtype=np.int64))
        learned = {f"learned.{name}": torch.from_numpy(array.copy()) for name, array in self.memory.arrays().items()}
        return {
            **learned,
            "records": torch.frombuffer(bytearray(text), dtype=torch.uint8)
            if text
            else torch.empty(0, dtype=torch.uint8),
            "vectors": torch.from_numpy(vectors.copy()),
        }

    def structure(self) -> dict[str, Any]:
        return {"memory": self.memory.state(), "time": self._time, "made": self._made}

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {f"state.{name}": tensor for name, tensor in self._tensors().items()}, self.structure()

    def _set_state(self, tensors: dict[str, Tensor], structure: dict[str, Any]) -> None:
        self._time, self._made = int(structure["time"]), int(structure["made"])
        self.store.close()
        self.store = self._fresh_store()
        lines = bytes(tensors["state.records"].tolist()).decode().splitlines()
        versions = transfer.restore_lines(self.store, [json.loads(line) for line in lines])
        space = self.store.encoding.serving
        if space is not None and versions:
            rows = self.store.database.matching(Filter(scope=None, history=True))
            self.store.database.put_vectors(space, rows, tensors["state.vectors"].numpy())
        self.memory.set_state(_plain(structure["memory"]))
        prefix = "state.learned."
        self.memory.set_arrays(
            {n.removeprefix(prefix): t.numpy().copy() for n, t in tensors.items() if n.startswith(prefix)}
        )


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(dict(state))))
