"""Whole runs of ours and of Avalanche in turn: ``python -m bench.peers``.

The peer is installed without its dependencies into an environment beside this file, which borrows torch
from the environment that runs this. Nothing of it is kept in the repository. Its replay begins with the second
experience and ours with the second update, so that ours learns more rows in the first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.peers.environment import FOLDER, borrowing

HERE = Path(__file__).parent
ENVIRONMENT = FOLDER
PYTHON = ENVIRONMENT / "bin" / "python"
NEEDED = ("avalanche-lib==0.6.0", "psutil", "dill", "matplotlib", "tqdm")
CASES = [
    ("naive", "mlp:100,100", "alone", 2.5),
    ("er", "mlp:100,100", "alone", 2.0),
    ("naive", "mlp:100,100", "stacked", 8.0),
    ("er", "mlp:100,100", "stacked", 8.0),
    ("naive", "linear", "stacked", 8.0),
    ("er", "linear", "stacked", 8.0),
]


def setup() -> None:
    """Make the environment if it is not there."""
    if PYTHON.exists():
        return
    borrowing(ENVIRONMENT)
    missing = [name for name in NEEDED[2:] if not _installed(name)]
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--no-deps", *NEEDED[:2], *missing], check=True)


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _once(python: str | Path, module: str, *arguments: str) -> dict[str, float]:
    paths = [str(HERE.parents[1] / "src"), str(HERE.parents[1])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [str(python), "-W", "ignore", "-m", f"bench.peers.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(rounds: int = 2) -> list[dict[str, Any]]:
    """Medians over rounds in which every side runs once; processor seconds of training and evaluation."""
    setup()
    taken: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, model in dict.fromkeys((name, model) for name, model, _, _ in CASES):
            taken.setdefault(("peer", name, model), []).append(_once(PYTHON, "avalanche_run", name, model))
            for how in [case[2] for case in CASES if case[:2] == (name, model)]:
                taken.setdefault((how, name, model), []).append(_once(sys.executable, "ours_run", name, model, how))
    rows = []
    for name, model, how, target in CASES:
        ours, theirs = taken[how, name, model], taken["peer", name, model]
        ratios = [theirs_once["cpu"] / ours_once["cpu"] for ours_once, theirs_once in zip(ours, theirs, strict=True)]
        rows.append(
            {
                "what": f"Avalanche / ours, whole run, {name} {model}{', eight seeds stacked' * (how == 'stacked')}",
                "ratio": round(statistics.median(ratios), 2),
                "ours": round(statistics.median(once["cpu"] for once in ours), 2),
                "theirs": round(statistics.median(once["cpu"] for once in theirs), 2),
                "unit": "s of processor time, a seed",
                "turns": rounds,
                "target": target,
                "accuracy": [ours[0]["accuracy"], theirs[0]["accuracy"]],
            }
        )
    return rows


if __name__ == "__main__":
    for row in run(*map(int, sys.argv[1:2])):
        print(row, flush=True)
