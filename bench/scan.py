"""Reading a sequence at once against reading it position by position, forward and backward.

The scan solves the recurrence of fast and forgetful memory, complex, with one decay for all positions; the
convolution is that of a linear state-space layer. Both sides run the same layer on the same input in one process on
one thread and take turns, one only at the greatest length; processor time is compared, and the median over the turns is given. The last rows time the
scan alone, with decays of their own at each position.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from remanence.context.layers.fast_and_forgetful_memory import FastAndForgetfulMemory
from remanence.context.layers.layer import MemoryLayer
from remanence.context.layers.lssl import LSSL
from remanence.context.layers.scan import scan, scan_by_steps

LENGTHS = (64, 256, 1024, 4096)
WIDTH = 64
BATCH = 4
Run = Callable[[], Any]


def compare(what: str, together: Run, stepping: Run, turns: int, target: float | None) -> dict[str, Any]:
    """Milliseconds of both, and the median of how many times as long stepping takes."""
    for warm_up in (together, stepping) if turns > 1 else ():
        warm_up()
    mine, their = [], []
    for turn in range(turns):
        for run, taken in ((together, mine), (stepping, their))[:: 1 if turn % 2 else -1]:
            began = time.process_time()
            run()
            taken.append(time.process_time() - began)
    return {
        "what": what,
        "ratio": round(statistics.median(b / a for a, b in zip(mine, their, strict=True)), 2),
        "ours": round(statistics.median(mine) * 1e3, 2),
        "theirs": round(statistics.median(their) * 1e3, 2),
        "unit": "ms forward and backward, processor time",
        "turns": turns,
        "target": target,
    }


def _read(layer: MemoryLayer, x: Tensor) -> None:
    y, _ = layer(x)
    y.sum().backward()


def _step(layer: MemoryLayer, x: Tensor) -> None:
    state, found = layer.initial(len(x)), []
    for position in x.unbind(1):
        y, state = layer.step(position, state)
        found.append(y)
    torch.stack(found, 1).sum().backward()


def _recur(layer: LSSL, x: Tensor) -> None:
    """Position by position with the matrices made once, as a loop written for speed would."""
    layer.mode = "recurrence"
    _read(layer, x)
    layer.mode = "convolution"


def _solve(way: Callable[[Tensor, Tensor], Tensor], decay: Tensor, drive: Tensor) -> None:
    way(decay, drive).sum().backward()


def run(turns: int = 3) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fast, spaces = FastAndForgetfulMemory(WIDTH), LSSL(WIDTH, order=32)
    rows = []
    for length in LENGTHS:
        x = torch.randn(BATCH, length, WIDTH)
        # Thousands of steps take seconds, in which nothing is left to warm up: one turn of each is enough.
        count = turns if length < 4096 else 1
        at = f"{length:,} positions, stepping / at once"
        # On one thread the scan saves no arithmetic, only calls: it is to be ahead from a few hundred positions on.
        rows.append(
            compare(
                f"fast and forgetful memory by its scan, {at}",
                lambda x=x: _read(fast, x),
                lambda x=x: _step(fast, x),
                count,
                1.0 if length >= 256 else None,
            )
        )
        rows.append(
            compare(
                f"linear state-space layer by its convolution, {at}",
                lambda x=x: _read(spaces, x),
                lambda x=x: _recur(spaces, x),
                count,
                1.0 if length >= 256 else None,
            )
        )
        decay = torch.rand(BATCH, length, WIDTH).requires_grad_()
        drive = torch.randn(BATCH, length, WIDTH).requires_grad_()
        rows.append(
            compare(
                f"scan of {WIDTH} features with decays of their own, {at}",
                lambda decay=decay, drive=drive: _solve(scan, decay, drive),
                lambda decay=decay, drive=drive: _solve(scan_by_steps, decay, drive),
                count,
                None,
            )
        )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
