"""``python -m bench.store_index``: exact against approximate search of dense vectors; writes docs/store-index.md.

Vectors are MiniLM's of CLINC150 sentences, LoCoMo turns, MuSiQue passages and lines of Shakespeare (52,149 after
256 of them became queries), and between them mixtures of neighbours until there are enough: with j, k, l drawn
from the 16 nearest of i, the direction of x_i + a (x_j - x_i) + b (x_k - x_l), a from 0.2 to 0.8, b from 0 to 0.5.
No uniform noise is added: it would make every approximate index look bad. The other 256 queries are questions
asked about the LoCoMo conversations.

Every index is built and asked in a process of its own on one thread, with the float32 vectors in a mapped file.
Each gives 40 candidates, of which float32 picks 10; recall is against the 10 best in float32. Milliseconds are
the median of one query's processor time, then of its time on the clock (the machine may have other work),
without reading the float32 vectors. Bytes on disk are all that the index needs beside the database. Resident
is anonymous memory while asking, above what the process had before opening (it may reuse what building freed).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store.index import ivf
from remanence.store.index.dense import DenseIndex

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "store_index.json"
PAGE = ROOT / "docs" / "store-index.md"
ROWS = [100_000, 300_000, 1_000_000]
CANDIDATES, WANTED = 40, 10
ENOUGH = 0.95
CHOSEN = """Chosen: exact search of int8 codes in a mapped sidecar, and beyond 150,000 rows the same sidecar with its codes
put cluster after cluster (`DenseIndex.build_approximate`), 128 lists read by default. HNSW, usearch's first of
all, answers a query in less time, and both are far below what a store needs (10 ms at 100,000 rows, 15 ms at a
million, with recall@10 of 0.95). What decided is the rest. Lists over the sidecar's own codes take at most
four percent more bytes than the sidecar, which filtered reads need anyway and beside which every other index here
stands with codes of its own; they are built in a tenth of the processor time of a graph; and a forgotten row is
zeros in one place, with the centroid of its list made anew of the rows that stay, where a graph keeps its vector
until it is written again."""
Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]
Case = tuple[dict[str, Any], Search]
"""The settings of a search, and the search itself: a query to places from 0."""


# ---- vectors


def texts() -> list[list[str]]:
    """The four sources, and last the questions."""
    import pandas as pd

    data = Path(os.environ["REMANENCE_DATA"])
    clinc = {t for part in ("train", "val", "test") for t in pd.read_parquet(data / f"clinc150/{part}.parquet").text}
    turns, questions = set(), set()
    for talk in json.loads((data / "locomo/locomo6.json").read_text()):
        for session in talk["conversation"].values():
            if isinstance(session, list):
                turns |= {f"{turn['speaker']}: {turn['text']}" for turn in session}
        questions |= {asked["question"] for asked in talk["qa"]}
    passages = {f"{p['title']}. {p['text']}" for p in json.loads((data / "musique/corpus.json").read_text())}
    lines = {s for s in (data / "tinyshakespeare/input.txt").read_text().splitlines() if len(s) > 15}
    return [sorted(some) for some in (clinc, turns, passages, lines, questions)]


def prepare(folder: Path, rows: int) -> None:
    """Vectors, queries and the true neighbours as files, unless they are there."""
    from remanence.streams.text import encode

    if not (folder / f"vectors{max(ROWS)}.npy").exists():
        *sources, questions = [encode(some).numpy() for some in texts()]
        rng = np.random.default_rng(0)
        real = np.concatenate(sources)
        order = rng.permutation(len(real))
        asked = np.concatenate([real[order[:256]], questions[rng.permutation(len(questions))[:256]]])
        np.save(folder / "queries.npy", asked)
        np.save(folder / f"vectors{max(ROWS)}.npy", enlarged(real[order[256:]], max(ROWS), rng))
    truth = folder / f"truth{rows}.npy"
    if not truth.exists():
        vectors, queries = load(folder, rows)
        np.save(truth, np.concatenate([nearest(vectors, queries[i : i + 64]) for i in range(0, len(queries), 64)]))


def enlarged(real: NDArray[np.float32], rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    near = np.empty((len(real), 16), dtype=np.int64)
    for begin in range(0, len(real), 4096):
        scores = real[begin : begin + 4096] @ real.T
        scores[np.arange(len(scores)), begin + np.arange(len(scores))] = -2
        near[begin : begin + 4096] = np.argpartition(-scores, 16, axis=1)[:, :16]
    found = np.empty((rows, real.shape[1]), dtype=np.float32)
    found[: len(real)] = real
    for begin in range(len(real), rows, 50_000):
        size = min(50_000, rows - begin)
        i = rng.integers(len(real), size=size)
        j, k, m = (near[i, rng.integers(16, size=size)] for _ in range(3))
        a, b = rng.uniform(0.2, 0.8, (size, 1)), rng.uniform(0, 0.5, (size, 1))
        mixed = real[i] + a * (real[j] - real[i]) + b * (real[k] - real[m])
        found[begin : begin + size] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return found[rng.permutation(rows)]


def nearest(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    scores = queries @ vectors.T
    return np.argpartition(-scores, WANTED, axis=1)[:, :WANTED]


def load(folder: Path, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.load(folder / f"vectors{max(ROWS)}.npy", mmap_mode="r")[:rows], np.load(folder / "queries.npy")


# ---- what is compared: each builds under a folder, then yields its searches


def exact(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    _ours(vectors, folder)

    def opened() -> Iterator[Case]:
        index = DenseIndex(folder, vectors.shape[1], "bench")
        yield {}, lambda query: index.search(query, CANDIDATES, exact=True)[0] - 1

    return opened


def lists(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    _ours(vectors, folder).build_approximate()

    def opened() -> Iterator[Case]:
        for probes in (16, 32, 64, 128, 256):
            index = DenseIndex(folder, vectors.shape[1], "bench", probes=probes)
            yield {"probes": probes}, lambda query, index=index: index.search(query, CANDIDATES)[0] - 1  # type: ignore[misc]

    return opened


def _ours(vectors: NDArray[np.float32], folder: Path) -> DenseIndex:
    index = DenseIndex(folder, vectors.shape[1], "bench")
    step = 50_000
    index.rebuild(
        (np.arange(i, min(i + step, len(vectors))) + 1, vectors[i : i + step]) for i in range(0, len(vectors), step)
    )
    return index


def spann(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    from remanence.store.index.spann import Spann

    _ours(vectors, folder)
    DenseIndex(folder, vectors.shape[1], "bench", spann=Spann()).build_approximate()

    def opened() -> Iterator[Case]:
        for pruning in (0.2, 0.3, 0.4, 0.5):
            index = DenseIndex(folder, vectors.shape[1], "bench", spann=Spann(probes=256, pruning=pruning))
            yield {"pruning": pruning}, lambda query, index=index: index.search(query, CANDIDATES)[0] - 1  # type: ignore[misc]

    return opened


def usearch(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=128)
    for i in range(0, len(vectors), 50_000):
        part = vectors[i : i + 50_000]
        index.add(np.arange(i, i + len(part)), np.asarray(part), threads=1)
    index.save(str(folder / "usearch"))
    del index

    def opened() -> Iterator[Case]:
        for breadth in (64, 128, 256, 512):
            view = Index(ndim=vectors.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_search=breadth)
            view.view(str(folder / "usearch"))
            yield (
                {"expansion": breadth},
                lambda query, view=view: view.search(query, CANDIDATES, threads=1).keys.astype(np.int64),  # type: ignore[misc]
            )

    return opened


def hnswlib(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    import hnswlib as library

    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=128, M=16, random_seed=0)
    for i in range(0, len(vectors), 50_000):
        part = vectors[i : i + 50_000]
        index.add_items(part, np.arange(i, i + len(part)), num_threads=1)
    index.save_index(str(folder / "hnswlib"))
    del index

    def opened() -> Iterator[Case]:
        loaded = library.Index(space="ip", dim=vectors.shape[1])
        loaded.load_index(str(folder / "hnswlib"))
        for breadth in (64, 128, 256, 512):

            def search(query: NDArray[np.float32], breadth: int = breadth) -> NDArray[np.int64]:
                loaded.set_ef(breadth)
                return np.asarray(loaded.knn_query(query, CANDIDATES, num_threads=1)[0][0], dtype=np.int64)

            yield {"ef": breadth}, search

    return opened


def faiss_hnsw(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    import faiss

    index = faiss.IndexHNSWSQ(vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 128
    return _faiss(index, vectors, folder, "ef", (64, 128, 256, 512))


def faiss_ivf_sq8(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    return _faiss_lists(f"IVF{round(4 * len(vectors) ** 0.5)},SQ8", vectors, folder)


def faiss_ivf_pq(vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    return _faiss_lists(f"IVF{round(4 * len(vectors) ** 0.5)},PQ96", vectors, folder)


def _faiss_lists(kind: str, vectors: NDArray[np.float32], folder: Path) -> Callable[[], Iterator[Case]]:
    import faiss

    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid, index.cp.niter = 32, 6
    return _faiss(index, vectors, folder, "probes", (16, 32, 64, 128, 256))


def _faiss(
    index: Any, vectors: NDArray[np.float32], folder: Path, knob: str, settings: tuple[int, ...]
) -> Callable[[], Iterator[Case]]:
    import faiss

    faiss.omp_set_num_threads(1)
    if not index.is_trained:
        rng = np.random.default_rng(0)
        index.train(vectors[np.sort(rng.choice(len(vectors), min(len(vectors), 128_000), replace=False))])
    for i in range(0, len(vectors), 50_000):
        index.add(np.ascontiguousarray(vectors[i : i + 50_000]))
    faiss.write_index(index, str(folder / "faiss"))
    del index

    def opened() -> Iterator[Case]:
        # Mapped where the kind can be: else its vectors are anonymous memory.
        loaded = faiss.read_index(str(folder / "faiss"), faiss.IO_FLAG_MMAP if knob == "probes" else 0)
        for value in settings:

            def search(query: NDArray[np.float32], value: int = value) -> NDArray[np.int64]:
                if knob == "probes":
                    loaded.nprobe = value
                else:
                    loaded.hnsw.efSearch = value
                return np.asarray(loaded.search(query[None], CANDIDATES)[1][0], dtype=np.int64)

            yield {knob: value}, search

    return opened


KINDS: dict[str, tuple[str, Callable[..., Callable[[], Iterator[Case]]]]] = {
    "exact": ("exact, int8 (numkong)", exact),
    "lists": ("lists over the ordered sidecar, int8", lists),
    "spann": ("SPANN beside the sidecar, int8", spann),
    "usearch": ("usearch HNSW, int8, M 16, 128 at building", usearch),
    "hnswlib": ("hnswlib HNSW, float32, M 16, 128 at building", hnswlib),
    "faiss-hnsw": ("faiss HNSW-SQ8, M 16, 128 at building", faiss_hnsw),
    "faiss-ivf-sq8": ("faiss IVF-SQ8", faiss_ivf_sq8),
    "faiss-ivf-pq": ("faiss IVF-PQ96", faiss_ivf_pq),
}


# ---- measuring


def measure(kind: str, rows: int, folder: Path) -> dict[str, Any]:
    """Build and ask one index in this process."""
    vectors, queries = load(folder, rows)
    truth = np.load(folder / f"truth{rows}.npy")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        began, used = time.perf_counter(), time.process_time()
        opened = KINDS[kind][1](vectors, Path(place))
        built = {"build": time.perf_counter() - began, "build_processor": time.process_time() - used}
        before, began = anonymous(), time.perf_counter()
        cases = []
        for settings, search in opened():
            search(queries[0])
            if not cases:
                built["open"] = time.perf_counter() - began
            cases.append({**settings, **asked(search, vectors, queries, truth)})
        held = anonymous() - before
        disk = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
    return {"kind": kind, "rows": rows, **built, "disk": disk, "resident": held, "cases": cases}


def asked(search: Search, vectors: Any, queries: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, float]:
    clock, processor, right = [], [], 0
    for query, known in zip(queries, truth, strict=True):
        began, used = time.perf_counter(), time.process_time()
        found = search(query)
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
        found = found[found >= 0]
        refined = found[np.argsort(-(vectors[found] @ query))[:WANTED]]
        right += len(np.intersect1d(refined, known))
    return {
        "processor_ms": round(float(np.median(processor)) * 1e3, 3),
        "clock_ms": round(float(np.median(clock)) * 1e3, 3),
        "recall": round(right / truth.size, 4),
    }


def anonymous() -> int:
    """Bytes of anonymous memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


# ---- page


def page(results: list[dict[str, Any]]) -> str:
    lines = [
        "# Searching dense vectors: what was measured, and what was chosen",
        "",
        "Written by `python -m bench.store_index`; change nothing by hand.",
        "",
        CHOSEN,
        "",
        "## How it was measured",
        "",
        (__doc__ or "").split("\n\n", 1)[1].strip(),
        "",
        "In the run shown two cores had some fifteen other processes to run: compare processor times. An index without a "
        "row at some size was not measured there: building graphs of a million took longer than there was. "
        "The graphs of 300,000 were measured later, when nothing else ran.",
        "",
        "Of each index the cheapest setting with recall@10 of at least 0.95 is shown, else its best; last, the lists at their default.",
    ]
    for rows in sorted({result["rows"] for result in results}):
        some = [result for result in results if result["rows"] == rows]
        lines += [
            "",
            f"## {rows:,} vectors of 384",
            "",
            "| index | setting | recall@10 | ms, processor | ms, clock | exact / this | build s, processor (clock) | disk MB | resident MB |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        base = next((chosen(result)["processor_ms"] for result in some if result["kind"] == "exact"), None)
        some.sort(key=lambda result: list(KINDS).index(result["kind"]))
        shown = [(result, chosen(result)) for result in some]
        shown += [
            (one, case)
            for one in some
            for case in one["cases"]
            if case.get("probes") == ivf.PROBES and one["kind"] == "lists"
        ]
        for result, case in shown:
            setting = ", ".join(f"{k} {v}" for k, v in case.items() if k not in ("processor_ms", "clock_ms", "recall"))
            ratio = f"{base / case['processor_ms']:.1f}" if base else ""
            lines.append(
                f"| {KINDS[result['kind']][0]} | {setting} | {case['recall']:.3f} | {case['processor_ms']:.2f} "
                f"| {case['clock_ms']:.2f} | {ratio} | {result['build_processor']:.0f} ({result['build']:.0f}) "
                f"| {result['disk'] / 1e6:.0f} | {result['resident'] / 1e6:.0f} |"
            )
    lines += spann_section()
    return "\n".join(lines) + "\n"


def spann_section() -> list[str]:
    """What `bench.spann` found, where it has run."""
    from bench import spann

    if not spann.RESULTS.exists():
        return []
    found = json.loads(spann.RESULTS.read_text())
    first = found["found"][0]
    return [
        "",
        "## What each step of SPANN saves",
        "",
        "Written by `python -m bench.spann`.",
        "",
        (spann.__doc__ or "").split("\n\n", 1)[1].strip(),
        "",
        f"{found['rows']:,} vectors, {len(found['found']) // len(spann.STEPS)} seeds, {first['centroids']:,} centroids "
        "with the first. In brackets: in how many seeds a step reads less than the one before; both prunings are compared with replication.",
        "",
        spann.table(found["found"]),
    ]


def write_page() -> None:
    PAGE.write_text(page(json.loads(RESULTS.read_text()) if RESULTS.exists() else []))


def chosen(result: dict[str, Any]) -> dict[str, Any]:
    good = [case for case in result["cases"] if case["recall"] >= ENOUGH]
    if good:
        return min(good, key=lambda case: case["processor_ms"])
    return max(result["cases"], key=lambda case: case["recall"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.store_index", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="how many vectors, up to 1000000")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "remanence-bench")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that one index may take")
    parser.add_argument("--one", action="store_true", help="measure in this process and print the figures")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.kinds[0], given.rows[0], given.folder)))
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    for rows in given.rows:
        prepare(given.folder, rows)
        for kind in given.kinds:
            command = [sys.executable, "-m", "bench.store_index", "--one", "--rows", str(rows), "--kinds", kind]
            try:
                done = subprocess.run(
                    [*command, "--folder", str(given.folder)],
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                    stdout=subprocess.PIPE,
                    check=True,
                    timeout=given.limit,
                )
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"{kind} at {rows:,}: {error}", file=sys.stderr)
                continue
            keep(json.loads(done.stdout.splitlines()[-1]))


def keep(result: dict[str, Any]) -> None:
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = (result["kind"], result["rows"])
    kept = [one for one in old if (one["kind"], one["rows"]) != same] + [result]
    kept.sort(key=lambda one: (one["rows"], list(KINDS).index(one["kind"])))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    write_page()
    print(result["kind"], result["rows"], chosen(result), flush=True)


if __name__ == "__main__":
    main()
