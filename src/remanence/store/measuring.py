"""Timing one store where it lies."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from remanence.errors import UsageError
from remanence.store.connect import open as open_store
from remanence.store.where import Filter

WRITES = 200


def measure(address: str, questions: int, encoder: str) -> dict[str, Any]:
    """Milliseconds, the medians of several; questions are the first words of the store's own records.

    The durable writes go to a scratch store beside the file, which is removed again.
    """
    chosen = None if encoder == "none" else encoder
    begun = time.perf_counter()
    with open_store(address, encoder=chosen, create=False, background=False) as store:
        opening = _milliseconds(begun)
        records = len(store)
        if not records:
            raise UsageError(f"the store {address} is empty: write to it before measuring")
        told = store.database.find(Filter(scope=None, now=store.clock()), questions)
        asked = [" ".join(one.text.split()[:12]) for one in told]
        figures: dict[str, Any] = {"records": records, "opening, ms": opening}
        space = store.encoding.serving
        if store.encoding.encoder is not None and space is not None:
            vectors = [store.encoding.question(text) for text in asked]
            figures["encoding a question, ms"] = _each(lambda k: store.encoding.question(asked[k] + "?"), len(asked))
            everywhere = Filter(scope=None, now=store.clock())
            figures["reading by meaning without encoding, ms"] = _each(
                lambda k: store.database.dense(space, vectors[k], 10, everywhere),  # type: ignore[arg-type]
                len(asked),
            )
            figures["reading by both, ms"] = _each(lambda k: store.read(asked[k], 10, scope="*"), len(asked))
        figures["reading by words, ms"] = _each(lambda k: store.read(asked[k], 10, scope="*", mode="text"), len(asked))
    figures["a durable write, ms"] = _writes(Path(address).absolute().parent if "://" not in address else Path.cwd())
    return figures


def _writes(folder: Path) -> float:
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".bench-", ignore_cleanup_errors=True) as scratch,
        open_store(Path(scratch) / "scratch.db", encoder=None) as store,
    ):
        return _each(lambda k: store.write(f"a record of some words, number {k}", speaker="bench"), WRITES)


def _each(action: Any, count: int) -> float:
    taken = []
    for k in range(count):
        begun = time.perf_counter()
        action(k)
        taken.append(_milliseconds(begun))
    return median(taken)


def _milliseconds(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
