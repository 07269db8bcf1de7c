"""Plausible results of recall under several budgets without any learning, for looking at reports."""

from __future__ import annotations

import numpy as np

from remanence.arena import metrics
from remanence.arena.result import Probe, Result

BUDGETS = {"8KB": 8_000, "64KB": 64_000, "512KB": 512_000}


def made_up_recall(
    budgets: tuple[str, ...] = tuple(BUDGETS), seeds: int = 3, experiences: int = 8, tokens: int = 2000
) -> list[Result]:
    """Learners of three places; without budgets each stands alone."""
    results = []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        for name, reach, top, size in (
            ("attention-sinks", 1 / 30, 0.95, 1.0),
            ("rag", 1 / 6, 0.7, 0.98),
            ("bm25", 1 / 6, 0.97, 0.98),
            ("fine-tuning", 1 / 100, 0.4, 0.6),
        ):
            for written in budgets or ("",):
                budget = BUDGETS.get(written, 100_000)
                matrix = [
                    [
                        float(np.clip(top / (1 + ((k - j + 0.5) * tokens / (budget * reach)) ** 2) + draw.normal(0, 0.04), 0, 1))
                        if k >= j
                        else 0.0
                        for j in range(experiences)
                    ]
                    for k in range(experiences)
                ]  # fmt: skip
                held = int(budget * size)
                results.append(
                    Result(
                        f"{name}@{written}" if written else name,
                        seed,
                        metric="exact match",
                        accuracy=metrics.average_accuracy(matrix),
                        matrix=matrix,
                        before=[0.0] * experiences,
                        forgetting=metrics.forgetting(matrix),
                        worst_dip=metrics.worst_dip(matrix),
                        metrics=metrics.summarise(matrix, bytes_after=[held] * experiences),
                        bytes={"activations": held, "total": held},
                        bytes_after=[held] * experiences,
                        updates={"updates": 40 * experiences},
                        seconds={"learning": 1.0, "evaluation": 2.0},
                        probes=[
                            Probe(40 * (k + 1), k, [s if j <= k else None for j, s in enumerate(row)])
                            for k, row in enumerate(matrix)
                        ],
                        tests=[f"text {k + 1}" for k in range(experiences)],
                        notes={"budget": budget} if written else {},
                        distances=[tokens * (k + 0.5) for k in range(experiences)],
                    )
                )
    return results
