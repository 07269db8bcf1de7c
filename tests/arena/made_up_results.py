"""Plausible results without any learning, for looking at reports."""

from __future__ import annotations

import numpy as np

from remanence.arena import metrics
from remanence.arena.result import Probe, Result

LEARNERS = {
    # name: (share kept at the end, depth of the dip after a boundary, final level of a new test set, bytes)
    "g-acil": (0.97, 0.02, 0.95, 410_000),
    "er": (0.86, 0.35, 0.96, 88_000),
    "der++": (0.90, 0.25, 0.96, 92_000),
    "er-ace": (0.92, 0.10, 0.93, 88_000),
    "ncm": (0.95, 0.01, 0.86, 3_000),
    "ewc": (0.30, 0.60, 0.96, 220_000),
    "lwf": (0.45, 0.50, 0.94, 146_000),
    "gem": (0.80, 0.30, 0.95, 99_000),
    "naive": (0.02, 0.95, 0.97, 73_000),
    "slca": (0.75, 0.20, 0.9, 800_000),
    "memo": (0.88, 0.20, 0.95, 1_400_000),
    "joint": (1.0, 0.0, 0.98, 73_000),
}


def made_up(
    learners: int = 12, seeds: int = 10, experiences: int = 5, probes: int = 20, *, diverged: bool = True
) -> list[Result]:
    """Results of `learners` learners over `seeds` seeds."""
    results = []
    chosen = [*list(LEARNERS)[: learners - 1], "joint"]
    for number, name in enumerate(chosen):
        for seed in range(seeds):
            if diverged and name == "gem" and seed == 1:
                results.append(Result(name, seed, status="diverged", notes={"stopped": "the loss became nan"}))
                continue
            results.append(_one(name, seed, experiences, probes, np.random.default_rng(1000 * number + seed)))
    return results


def _one(name: str, seed: int, experiences: int, count: int, draw: np.random.Generator) -> Result:
    kept, dip, level, size = LEARNERS[name]
    kept, dip = kept * draw.uniform(0.96, 1.0), dip * draw.uniform(0.9, 1.1)
    scores = np.zeros(experiences)
    probes, matrix, update = [Probe(0, -1, [0.0] * experiences)], [], 0
    for e in range(experiences):
        start = scores.copy()
        for k in range(1, count + 1):
            update += 25
            share = k / count
            rate = 1 - np.exp(-6 * share)
            scores[e] = level * rate
            decay = 1 - (1 - kept ** (1 / max(1, experiences - 1))) * rate
            sink = 1 - dip * np.exp(-((share - 0.12) ** 2) / 0.01)
            scores[:e] = start[:e] * decay * sink
            noisy = np.clip(scores + draw.normal(0, 0.008, experiences) * (scores > 0), 0, 1)
            probes.append(Probe(update, e, [float(s) for s in noisy]))
        matrix.append(probes[-1].scores)
    found = metrics.summarise(matrix, [0.0] * experiences, probes, [size] * experiences)
    buffer = size // 3 if name not in ("naive", "joint", "ncm") else 0
    return Result(
        name,
        seed,
        accuracy=found["accuracy"],
        matrix=matrix,
        before=[0.0] * experiences,
        forgetting=found["forgetting"],
        worst_dip=found["worst_dip"],
        metrics=found,
        bytes={"parameters": size - buffer, **({"rehearsal": buffer} if buffer else {}), "total": size},
        bytes_after=[size] * experiences,
        updates={"updates": update},
        seconds={"learning": float(draw.uniform(1, 4)), "evaluation": float(draw.uniform(0.2, 0.5))},
        probes=probes,
        tests=[f"classes {2 * e} and {2 * e + 1}" for e in range(experiences)],
        reference=name == "joint",
        notes={"variant": "reservoir"} if name == "er" else {},
    )


def made_up_prequential(learners: int = 3, seeds: int = 3, experiences: int = 12) -> list[Result]:
    """A stream of numbers that is tested on itself, in errors."""
    results = []
    for number, name in enumerate(["ridge", "er", "naive"][:learners]):
        for seed in range(seeds):
            draw = np.random.default_rng(100 * number + seed)
            each = (2.0 + number) * np.exp(-np.arange(experiences) / 4) + 1 + draw.uniform(0, 0.2, experiences)
            running = np.cumsum(each) / np.arange(1, experiences + 1)
            results.append(
                Result(
                    name,
                    seed,
                    metric="rmse",
                    accuracy=float(running[-1]),
                    matrix=[[float(value)] for value in each],
                    metrics={"online_accuracy": float(running[-1])},
                    bytes={"parameters": 4000 * (number + 1), "total": 4000 * (number + 1)},
                    seconds={"learning": 1.0, "evaluation": 0.1},
                    probes=[Probe(40 * (k + 1), k, [float(v)]) for k, v in enumerate(running)],
                    notes={"imputed values": 37},
                )
            )
    return results
