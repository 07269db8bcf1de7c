"""Peak memory of a run over MNIST above importing torch, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

_PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
_RUN = """
import torch
torch.set_num_threads(1)
import remanence as rm
from remanence.arena.job import Job, Settings
stream = rm.streams.split("mnist", experiences=5)
learner = rm.make({name!r}, stream, lr=0.03)
Job(learner, stream, Settings()).run()
"""
LIMIT = 400.0


def peak(code: str) -> float:
    """Largest resident size in MB of a Python process that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\n{_PEAK}"], capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1]) * 1024 / 1e6


def run() -> list[dict[str, Any]]:
    base = peak("import torch")
    rows = []
    for name in ("naive", "er"):
        whole = peak(_RUN.format(name=name))
        rows.append(
            {
                "what": f"peak memory of a run over MNIST above importing torch, {name}",
                "ratio": round(whole - base, 1),
                "ours": round(whole, 1),
                "theirs": round(base, 1),
                "unit": "MB; ours is the whole, theirs torch alone",
                "turns": 1,
                "target": LIMIT,
            }
        )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
