"""One whole run of ours, or eight seeds stacked: training and evaluation, after imports and data."""

from __future__ import annotations

import json
import sys
import time

import torch

import remanence as rm
from bench.peers.common import BATCH, LR, MEMORY
from remanence.arena.job import Job, Settings
from remanence.arena.stacked import stack
from remanence.factory import recipe_for

SEEDS = 8


def alone(name: str, model: str) -> dict[str, float]:
    stream = rm.streams.split("mnist", experiences=5)
    learner = rm.make(name, stream, model=model, seed=0, **_settings(name))
    wall, cpu = time.perf_counter(), time.process_time()
    result = Job(learner, stream, Settings(probe_every=0)).run()
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {**seconds, "training": result.seconds["learning"], "accuracy": result.accuracy or 0.0}


def stacked(name: str, model: str) -> dict[str, float]:
    """Seconds per seed."""
    stream = rm.streams.split("mnist", experiences=5)
    together = stack(recipe_for(name, stream, model=model, settings=_settings(name)), range(SEEDS), stream)
    wall, cpu, training = time.perf_counter(), time.process_time(), 0.0
    for experience in stream.experiences():
        began = time.process_time()
        together.learn(experience)
        training += time.process_time() - began
        scores = [
            [float((answer.labels == test.y).float().mean()) for answer in together.predict(test.x)]
            for test in stream.tests
        ]
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "training": training}
    return {**{k: v / SEEDS for k, v in seconds.items()}, "accuracy": float(torch.tensor(scores).mean())}


def _settings(name: str) -> dict[str, float | int | str]:
    settings: dict[str, float | int | str] = {"lr": LR, "batch_size": BATCH, "optimizer": "sgd"}
    return {**settings, "size": MEMORY} if name == "er" else settings


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"alone": alone, "stacked": stacked}[sys.argv[3]](*sys.argv[1:3])))
