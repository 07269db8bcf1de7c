"""Product-key lookup against brute force at 2^20 slots: exact best slots of one query, and of 64 at once.

Brute force is done twice: on full keys, one product with a matrix of 2^20 rows and the best of its results; and on
the sums of the scores of sub-keys, all n² of them, which needs no full keys but sorts as many numbers. All three
find the same slots, and take turns in one process; processor time is compared, the median of the turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanence.weights.modules.product_keys import product_topk

KEYS, WIDTH, KNN = 1024, 128, 32
BATCHES = ((1, 41), (64, 7))
"""How many queries at once, and how many turns."""


def run() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    half = torch.randn(2, KEYS, WIDTH // 2, generator=draw)
    whole = torch.cat([half[0].repeat_interleave(KEYS, 0), half[1].repeat(KEYS, 1)], 1)

    def scores(queries: Tensor) -> tuple[Tensor, Tensor]:
        return queries[:, : WIDTH // 2] @ half[0].T, queries[:, WIDTH // 2 :] @ half[1].T

    def product(queries: Tensor) -> Tensor:
        return product_topk(*scores(queries), KNN)[1]

    def full(queries: Tensor) -> Tensor:
        return (queries @ whole.T).topk(KNN).indices

    def sums(queries: Tensor) -> Tensor:
        first, second = scores(queries)
        return (first[:, :, None] + second[:, None, :]).flatten(1).topk(KNN).indices

    rows = []
    for batch, turns in BATCHES:
        queries = torch.randn(batch, WIDTH, generator=draw)
        ways = {"product keys": product, "full keys": full, "all sums": sums}
        found = {name: way(queries).sort(-1).values for name, way in ways.items()}
        for name in ("full keys", "all sums"):
            # Rounding may swap slots of equal score at the edge of the best.
            same = (found[name] == found["product keys"]).float().mean()
            if float(same) < 0.99:
                raise RuntimeError(f"{name} and product keys share {float(same):.0%} of the slots they find")
        seconds = _turns(ways, queries, turns)
        for name in ("full keys", "all sums"):
            rows.append(
                {
                    "what": f"product-key lookup among 2^20 slots, times as fast as {name}, batch {batch}",
                    "ratio": round(seconds[name] / seconds["product keys"], 1),
                    "ours": round(1000 * seconds["product keys"], 3),
                    "theirs": round(1000 * seconds[name], 3),
                    "unit": f"ms of processor for the best {KNN}, keys of {WIDTH} numbers",
                    "turns": turns,
                    "target": 1.0,
                }
            )
    return rows


def _turns(ways: dict[str, Callable[[Tensor], Tensor]], queries: Tensor, turns: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            begin = time.process_time()
            way(queries)
            taken[name].append(time.process_time() - begin)
    return {name: statistics.median(some) for name, some in taken.items()}


if __name__ == "__main__":
    for row in run():
        print(row)
