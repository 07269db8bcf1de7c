"""Processor seconds that the contract tests take for one more system, children included, and those of finding all tests.

Every system that runs on streams is led through all checks in one process begun anew, which loads torch and
transformers once for all of them: what one more adds is the sum by their number.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import Any

A_SYSTEM = 1.5
COLLECTION = 8.0
_CHECKED = """
import torch
from remanence import testing
from remanence.registry import all_systems
torch.set_num_threads(1)
if __name__ == "__main__":
    names = [card.composed_name for card in all_systems().values() if card.runs_on_streams]
    for name in names:
        testing.check(name)
    print(len(names))
"""
_FOUND = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "not soak", "tests"]


def processor_seconds(command: list[str]) -> tuple[float, str]:
    """Of a command and all that it starts and waits for, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": ""}
    printed = subprocess.run(command, capture_output=True, check=True, text=True, env=environment).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, printed


def row(what: str, figure: float, unit: str, target: float, turns: int) -> dict[str, Any]:
    figure = round(figure, 2)
    return {
        "what": what,
        "ratio": figure,
        "ours": figure,
        "theirs": None,
        "unit": unit,
        "turns": turns,
        "target": target,
    }


def run() -> list[dict[str, Any]]:
    checked, printed = processor_seconds([sys.executable, "-c", _CHECKED])
    count = int(printed.split()[-1])
    processor_seconds(_FOUND)  # the first compiles what it finds
    found = min(processor_seconds(_FOUND)[0] for _ in range(3))
    return [
        row(f"contract tests, all {count} systems", checked / count, "s of processor time a system", A_SYSTEM, 1),
        row("finding all tests, one worker", found, "s of processor time", COLLECTION, 3),
    ]


if __name__ == "__main__":
    for one in run():
        print(one)
