"""Seconds that ``remanence --help`` takes, best of five after one to warm up."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

LIMIT = 0.5
_HELP = [sys.executable, "-c", "import sys; sys.argv = ['remanence', '--help']; from remanence.cli import main; main()"]


def seconds() -> float:
    began = time.perf_counter()
    subprocess.run(_HELP, capture_output=True, check=True)
    return time.perf_counter() - began


def run() -> list[dict[str, Any]]:
    seconds()
    taken = [seconds() for _ in range(5)]
    return [
        {
            "what": "remanence --help, best of five",
            "ratio": round(min(taken), 3),
            "ours": round(min(taken), 3),
            "theirs": None,
            "unit": "s",
            "turns": 5,
            "target": LIMIT,
        }
    ]


if __name__ == "__main__":
    print(run()[0])
