"""From the queue of texts to vectors: before a reading, in the background, or when the encoder changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from remanence.errors import StateError, UsageError
from remanence.store.database.base import Database, Space, Vectors
from remanence.store.where import Filter

if TYPE_CHECKING:
    from remanence.store.encode import Encoder

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

AT_ONCE = 256
"""Texts that one reading encodes before it answers; what is left is reported as pending."""

_BATCH = 64


class Encoding:
    """The encoder of a store, and the spaces that its vectors live in.

    Parameters
    ----------
    database:
        Where texts wait and vectors go.
    encoder:
        What turns texts into vectors; None for a store that is read by words alone.
    precision:
        ``float32`` or ``float16``: how vectors of a new space are kept.
    background:
        Whether a thread encodes what is written, while nobody reads.
    """

    def __init__(self, database: Database, encoder: Encoder | None, precision: str, background: bool) -> None:
        if precision not in ("float32", "float16"):
            raise UsageError(f"the precision is {precision!r}, expected 'float32' or 'float16'")
        self.database, self.encoder, self.background = database, encoder, background
        self.precision = precision
        self._spaces: list[Space] = database.spaces()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        if encoder is not None:
            self._settle(encoder)

    def _settle(self, encoder: Encoder) -> None:
        """Find the encoder's space, or make it where the store has none at all."""
        with self.database.transaction():
            self._spaces = self.database.spaces()
            mine = next((space for space in self._spaces if space.name == encoder.name), None)
            if mine is None:
                if self._spaces:
                    raise StateError(
                        f"the vectors of this store are from the encoder {self._spaces[0].name!r}, it was opened with "
                        f"{encoder.name!r}: open it with the first, then call change_encoder"
                    )
                mine = self.database.add_space(encoder.name, encoder.dimension, self.precision, serving=True)
                self._spaces = self.database.spaces()
        if mine.dimension != encoder.dimension:
            raise StateError(
                f"the encoder {encoder.name!r} gives vectors of {encoder.dimension} numbers, the store holds "
                f"{mine.dimension} under that name: open it with the encoder that it was made with"
            )

    @property
    def spaces(self) -> list[Space]:
        """The spaces that a new version has to be queued for."""
        return self._spaces

    @property
    def serving(self) -> Space | None:
        return next((space for space in self._spaces if space.serving), None)

    def question(self, text: str) -> Vectors | None:
        """The vector of a question, unit length; None for a store without an encoder."""
        if self.encoder is None:
            return None
        found: Vectors = self._encode([text])[0]
        return found

    def texts(self, texts: list[str]) -> Vectors:
        """Vectors of texts that are not written (queries, triples)."""
        if self.encoder is None:
            raise StateError("this store was opened without an encoder: open it with encoder='minilm'")
        return self._encode(texts)

    def _encode(self, texts: list[str]) -> Vectors:
        if self.encoder is None:
            raise StateError("this store was opened without an encoder: open it with encoder='minilm'")
        vectors: NDArray[np.float32] = np.asarray(self.encoder.encode(texts), dtype=np.float32)
        if vectors.shape != (len(texts), self.encoder.dimension):
            raise StateError(
                f"the encoder {self.encoder.name!r} gave an array of {vectors.shape} for {len(texts)} texts, expected "
                f"({len(texts)}, {self.encoder.dimension})"
            )
        if not np.isfinite(vectors).all():
            raise StateError(f"the encoder {self.encoder.name!r} gave numbers that are not finite: check the model")
        return vectors

    def encode_queued(
        self, limit: int | None = None, wanted: Filter | None = None, progress: Progress | None = None
    ) -> int:
        """Encode what waits, oldest first; the number of texts encoded."""
        space = self.serving
        if space is None or self.encoder is None:
            return 0
        done = 0
        total = self.database.queue_length(space, wanted) if progress else 0
        while limit is None or done < limit:
            size = _BATCH if limit is None else min(_BATCH, limit - done)
            batch = self.database.queued(space, size, wanted)
            if not batch:
                break
            self._put(space, batch)
            done += len(batch)
            if progress:
                progress(done, max(total, done))
        return done

    def _put(self, space: Space, batch: list[tuple[int, str]]) -> None:
        rows = np.array([row for row, _ in batch], dtype=np.int64)
        self.database.put_vectors(space, rows, self._encode([text for _, text in batch]))

    def waiting(self, wanted: Filter | None = None) -> int:
        """How many texts still lack a vector."""
        return self.database.queue_length(self.serving, wanted) if self.serving else 0

    # In the background

    def written(self) -> None:
        """Something was queued: let the thread take it."""
        if not self.background or self.encoder is None:
            return
        if self._process != os.getpid() or self._thread is None or not self._thread.is_alive():
            self._process = os.getpid()
            self._wake, self._stop = threading.Event(), threading.Event()
            self._thread = threading.Thread(target=self._work, name="remanence-encoding", daemon=True)
            self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        wake, stop = self._wake, self._stop
        while not stop.is_set():
            wake.wait()
            wake.clear()
            try:
                while not stop.is_set() and self.encode_queued(limit=_BATCH):
                    pass
            except Exception as error:
                # The queue keeps what failed; the next reading meets the same error and shows it
                self.failed: Exception | None = error

    def close(self) -> None:
        if self._thread is not None and self._process == os.getpid():
            self._stop.set()
            self._wake.set()
            self._thread.join(timeout=30)
            self._thread = None

    # Another encoder

    def change(self, encoder: Encoder, progress: Progress | None = None) -> None:
        """Encode everything anew while the old vectors still serve, then let the new ones serve."""
        old = self.encoder
        with self.database.transaction():
            space = next((one for one in self.database.spaces() if one.name == encoder.name), None)
            if space is None:
                space = self.database.add_space(
                    encoder.name, encoder.dimension, self.precision, serving=not self.database.spaces()
                )
            self._spaces = self.database.spaces()
        if old is not None and old.name == encoder.name:
            return
        done, total = 0, self.database.queue_length(space)
        maker = Encoding.__new__(Encoding)
        maker.database, maker.encoder = self.database, encoder
        while batch := self.database.queued(space, _BATCH):
            maker._put(space, batch)
            done += len(batch)
            if progress:
                progress(done, max(total, done))
        self.database.serve(space)
        self.encoder = encoder
        self._spaces = self.database.spaces()
