"""A text memory as a learner: records arrive as experiences, questions are answered with the rows that say so.

Where an answer is a text, a language model reads those rows, and its reply is the answer.
"""

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

from remanence.answer import Answer
from remanence.errors import BudgetError, Unsupported
from remanence.footprint import format_bytes
from remanence.learner import Learner
from remanence.models.reader import Reader, answered, question_of, reader
from remanence.request import Removal as Outcome
from remanence.request import Request
from remanence.store import transfer
from remanence.store.database.sqlite import SqliteDatabase
from remanence.store.encode.unbatched import UnbatchedEncoder
from remanence.store.memories.base import ROWS, Memory, rows_of
from remanence.store.reader_settings import ReaderSettings
from remanence.store.store import Store
from remanence.store.times import instant
from remanence.store.where import Filter
from remanence.streams.experience import Task
from remanence.streams.text_rows import unpack
from remanence.update import Update

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
    task:
        What the stream asks, and how it scores answers, such as ``recall@5``: which says how many rows an answer
        names.
    reading:
        Which language model reads how many records, where an answer is a text. They are read in the order in which
        they arrived, and the model's weights are no part of the memory.
    budget:
        The largest footprint in bytes. The oldest records go when it is passed.
    seed:
        From which ids are derived.

    Raises
    ------
    BudgetError
        If what is kept of a single input is larger than the budget.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"retrieval", "answering"})
    training_settings_used: ClassVar[frozenset[str] | None] = frozenset()
    kind: ClassVar[str] = "files"
    batch_size = 1
    probes = 2
    """How often it is asked within an experience: every question is a search, and records come one by one."""

    def __init__(
        self,
        memory: Memory,
        task: Task,
        reader_settings: ReaderSettings | None = None,
        *,
        budget: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        self.memory, self.task, self.budget = memory, task, budget
        self.reader_settings = reader_settings or ReaderSettings()
        # Loaded now, so that a model that is not there is said before anything is learned
        self._reader: Reader | None = reader(self.reader_settings.language_model) if task.kind == "answering" else None
        if task.kind == "answering":
            self.probes = 1  # a reply takes a language model, and a question is asked after every experience anyway
        self._time = _BEGIN
        self._made = 0
        self._encoder = UnbatchedEncoder(ENCODER)
        self._folder = tempfile.TemporaryDirectory(prefix="remanence-")
        self._opened = 0
        self.store = self._fresh_store()

    def _fresh_store(self) -> Store:
        self._opened += 1
        database = SqliteDatabase(Path(self._folder.name) / f"{self._opened}.db", durable=False)
        encoder = self._encoder if self.memory.needs_vectors else None
        store = Store(database, encoder, background=False, clock=lambda: self._time, ids=self._fresh_id)
        self.memory.bind(store)
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
            self.enforce_budget()
            yield Update(examples=1)

    def _take_in(self, given: dict[str, Any], row: int) -> None:
        said = instant(given.get("said_at"), "said_at")
        self._time = max(self._time + 1, said) if said is not None else self._time + _SECOND
        metadata = {**given.get("metadata", {}), ROWS: [row]}
        self.memory.write({**given, "metadata": metadata})

    def _consolidate(self, budget: int) -> Iterator[Update]:
        if budget > 0:
            self.memory.consolidate()
            self.enforce_budget()
            yield Update()

    def enforce_budget(self) -> None:
        """Keep the budget: the oldest records go first."""
        while self.budget is not None and (held := self.footprint().total) > self.budget:
            found = self.store.database.find(Filter(scope=None, history=True))
            rows = sorted({row for version in found for row in json.loads(version.metadata).get(ROWS, ())})
            if len(rows) < 2:
                raise BudgetError(
                    f"{self.recipe.system if self.recipe else type(self.memory).__name__} holds {format_bytes(held)} "
                    f"for the newest input alone, more than the budget of {format_bytes(self.budget)}: raise --budget"
                )
            excess = (held - self.budget) * len(rows) // held
            self._forget(Request(ids=tuple(rows[: max(1, excess)])))

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        return self._named(x) if self._reader is None else self._read(x, self._reader)

    def _read(self, x: Tensor, reader: Reader) -> Answer:
        """Replies of the language model to what it reads of the records found, and the rows those came from."""
        self.store.encode()
        replies = []
        records = torch.full((len(x), self.reader_settings.records), -1, dtype=torch.int64)
        for place, asked in enumerate(unpack(x)):
            question, length = question_of(asked)
            scope = asked.get("scope", "")
            there = len(self.store) and (not scope or scope in self.store.scopes())
            hits = self.memory.read(question, self.reader_settings.records, scope) if there else ()
            # In the order in which they arrived: of two that disagree, the later one is read last
            lines = sorted((rows_of([hit.record]) or [-1], hit.record.text) for hit in hits)
            context = "".join(f"{text.rstrip()}\n" for _, text in lines)
            replies.append(reader.answer(context, question, length))
            named = rows_of(hit.record for hit in hits)[: self.reader_settings.records]
            records[place, : len(named)] = torch.tensor(named, dtype=torch.int64)
        return answered(replies, records)

    def _named(self, x: Tensor) -> Answer:
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
        """What the store holds: its versions and links as text, and the vectors, where there are any, in that order."""
        self.store.encode()
        lines, rows = [], []
        for stored in self.store.database.export_rows():
            lines.append(json.dumps(transfer.readable(stored), ensure_ascii=False))
            rows.append(stored.row)
        lines += [json.dumps(transfer.readable_link(link)) for link in self.store.database.links()]
        text = "\n".join(lines).encode()
        space = self.store.encoding.serving
        vectors = np.empty(0, dtype=np.float32)
        if space is not None:
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
