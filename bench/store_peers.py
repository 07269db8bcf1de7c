"""Chroma, LanceDB or mem0 on the records and vectors of `bench.store`: ``python -m bench.store_peers NAME FOLDER``.

It runs in an environment of its own (`setup`) and imports nothing of this library. Each peer is used as its
documentation shows it, in a folder, without a server: Chroma's persistent client with cosine HNSW as it comes;
LanceDB without an index, as it comes (and once more with its default index); mem0 with `infer=False`, so that no
language model is asked, over its default store (Qdrant in a folder), and with an embedder that looks vectors up.
First single writes into the empty folder, then the rest in bulk, then reading. mem0 has no bulk write: it is
timed on a part, and the rest is put into its Qdrant by batches, which is not timed; and since Qdrant in a folder
commits every point by itself, it gets 10,000 records only, with the exact ten of these as what is right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = Path(__file__).parent / "peers" / ".env" / "stores"
PYTHON = ENVIRONMENT / "bin" / "python"
NEEDED = ("chromadb==1.5.9", "lancedb==0.40.0", "mem0ai==2.2.1", "qdrant-client==1.20.0")
NAMES = ("chroma", "lancedb", "mem0")
SINGLE, PART, K = 200, 1_000, 10
ASKED = {"lancedb": 64, "mem0": 16}
"""Queries of those that read slowly, of the 512."""
FEWER = {"mem0": 10_000}


def setup() -> None:
    """Make the environment if it is not there."""
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", *NEEDED], check=True)


def once(name: str, folder: Path) -> dict[str, Any]:
    """What one peer did, measured in a process of its own."""
    setup()
    quiet = {
        "ANONYMIZED_TELEMETRY": "False",
        "MEM0_TELEMETRY": "False",
        "HF_HUB_OFFLINE": "1",
        "OPENAI_API_KEY": "none",
    }
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-m", "bench.store_peers", name, folder],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **quiet, "OMP_NUM_THREADS": "1", "MEM0_DIR": str(folder / "mem0-home"), "PYTHONPATH": ""},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


# ---- in the peers' environment

Peer = tuple[Callable[[int], Any], Callable[[range], Any], Callable[[Any], list[int]], Callable[[], Any] | None]
"""Write one record by number; write many; the numbers of the ten nearest to a vector; what else there is to do."""


def chroma(folder: Path, records: list[Any], vectors: Any, queries: Any) -> Peer:
    import chromadb

    client = chromadb.PersistentClient(str(folder), chromadb.Settings(anonymized_telemetry=False))
    held = client.create_collection("records", metadata={"hnsw:space": "cosine"}, embedding_function=None)
    size = client.get_max_batch_size()

    def many(numbers: range) -> None:
        for begin in range(numbers.start, numbers.stop, size):
            some = range(begin, min(begin + size, numbers.stop))
            held.add(
                ids=[str(n) for n in some],
                embeddings=vectors[some.start : some.stop],
                documents=[records[n]["text"] for n in some],
                metadatas=[{"scope": records[n]["scope"], "source": records[n]["source"]} for n in some],
            )

    def near(query: Any) -> list[int]:
        return [int(one) for one in held.query(query_embeddings=[query], n_results=K)["ids"][0]]

    return lambda n: many(range(n, n + 1)), many, near, None


def lancedb(folder: Path, records: list[Any], vectors: Any, queries: Any) -> Peer:
    import lancedb as library
    import pyarrow as pa

    kinds = [("number", pa.int64()), ("text", pa.string()), ("scope", pa.string()), ("source", pa.string())]
    schema = pa.schema([*kinds, ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    table = library.connect(folder).create_table("records", schema=schema)

    def many(numbers: range) -> None:
        some = records[numbers.start : numbers.stop]
        columns = [list(numbers), *([one[key] for one in some] for key in ("text", "scope", "source"))]
        flat = pa.array(np.ascontiguousarray(vectors[numbers.start : numbers.stop]).ravel())
        arrays = [pa.array(column, kind) for column, (_, kind) in zip(columns, kinds, strict=True)]
        table.add(
            pa.Table.from_arrays([*arrays, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], schema=schema)
        )

    def near(query: Any) -> list[int]:
        found = table.search(query).distance_type("cosine").limit(K).select(["number", "_distance"]).to_arrow()
        return list(found["number"].to_pylist())

    return lambda n: many(range(n, n + 1)), many, near, lambda: table.create_index(metric="cosine")


def mem0(folder: Path, records: list[Any], vectors: Any, queries: Any) -> Peer:
    from mem0 import Memory

    store = {"path": str(folder / "qdrant"), "on_disk": True, "embedding_model_dims": vectors.shape[1]}
    memory = Memory.from_config(
        {"vector_store": {"provider": "qdrant", "config": store}, "history_db_path": str(folder / "history.db")}
    )
    held = {record["text"]: number for number, record in enumerate(records)}
    asked = {f"question {number}": query for number, query in enumerate(queries)}

    class Embedder:
        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            return list((asked[text] if text in asked else vectors[held[text]]).tolist())

    memory.embedding_model = Embedder()

    def one(number: int) -> None:
        record = records[number]
        memory.add(record["text"], user_id="all", metadata={"number": number, "scope": record["scope"]}, infer=False)

    def many(numbers: range) -> None:
        for number in numbers[:PART]:
            one(number)

    def fill() -> None:
        for begin in range(SINGLE + PART, len(records), 1000):
            some = range(begin, min(begin + 1000, len(records)))
            payloads = [{"data": records[n]["text"], "user_id": "all", "number": n} for n in some]
            memory.vector_store.insert([vectors[n].tolist() for n in some], payloads, list(some))

    def near(query: Any) -> list[int]:
        number = int(np.flatnonzero((queries == query).all(axis=1))[0])
        found = memory.search(f"question {number}", filters={"user_id": "all"}, top_k=K)["results"]
        return [one["metadata"]["number"] for one in found]

    return one, many, near, fill


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text("utf-8").splitlines()]
    vectors = np.load(folder / "vectors1000000.npy", mmap_mode="r")[: len(records)]
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / f"truth{len(records)}.npy")
    if name in FEWER:
        records, vectors = records[: FEWER[name]], vectors[: FEWER[name]]
        truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :K]
    import tempfile

    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        one, many, near, further = globals()[name](Path(place), records, vectors, queries)
        told: dict[str, Any] = {"single": [timed(lambda n=n: one(n)) for n in range(SINGLE)]}
        bulk = timed(lambda: many(range(SINGLE, len(records))))
        count = PART if name == "mem0" else len(records) - SINGLE
        told["bulk"] = [count / bulk[0], count / bulk[1]]
        if name == "mem0" and further:
            told["filling"] = timed(further)
        asked = ASKED.get(name, len(queries))
        told["read"], told["recall"] = reading(near, queries[:asked], truth[:asked])
        if name == "lancedb" and further:
            told["indexing"] = timed(further)
            told["read, index"], told["recall, index"] = reading(near, queries, truth)
        told["disk"] = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
    for key in ("single", "read", "read, index"):
        if key in told:
            told[key] = [float(part) * 1e3 for part in np.median(told[key], axis=0)]
    print(json.dumps(told))


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    began, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - used


def reading(near: Callable[[Any], list[int]], queries: Any, truth: Any) -> tuple[list[tuple[float, float]], float]:
    found: list[list[int]] = []
    near(queries[0])
    taken = [timed(lambda query=query: found.append(near(query))) for query in queries]
    right = sum(len(np.intersect1d(one, known)) for one, known in zip(found, truth, strict=True))
    return taken, right / truth.size


if __name__ == "__main__":
    main()
