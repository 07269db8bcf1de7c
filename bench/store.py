"""The store in a file, at 100,000 and a million records, and Chroma, LanceDB and mem0 beside it at 100,000.

Texts are made as `bench.store_texts` says: natural word frequencies, a thousand scopes, sessions of twenty
records. Vectors and the 512 queries of dense reading are those of `bench.store_index`: MiniLM's, enlarged by
mixtures of neighbours. Vectors are put in as they are and questions find theirs in a table, so that nothing is
encoded. Every stage runs in a fresh process on one thread. Where a unit says processor time, that is what the
figure is (the machine may have other work), with the time on the clock in the column of the other; what waits
for the disk is measured on the clock.

- A durable write is one `Store.write` into a store of 100,000; the other process's figure is that with the
  packaged encoder working in the background.
- In bulk: `Store.write_many` of 100,000 records, which are found by their words then.
- Dense reading: `database.dense` of ten over all scopes; recall@10 is against all float32 vectors.
- Hybrid reading: `Store.read` of ten, for 256 questions about LoCoMo and MuSiQue, over all scopes and in one.
- Opening: until `open` returns, with the first dense search after it in the other column.
- Disk: every file of the store, less the characters of the texts. Memory: anonymous, after opening and all
  the reading above, without an encoder's model.

Peers get the same records with the same vectors (their own full-text search has no part in it), in an
environment beside `bench.peers`; see `bench.store_peers`. The folder is a temporary one, or the one that
REMANENCE_BENCH names, which is kept and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
ROWS = (100_000, 1_000_000)
PART = 100_000
BLOCK = 5_000
QUESTIONS = 256
WRITES = 300
K = 10
DIMENSION = 384
GB, MB = 1e9, 1e6


class Prepared:
    """An encoder that looks vectors up in a table, and encodes (and remembers) what is not there.

    Parameters
    ----------
    folder:
        Where the table is; empty where there is none yet.
    """

    name, dimension = "prepared", DIMENSION

    def __init__(self, folder: Path) -> None:
        self.path = folder / "asked.npz"
        self.known: dict[str, NDArray[np.float32]] = {}
        self.missed = 0
        if self.path.exists():
            held = np.load(self.path)
            self.known = dict(zip(held["texts"].tolist(), held["vectors"], strict=True))

    def encode(self, given: Sequence[str]) -> NDArray[np.float32]:
        missing = [text for text in given if text not in self.known]
        if missing:
            from remanence.store.encode import encoder

            self.missed += len(missing)
            self.known |= dict(zip(missing, encoder("minilm").encode(missing), strict=True))
        return np.stack([self.known[text] for text in given])

    def save(self) -> None:
        np.savez(self.path, texts=np.array(list(self.known)), vectors=np.stack(list(self.known.values())))


def opened(folder: Path, name: str, **settings: Any) -> Any:
    from remanence.store import open as open_store

    return open_store(folder / f"{name}.db", encoder=Prepared(folder), background=False, **settings)


# ---- stages, each in a process of its own


def build(folder: Path, rows: int, precision: str = "float32") -> dict[str, Any]:
    """Fill a store, as far as it is not filled yet; how long each step took."""
    from bench.store_texts import records

    name = f"{precision}-{rows}"
    vectors = np.load(folder / f"vectors{max(ROWS)}.npy", mmap_mode="r")
    notes = folder / f"{name}.json"
    told: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {"written": [], "vectors": []}
    with opened(folder, name, precision=precision) as store:
        stream = records(rows)
        done = len(store)
        characters = sum(len(record["text"].encode()) for record in islice(stream, done))
        for _ in range(done, rows, PART):
            block = list(islice(stream, PART))
            characters += sum(len(record["text"].encode()) for record in block)
            told["written"].append(timed(lambda some=block: store.write_many(some)))  # type: ignore[misc]
        space = store.encoding.serving
        for first in range(rows - store.database.queue_length(space), rows, PART):

            def put(first: int = first) -> None:
                for begin in range(first, min(first + PART, rows), BLOCK):
                    numbers = np.arange(begin, min(begin + BLOCK, rows))
                    store.database.put_vectors(space, numbers + 1, vectors[numbers])

            told["vectors"].append(timed(put))
        told["characters"] = characters
        notes.write_text(json.dumps(told))
        told["catching up"] = timed(lambda: store.database.dense(space, vectors[0], 1, everywhere(store)))
        told["settling"] = timed(store.settle)
        told["building, anonymous"] = anonymous()
        store.database.truncate_log() if hasattr(store.database, "truncate_log") else None
    told["disk"] = disk(folder, name)
    kept = json.loads(notes.read_text())
    kept |= {key: told[key] for key in told if key != "settling" or told["settling"]["clock"] > 5 or key not in kept}
    notes.write_text(json.dumps(kept))
    return kept


def ask(folder: Path, rows: int) -> dict[str, Any]:
    """Read every question once, so that their vectors are known."""
    from bench.store_texts import questions

    with opened(folder, f"float32-{rows}") as store:
        for number, question in enumerate(questions(QUESTIONS)):
            for scope in ("*", f"user/{number}"):
                store.read(question, K, scope=scope)
        store.encoding.encoder.save()
    return {}


def read(folder: Path, rows: int) -> dict[str, Any]:
    """Open and read."""
    from bench.store_texts import questions

    asked = questions(QUESTIONS)
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / f"truth{rows}.npy")
    encoder = Prepared(folder)
    from remanence.store import open as open_store

    told: dict[str, Any] = {"open": []}
    for _ in range(5):
        began = time.perf_counter()
        store = open_store(folder / f"float32-{rows}.db", encoder=encoder, background=False)
        middle = time.perf_counter()
        space = store.encoding.serving
        store.database.dense(space, queries[0], K, everywhere(store))
        told["open"].append([middle - began, time.perf_counter() - middle])
        store.close()
    with open_store(folder / f"float32-{rows}.db", encoder=encoder, background=False) as store:
        found = []
        told["dense"] = each(
            lambda n: found.append(store.database.dense(space, queries[n], K, everywhere(store))[0]), len(queries)
        )
        right = sum(len(np.intersect1d(one - 1, known)) for one, known in zip(found[1:], truth, strict=True))
        told["recall"] = right / truth.size
        told["hybrid"] = each(lambda n: store.read(asked[n], K, scope="*"), len(asked))
        told["hybrid, one scope"] = each(lambda n: store.read(asked[n], K, scope=f"user/{n}"), len(asked))
        told["text"] = each(lambda n: store.read(asked[n], K, scope="*", mode="text"), len(asked))
        told["anonymous"] = anonymous()
    told["missed"] = encoder.missed
    return told


def write(folder: Path, rows: int) -> dict[str, Any]:
    """One record after another into a copy of a store, alone and beside a thread that encodes."""
    from bench.store_texts import records
    from remanence.store import open as open_store

    told = {}
    fresh = list(islice(records(rows + 2 * WRITES), rows, None))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        shutil.copy(folder / f"float32-{rows}.db", Path(place) / "copy.db")
        with open_store(Path(place) / "copy.db", encoder=Prepared(folder), background=False) as store:
            told["write"] = each(lambda n: store.write(**fresh[n]), WRITES)
        shutil.copy(folder / f"float32-{rows}.db", Path(place) / "other.db")
        with open_store(Path(place) / "other.db", encoder=Real(folder), background=True) as store:
            store.encoding.encoder.encode(["warm"])
            told["write, encoding"] = each(lambda n: store.write(**fresh[WRITES + n]), WRITES)
            told["behind"] = store.encoding.waiting()
    return told


class Real(Prepared):
    """The packaged encoder, under the name of the prepared one."""

    def __init__(self, folder: Path) -> None:
        from remanence.store.encode import encoder

        self.encoder = encoder("minilm", threads=1, cache=False)

    def encode(self, given: Sequence[str]) -> NDArray[np.float32]:
        return self.encoder.encode(given)


STAGES: dict[str, Callable[..., dict[str, Any]]] = {"build": build, "ask": ask, "read": read, "write": write}


# ---- measuring


def timed(action: Callable[[], Any]) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    action()
    return {"clock": time.perf_counter() - began, "processor": time.process_time() - used}


def each(action: Callable[[int], Any], count: int) -> dict[str, float]:
    """Milliseconds of one, after one that warms up: medians and the slowest twentieth."""
    action(0)
    taken = [timed(lambda n=n: action(n)) for n in range(count)]  # type: ignore[misc]
    return {
        f"{what} {name}": float(np.quantile([one[what] for one in taken], part) * 1e3)
        for what in ("clock", "processor")
        for name, part in (("p50", 0.5), ("p95", 0.95))
    }


def everywhere(store: Any) -> Any:
    from remanence.store.where import Filter

    return Filter(scope=None, now=store.clock())


def anonymous() -> int:
    """Bytes of anonymous memory of this process (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def disk(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and f"{name}.db" in str(path))


def once(stage: str, folder: Path, rows: int, *further: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.store", stage, str(folder), str(rows), *further]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description="One stage in this process.")
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int)
    parser.add_argument("precision", nargs="*")
    given = parser.parse_args()
    print(json.dumps(STAGES[given.stage](given.folder, given.rows, *given.precision)))


if __name__ == "__main__":
    main()
