"""Time per update of the trainer against a plain hand-written loop with the same arithmetic.

The hand-written loops hold the images as float32, converted once and untimed, hold tensors in memory,
cut batches by index and use ``torch.optim.SGD`` as it comes. The trainer works from the raw ``uint8``
images as always. Both run in one process on one thread and take turns every hundred updates; what is
compared is processor time, and the median over the turns is given. The plain EWC penalises from
the second experience on, as the trainer's does; what Fisher values it holds does not change its time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import remanence as rm

TURN = 100
BATCH = 10
LR = 0.03
SIZE = 200
STRENGTH = 1.0


def experiences(stream: rm.Stream) -> list[tuple[Tensor, Tensor]]:
    """Images (n, 784) float32 and labels of each experience."""
    cut = [segment.examples.span(0, len(segment.examples)) for segment in stream.segments]
    return [(rows.x.flatten(1).float() / 255, rows.y) for rows in cut]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 0))


def widen(net: nn.Sequential, classes: int) -> None:
    """Two more outputs on the last layer."""
    old, new = net[-1], nn.Linear(100, classes)
    with torch.no_grad():
        new.weight[: len(old.bias)] = old.weight
        new.bias[: len(old.bias)] = old.bias
    net[-1] = new


def naive(data: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    net = network()
    for number, (x, y) in enumerate(data):
        widen(net, 2 * number + 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=LR)
        order = torch.randperm(len(y))
        for start in range(0, len(y), BATCH):
            rows = order[start : start + BATCH]
            loss = cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            yield


def ewc(data: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Online EWC with made-up importances: measuring them is no part of an update."""
    net = network()
    importances: list[Tensor] = []
    anchors: list[Tensor] = []
    for number, (x, y) in enumerate(data):
        widen(net, 2 * number + 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=LR)
        order = torch.randperm(len(y))
        if number:
            importances = [_padded(f, p) for f, p in zip(importances, net.parameters(), strict=True)]
            anchors = [_padded(a, p) for a, p in zip(anchors, net.parameters(), strict=True)]
        for start in range(0, len(y), BATCH):
            rows = order[start : start + BATCH]
            loss = cross_entropy(net(x[rows]), y[rows])
            if number:
                pulls = [
                    (f * (p - a).square()).sum() for f, a, p in zip(importances, anchors, net.parameters(), strict=True)
                ]
                loss = loss + 0.5 * STRENGTH * sum(pulls)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            yield
        anchors = [p.detach().clone() for p in net.parameters()]
        importances = [torch.full_like(p, 1e-4) for p in net.parameters()]


def _padded(old: Tensor, like: Tensor) -> Tensor:
    new = torch.zeros_like(like)
    new[tuple(slice(0, size) for size in old.shape)] = old
    return new


def er(data: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    net = network()
    kept_x, kept_y = torch.zeros(SIZE, 784), torch.zeros(SIZE, dtype=torch.int64)
    held = seen = 0
    for number, (x, y) in enumerate(data):
        widen(net, 2 * number + 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=LR)
        order = torch.randperm(len(y))
        for start in range(0, len(y), BATCH):
            rows = order[start : start + BATCH]
            new_x, new_y = x[rows], y[rows]
            batch_x, batch_y = new_x, new_y
            if held:
                slots = torch.randperm(held)[:BATCH]
                batch_x, batch_y = torch.cat([new_x, kept_x[slots]]), torch.cat([new_y, kept_y[slots]])
            loss = cross_entropy(net(batch_x), batch_y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            # The reservoir, vectorised: each new row draws a slot among all rows seen up to it.
            count = len(rows)
            slots = (torch.rand(count) * torch.arange(seen + 1, seen + count + 1)).long()
            if held < SIZE:
                room = min(SIZE - held, count)
                slots[:room] = torch.arange(held, held + room)
                held += room
            seen += count
            stays = slots < SIZE
            kept_x[slots[stays]], kept_y[slots[stays]] = new_x[stays], new_y[stays]
            yield


def trainer(name: str, stream: rm.Stream, settings: dict[str, Any]) -> Iterator[None]:
    learner = rm.make(name, stream, lr=LR, batch_size=BATCH, optimizer="sgd", model="mlp:100,100", **settings)
    for experience in stream.experiences():
        for _ in learner.steps(experience):
            yield


LOOPS: dict[str, tuple[Any, dict[str, Any]]] = {
    "naive": (naive, {}),
    "er": (er, {"size": SIZE}),
    "ewc": (ewc, {"variant": "online", "strength": STRENGTH, "examples": 200}),
}


SKIP = {"ewc": 13}
"""Turns before the clock counts: the first warms up, and EWC's first experience is plain."""


def compare(name: str, stream: rm.Stream, turns: int) -> dict[str, Any]:
    """Microseconds per update of both, and the median ratio over the turns."""
    plain, settings = LOOPS[name]
    data = experiences(stream)
    ours, theirs = trainer(name, stream, settings), plain(data)
    for _ in range(SKIP.get(name, 1)):
        _timed(ours), _timed(theirs)
    ratios, mine, their = [], [], []
    for turn in range(turns):
        pair = [(ours, mine), (theirs, their)]
        for updates, times in pair if turn % 2 else pair[::-1]:
            taken = _timed(updates)
            if taken is None:
                break
            times.append(taken)
        else:
            ratios.append(mine[-1] / their[-1])
            continue
        break
    return {
        "what": f"trainer / hand-written loop, {name}",
        "ratio": round(statistics.median(ratios), 3),
        "ours": round(statistics.median(mine) * 1e6, 1),
        "theirs": round(statistics.median(their) * 1e6, 1),
        "unit": "µs per update, processor time",
        "turns": len(ratios),
        "target": 1.05,
    }


def _timed(updates: Iterator[None]) -> float | None:
    """Processor seconds per update over one turn, None where the run has ended."""
    began = time.process_time()
    done = sum(1 for _ in islice(updates, TURN))
    taken = time.process_time() - began
    return taken / TURN if done == TURN else None


def run(turns: int = 60) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    stream = rm.streams.split("mnist", experiences=5)
    return [compare(name, stream, turns) for name in LOOPS]


if __name__ == "__main__":
    for row in run():
        print(row)
