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
from remanence.store.encode.older import InOldSpace, compatible
from remanence.store.where import Filter

if TYPE_CHECKING:
    from remanence.store.encode.protocol import Encoder

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
        self.failed: Exception | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changing: threading.Thread | None = None
        self._process = os.getpid()
        if encoder is not None:
            self._settle(encoder)

    def _settle(self, encoder: Encoder) -> None:
        """Find the encoder's space, or make it where the store has none at all."""
        with self.database.transaction():
            serving = self._served()
            if serving is None:
                serving = self.database.add_space(encoder.name, encoder.dimension, self.precision, serving=True)
        found = compatible(encoder)
        if found is not None and found.compatible_with == serving.name:
            self.encoder = InOldSpace(encoder, serving.dimension)
            return
        if serving.name != encoder.name:
            raise StateError(
                f"the vectors of this store are from the encoder {serving.name!r}, it was opened with "
                f"{encoder.name!r}: open it with the first, then call change_encoder"
            )
        if serving.dimension != encoder.dimension:
            raise StateError(
                f"the encoder {encoder.name!r} gives vectors of {encoder.dimension} numbers, the store holds "
                f"{serving.dimension} under that name: open it with the encoder that it was made with"
            )

    def _served(self) -> Space | None:
        return next((space for space in self.database.spaces() if space.serving), None)

    @property
    def serving(self) -> Space | None:
        """The space that reading uses.

        Raises
        ------
        StateError
            If another process has changed the store's encoder since this one opened it.
        """
        found = self._served()
        if found is not None and self.encoder is not None and found.name != self.encoder.name:
            raise StateError(
                f"the encoder of this store was changed to {found.name!r} while it was open with "
                f"{self.encoder.name!r}: open it again"
            )
        return found

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
        return encoded(self.encoder, texts)

    def encode_queued(
        self,
        limit: int | None = None,
        wanted: Filter | None = None,
        progress: Progress | None = None,
        *,
        space: Space | None = None,
    ) -> int:
        """Encode what waits, oldest first; the number of texts encoded. `space` is the one that serves, where known."""
        space = space or self.serving
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
            if len(batch) < size:
                break
        return done

    def _put(self, space: Space, batch: list[tuple[int, str]]) -> None:
        rows = np.array([row for row, _ in batch], dtype=np.int64)
        self.database.put_vectors(space, rows, self._encode([text for _, text in batch]))

    def waiting(self, wanted: Filter | None = None) -> int:
        """How many texts still lack a vector."""
        space = self._served()
        return self.database.queue_length(space, wanted) if space else 0

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
                if not stop.is_set():
                    self.database.optimize()
            except Exception as error:
                # The queue keeps what failed; the next reading meets the same error and shows it
                self.failed = error

    def close(self) -> None:
        if self._changing is not None and self._process == os.getpid():
            self._stop.set()
            self._changing.join(timeout=30)
        if self._thread is not None and self._process == os.getpid():
            self._stop.set()
            self._wake.set()
            self._thread.join(timeout=30)
            self._thread = None

    # Another encoder

    def change(self, encoder: Encoder, progress: Progress | None = None, *, wait: bool = True) -> None:
        """Encode everything anew while the old vectors serve, then let the new ones serve.

        What was encoded stays when this is stopped: called again, it goes on.
        """
        old = self._served()
        if old is not None and old.name == encoder.name:
            return
        with self.database.transaction():
            space = next((one for one in self.database.spaces() if one.name == encoder.name), None)
            if space is None:
                space = self.database.add_space(encoder.name, encoder.dimension, self.precision, serving=old is None)
        if wait:
            self._change(encoder, space, progress)
            return
        self._changing = threading.Thread(
            target=self._change, args=(encoder, space, progress), name="remanence-changing", daemon=True
        )
        self._changing.start()

    def _change(self, encoder: Encoder, space: Space, progress: Progress | None) -> None:
        done, total = 0, self.database.queue_length(space)
        while not self._stop.is_set():
            batch = self.database.queued(space, _BATCH)
            if not batch:
                with self.database.transaction():
                    if self.database.queue_length(space):
                        continue  # something was written in this moment
                    self.database.serve(space)
                    self.encoder = encoder
                return
            rows = np.array([row for row, _ in batch], dtype=np.int64)
            self.database.put_vectors(space, rows, encoded(encoder, [text for _, text in batch]))
            done += len(batch)
            if progress:
                progress(done, max(total, done))


def encoded(encoder: Encoder, texts: list[str]) -> Vectors:
    """The vectors of texts, checked."""
    vectors: NDArray[np.float32] = np.asarray(encoder.encode(texts), dtype=np.float32)
    if vectors.shape != (len(texts), encoder.dimension):
        raise StateError(
            f"the encoder {encoder.name!r} gave an array of {vectors.shape} for {len(texts)} texts, expected "
            f"({len(texts)}, {encoder.dimension})"
        )
    if not np.isfinite(vectors).all():
        raise StateError(f"the encoder {encoder.name!r} gave numbers that are not finite: check the model")
    return vectors
