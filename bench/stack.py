"""Seeds per second: eight seeds of one learner trained together against the same seeds one by one.

Both run in one process on one thread and take turns every fifty updates. Processor time per update and
seed is compared; evaluation is not part of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

import remanence as rm
from remanence.arena.stacked import stack
from remanence.factory import recipe_for

SEEDS = 8
TURN = 50
CASES = [
    ("naive", "mnist", "mlp:100,100", None),
    ("er", "mnist", "mlp:100,100", None),
    ("ewc", "mnist", "mlp:100,100", None),
    ("naive", "mnist", "linear", None),
    ("er", "mnist", "linear", None),
    ("naive", "mnist", "cnn:8", None),
    ("er", "mnist", "cnn:8", None),
]
"""Learner, source, model, and a target; the targets are against the peer and stand in bench.peers."""


def compare(name: str, source: str, model: str, turns: int, target: float | None) -> dict[str, Any] | None:
    """Microseconds per update and seed of both, and the median ratio; None where the learner is not there."""
    if name not in rm.registry.all_systems():
        return None
    stream = rm.streams.split(source, experiences=5)
    settings: dict[str, Any] = {"lr": 0.03, **({"variant": "online"} if name == "ewc" else {})}
    recipe = recipe_for(name, stream, model=model, settings=settings)
    together, alone = _together(recipe, stream), _alone(name, stream, model, settings)
    first = 27 if name == "ewc" else 1  # the first turn warms up, and EWC's first experience is plain
    ratios, mine, their = [], [], []
    for turn in range(first + turns):
        taken = {}
        for updates, seeds in ((together, SEEDS), (alone, 1)) if turn % 2 else ((alone, 1), (together, SEEDS)):
            began = time.process_time()
            done = sum(1 for _ in islice(updates, TURN))
            taken[seeds] = (time.process_time() - began) / TURN / seeds if done == TURN else 0.0
        if not all(taken.values()):
            break
        if turn >= first:
            mine.append(taken[SEEDS])
            their.append(taken[1])
            ratios.append(taken[1] / taken[SEEDS])
    return {
        "what": f"seeds per second, {SEEDS} stacked / one by one, {name} {model}",
        "ratio": round(statistics.median(ratios), 2),
        "ours": round(statistics.median(mine) * 1e6, 1),
        "theirs": round(statistics.median(their) * 1e6, 1),
        "unit": "µs per update and seed, processor time",
        "turns": len(ratios),
        "target": target,
    }


def _together(recipe: Any, stream: Any) -> Iterator[None]:
    stacked = stack(recipe, range(SEEDS), stream)
    for experience in stream.experiences():
        for _ in stacked.steps(experience):
            yield


def _alone(name: str, stream: Any, model: str, settings: dict[str, Any]) -> Iterator[None]:
    for seed in range(SEEDS):
        learner = rm.make(name, stream, model=model, seed=seed, **settings)
        for experience in stream.experiences():
            for _ in learner.steps(experience):
                yield


def run(turns: int = 24) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    rows = [
        compare(name, source, model, 6 if model == "cnn:8" else turns, target) for name, source, model, target in CASES
    ]
    return [row for row in rows if row is not None]


if __name__ == "__main__":
    for row in run():
        print(row)
