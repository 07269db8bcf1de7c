"""``python -m bench.spann``: what each step of SPANN saves, at one number of centroids in memory.

The vectors are those of `bench.store_index`, a draw of 50,000 for each of five seeds, which also seed the
clusters. Four indexes have the same number of centroids: k-means; hierarchical balanced clusters; the same with
rows in the lists of up to eight centroids (closure and the rule of relative neighbours); the same with query-aware
pruning, once among at most 256 lists and once among the 64 that the authors' code looks at. For each, lists and entries read are given where recall@10 (40 candidates by int8 codes, refined in
float32) reaches 0.90 and 0.95, between two settings by straight lines in their logarithms. Entries times
(dimension + 12) are the bytes read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import store_index
from remanence.store.index import clusters
from remanence.store.index.codes import TopK, quantise
from remanence.store.index.postings import Postings
from remanence.store.index.spann import Spann

RESULTS = Path(__file__).with_name("spann.json")
SEEDS = range(5)
LARGEST = 64
PROBES = (2, 4, 8, 16, 32, 64, 128)
PRUNING = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
RECALLS = (0.9, 0.95)
STEPS = (
    "k-means",
    "+ balanced lists",
    "+ boundary replication",
    "+ query-aware pruning, of 256 lists at most",
    "+ query-aware pruning, of 64 lists at most",
)
BEFORE = (0, 0, 1, 2, 2)
"""The step that each is compared with."""


def experiment(folder: Path, rows: int, seed: int) -> list[dict[str, Any]]:
    """What each step reads at the recalls wanted, for one seed."""
    rng = np.random.default_rng(seed)
    everything, queries = store_index.load(folder, max(store_index.ROWS))
    vectors = everything[np.sort(rng.choice(len(everything), rows, replace=False))]
    truth = np.concatenate([store_index.nearest(vectors, queries[i : i + 64]) for i in range(0, len(queries), 64)])
    codes, lengths = quantise(vectors)
    ids = np.arange(rows)
    tree = Spann(largest=LARGEST, seed=seed)
    cluster = tree.split(codes, lengths)
    count = int(cluster.max()) + 1
    even = clusters.centroids_of(codes, lengths, cluster, count)
    plain = clusters.fit(codes, lengths, count, seed)
    alone = Spann(largest=LARGEST, replicas=1, pruning=None)
    indexes = [
        alone.assign(ids, codes, lengths, *plain),
        alone.assign(ids, codes, lengths, *even),
        tree.assign(ids, codes, lengths, *even),
    ]
    found = []
    for place, step in enumerate(STEPS):
        postings = indexes[min(place, 2)]
        if place < 3:
            curve = [cost(postings, Spann(probes=n, pruning=None), vectors, queries, truth) for n in PROBES]
        else:
            most = 256 if place == 3 else 64
            curve = [cost(postings, Spann(probes=most, pruning=e), vectors, queries, truth) for e in PRUNING]
        sizes = np.diff(postings.starts)
        found.append(
            {
                "step": step,
                "seed": seed,
                "centroids": count,
                "replication": len(postings.rows) / rows,
                "spread": float(sizes.std() / sizes.mean()),
                "curve": curve,
                **{
                    f"{what}@{recall:g}": at(curve, recall, what) for recall in RECALLS for what in ("lists", "entries")
                },
            }
        )
    return found


def cost(
    postings: Postings, spann: Spann, vectors: NDArray[np.float32], queries: NDArray[np.float32], truth: NDArray[Any]
) -> dict[str, float]:
    lists, entries, right = [], [], 0
    for query, code, known in zip(queries, quantise(queries)[0], truth, strict=True):
        best = TopK(store_index.CANDIDATES)
        read = spann.search(postings, code, best)
        lists.append(read.lists)
        entries.append(read.entries)
        refined = best.places[np.argsort(-(vectors[best.places] @ query))[: store_index.WANTED]]
        right += len(np.intersect1d(refined, known))
    return {"recall": right / truth.size, "lists": float(np.mean(lists)), "entries": float(np.mean(entries))}


def at(curve: list[dict[str, float]], recall: float, what: str) -> float:
    """What is read where a curve reaches a recall; infinite where it does not."""
    reached = [point["recall"] for point in curve]
    if max(reached) < recall:
        return float("inf")
    return float(np.exp(np.interp(recall, reached, [np.log(point[what]) for point in curve])))


def table(found: list[dict[str, Any]]) -> str:
    """Means over seeds, and in how many seeds a step reads less than the one it is compared with."""
    heads = [f"{what} at {recall:g}" for recall in RECALLS for what in ("lists", "entries")]
    lines = [
        f"| step | entries a row | spread of lengths | {' | '.join(heads)} |",
        "|---|---:|---:|" + "---:|" * len(heads),
    ]
    for place, step in enumerate(STEPS):
        here = [one for one in found if one["step"] == step]
        cells = []
        for recall in RECALLS:
            for what in ("lists", "entries"):
                values = [one[f"{what}@{recall:g}"] for one in here]
                cell = f"{np.mean(values):.1f}" if what == "lists" else f"{np.mean(values):.0f}"
                if place:
                    before = [one[f"{what}@{recall:g}"] for one in found if one["step"] == STEPS[BEFORE[place]]]
                    cell += f" (less in {sum(a < b for a, b in zip(values, before, strict=True))} of {len(values)})"
                cells.append(cell)
        replication, spread = (np.mean([one[name] for one in here]) for name in ("replication", "spread"))
        lines.append(f"| {step} | {replication:.2f} | {spread:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.spann", description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="vectors in each draw")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "remanence-bench")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    store_index.prepare(given.folder, max(store_index.ROWS))
    found = [one for seed in given.seeds for one in experiment(given.folder, given.rows, seed)]
    RESULTS.write_text(json.dumps({"rows": given.rows, "found": found}, indent=1) + "\n")
    print(table(found))
    store_index.write_page()


if __name__ == "__main__":
    main()
