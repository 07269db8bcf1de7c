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
environment beside `bench.peers`; see `bench.store_peers`. Whether a peer's write waits for the disk was not looked at. The folder is a temporary one, or the one that
REMANENCE_BENCH names, which is kept and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median
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


@cache
def minilm() -> Any:
    from remanence.store.encode import encoder

    return encoder("minilm", threads=1, cache=False)


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
            self.missed += len(missing)
            self.known |= dict(zip(missing, minilm().encode(missing), strict=True))
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
        done = len(store)
        stream = records(rows) if done < rows or "characters" not in told else iter(())
        characters = told.get("characters", 0) if done == rows else 0
        characters += sum(len(record["text"].encode()) for record in islice(stream, done))
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
        told["settling"] = timed(store.optimize)
        told["largest"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told["disk"] = disk(folder, name)
    if told["settling"]["processor"] < 1 and (known := json.loads(notes.read_text())).get("settling"):
        told |= {key: known[key] for key in ("catching up", "settling", "largest") if key in known}  # done before
    notes.write_text(json.dumps(told))
    return told


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
            with open(Path(place) / "floor", "wb", buffering=0) as file:
                taken: dict[str, list[Any]] = {"write": [], "fsync": []}
                for one in fresh[:WRITES]:
                    taken["write"].append(timed(lambda one=one: store.write(**one)))  # type: ignore[misc]
                    taken["fsync"].append(timed(lambda file=file: (file.write(bytes(8192)), os.fsync(file.fileno()))))  # type: ignore[misc]
            told |= {key: quantiles(some) for key, some in taken.items()}
        shutil.copy(folder / f"float32-{rows}.db", Path(place) / "other.db")
        with open_store(Path(place) / "other.db", encoder=Real(folder), background=True) as store:
            store.encoding.encoder.encode(["warm"])
            told["write, encoding"] = each(lambda n: store.write(**fresh[WRITES + n]), WRITES)
            told["behind"] = store.encoding.waiting()
    return told


def beside(folder: Path, rows: int) -> dict[str, Any]:
    """What the peers do: records with their vectors, one by one and in bulk, then dense reading."""
    from bench.store_peers import SINGLE
    from bench.store_texts import records
    from remanence.store import open as open_store

    given = list(records(rows))
    vectors = np.load(folder / f"vectors{max(ROWS)}.npy", mmap_mode="r")
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / f"truth{rows}.npy")
    encoder = Prepared(folder)
    encoder.known = {one["text"]: vectors[number] for number, one in enumerate(given[:SINGLE])}
    found: list[Any] = []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        with open_store(Path(place) / "own.db", encoder=encoder, background=False) as store:
            space = store.encoding.serving
            single = [timed(lambda one=one: store.write(wait=True, **one)) for one in given[:SINGLE]]  # type: ignore[misc]

            def many() -> None:
                store.write_many(given[SINGLE:])
                for begin in range(SINGLE, rows, BLOCK):
                    numbers = np.arange(begin, min(begin + BLOCK, rows))
                    store.database.put_vectors(space, numbers + 1, vectors[numbers])
                store.database.dense(space, queries[0], 1, everywhere(store))  # the index takes them over

            bulk = timed(many)
            read = [
                timed(lambda query=query: found.append(store.database.dense(space, query, K, everywhere(store))[0]))  # type: ignore[misc]
                for query in queries
            ]
        size = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
    right = sum(len(np.intersect1d(one - 1, known)) for one, known in zip(found, truth, strict=True))
    return {
        "single": [1e3 * median(one[what] for one in single) for what in ("clock", "processor")],
        "bulk": [(rows - SINGLE) / bulk[what] for what in ("clock", "processor")],
        "read": [1e3 * median(one[what] for one in read) for what in ("clock", "processor")],
        "recall": right / truth.size,
        "disk": size,
    }


def write_records(folder: Path) -> None:
    """The first records, for the peers, which cannot make them."""
    from bench.store_texts import records

    with open(folder / "records.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records(PART))


class Real(Prepared):
    """The packaged encoder, under the name of the prepared one."""

    def encode(self, given: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(minilm().encode(given))


STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "build": build,
    "ask": ask,
    "read": read,
    "write": write,
    "beside": beside,
}


# ---- measuring


def timed(action: Callable[[], Any]) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    action()
    return {"clock": time.perf_counter() - began, "processor": time.process_time() - used}


def each(action: Callable[[int], Any], count: int) -> dict[str, float]:
    """Milliseconds of one, after one that warms up: medians and the slowest twentieth."""
    action(0)
    return quantiles([timed(lambda n=n: action(n)) for n in range(count)])  # type: ignore[misc]


def quantiles(taken: list[dict[str, float]]) -> dict[str, float]:
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


# ---- rows


def run() -> list[dict[str, Any]]:
    from bench import store_index, store_peers

    kept = os.environ.get("REMANENCE_BENCH")
    with tempfile.TemporaryDirectory(prefix="remanence-bench-") if not kept else nullcontext(kept) as place:
        folder = Path(place)
        for rows in ROWS:
            store_index.prepare(folder, rows)
        found = _small(folder)
        found += _large(folder)
        write_records(folder)
        ours = once("beside", folder, PART)
        for name in store_peers.NAMES:
            found += _peer(name, ours, store_peers.once(name, folder))
    # a kept folder holds stages of other times, whose load nobody knows any more
    load = "stages of several times, load not recorded" if kept else f"load {os.getloadavg()[2]:.0f} at the end"
    return [{**row, "unit": f"{row['unit']}; {load}"} if " clock" in row["unit"] else row for row in found]


def _small(folder: Path) -> list[dict[str, Any]]:
    size = ROWS[0]
    built = once("build", folder, size)
    if not (folder / "asked.npz").exists():
        once("ask", folder, size)
    told, wrote = once("read", folder, size), once("write", folder, size)
    alone, busy, floor = (wrote[key]["clock p50"] for key in ("write", "write, encoding", "fsync"))
    unit = "ms on the clock; other: 8 KiB appended to a file and fsynced, in turn"
    return [
        _row("one durable write", alone, alone, floor, unit, 5, WRITES),
        _row("one durable write, the encoder working beside", busy, busy, floor, unit, 5, WRITES),
        _row("one durable write", wrote["write"]["processor p50"], None, None, "ms of processor time", None, WRITES),
        _bulk(built, size),
        *_reading(told, size, 10, 25),
    ]


def _large(folder: Path) -> list[dict[str, Any]]:
    size = ROWS[1]
    built = once("build", folder, size)
    told = once("read", folder, size)
    half = once("build", folder, size, "float16")
    opening = median(one[0] for one in told["open"])
    first = max(one[0] for one in told["open"])
    settled = built["settling"]
    return [
        _bulk(built, size),
        *_reading(told, size, 15, 100),
        _row("opening a million", first, opening, None, "s on the clock, the slowest of 5; ours: median", 1, 5),
        _row("anonymous memory after reading a million", told["anonymous"] / GB, None, None, "GB", 1, 1),
        *(
            _row(f"disk of a million without texts, {name}", (one["disk"] - one["characters"]) / GB, one["disk"] / GB,
                 None, "GB; ours: with the texts", target, 1)
            for name, one, target in (("float32", built, 2.6), ("float16", half, 1.7))
        ),
        _row("building the lists of a million", settled["processor"], settled["clock"], None,
             "s of processor time; ours: s on the clock", None, 1),
        _row("largest resident memory while filling and building a million", built["largest"] / GB, None, None,
             "GB, mapped pages counted", None, 1),
    ]  # fmt: skip


def _bulk(built: dict[str, Any], rows: int) -> dict[str, Any]:
    rate = {what: rows / sum(part[what] for part in built["written"]) for what in ("processor", "clock")}
    unit = "records/s of processor time; other: on the clock"
    what = f"written in bulk, up to {rows:,}"
    return {
        **_row(what, *(rate["processor"],) * 2, rate["clock"], unit, 15_000, len(built["written"])),
        "side": "above",
    }


def _reading(told: dict[str, Any], rows: int, dense: float, hybrid: float) -> list[dict[str, Any]]:
    unit = "ms of processor time, p50; other: on the clock"
    cases = [
        ("dense", "dense reading", dense),
        ("hybrid", "hybrid reading, all scopes", hybrid),
        ("hybrid, one scope", "hybrid reading, one scope of a thousand", hybrid),
        ("text", "reading by words, all scopes", None),
    ]
    found = [
        _row(f"{what}, {rows:,}", told[key]["processor p50"], told[key]["processor p50"], told[key]["clock p50"],
             unit, target, 2 * QUESTIONS if key == "dense" else QUESTIONS)
        for key, what, target in cases
    ]  # fmt: skip
    recall = _row(f"recall@10 of dense reading, {rows:,}", told["recall"], None, None, "of the exact ten", 0.95, 1)
    return [found[0], {**recall, "side": "above"}, *found[1:]]


def _peer(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[dict[str, Any]]:
    from bench import store_peers

    title = {"chroma": "Chroma", "lancedb": "LanceDB", "mem0": "mem0"}[name]
    recall = f"recall@10 {ours['recall']:.3f} and {theirs['recall']:.3f}"
    if name in store_peers.FEWER:
        recall += f"; {title} holds {store_peers.FEWER[name]:,}"
    made = [
        _row(f"{title} / ours, one write with its vector (ours fsynced twice, theirs not checked)", theirs["single"][0] / ours["single"][0],
             ours["single"][0], theirs["single"][0], "ms on the clock, p50", None, store_peers.SINGLE),
        _row(f"ours / {title}, written in bulk with vectors", ours["bulk"][1] / theirs["bulk"][1], ours["bulk"][1],
             theirs["bulk"][1], "records/s of processor time", None, 1),
        _row(f"{title} / ours, dense reading", theirs["read"][1] / ours["read"][1], ours["read"][1],
             theirs["read"][1], f"ms of processor time, p50; {recall}", None, store_peers.ASKED.get(name, 2 * QUESTIONS)),
    ]  # fmt: skip
    if "read, index" in theirs:
        recall = f"recall@10 {ours['recall']:.3f} and {theirs['recall, index']:.3f}"
        made.append(
            _row(f"{title} with its default index / ours, dense reading", theirs["read, index"][1] / ours["read"][1],
                 ours["read"][1], theirs["read, index"][1], f"ms of processor time, p50; {recall}", None, 2 * QUESTIONS)
        )  # fmt: skip
    return [{**row, "side": "above"} for row in made]


def _row(
    what: str, ratio: float, ours: float | None, theirs: float | None, unit: str, target: float | None, turns: int
) -> dict[str, Any]:
    return {
        "what": what,
        "ratio": _rounded(ratio),
        "ours": _rounded(ratio if ours is None else ours),
        "theirs": None if theirs is None else _rounded(theirs),
        "unit": unit,
        "turns": turns,
        "target": target,
    }


def _rounded(figure: float) -> float:
    return round(figure, 3) if figure < 1000 else round(figure)


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
