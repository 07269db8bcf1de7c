"""``python -m bench``: measure speed and memory, print one table, write bench/results.json and docs/bench.md."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
PARTS = {
    "loop": "below",
    "stack": "above",
    "peers": "above",
    "memory": "below",
    "startup": "below",
    "contract": "below",
    "encoder": "above",
    "finding": "above",
    "graph": "above",
    "store": "below",
    "lookup": "above",
    "scan": "above",
    "caches": "below",
}
"""What is measured, and on which side of its target a figure has to lie, where the row itself does not say."""


def measure(name: str) -> list[dict[str, Any]]:
    run: Callable[[], list[dict[str, Any]]] = import_module(f"bench.{name}{'.__main__' * (name == 'peers')}").run
    return [{"part": name, "met": _met(row, row.get("side", PARTS[name])), **row} for row in run()]


def _met(row: dict[str, Any], side: str) -> bool | None:
    if row["target"] is None:
        return None
    return bool(row["ratio"] <= row["target"] if side == "below" else row["ratio"] >= row["target"])


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | figure | target | met | ours | other | unit |", "|---|---:|---:|---|---:|---:|---|"]
    for row in rows:
        sign = {"below": "≤", "above": "≥"}[row.get("side", PARTS[row["part"]])]
        target = "" if row["target"] is None else f"{sign} {row['target']:g}"
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        theirs = "" if row["theirs"] is None else f"{row['theirs']:g}"
        lines.append(
            f"| {row['what']} | {row['ratio']:g} | {target} | {met} | {row['ours']:g} | {theirs} | {row['unit']} |"
        )
    return "\n".join(lines)


def page(rows: list[dict[str, Any]]) -> str:
    return f"""# Speed and memory

Written by `make bench`; change nothing by hand. torch {torch.__version__}, Python {platform.python_version()}, one thread.
Figures are ratios within one run, both sides taking turns, in processor time where a unit says so.

{table(rows)}

How each is measured stands at the top of its file in `bench/`. The peer's environment is described in
`bench/peers/`: it gets float tensors in memory, no loggers, and accuracy as its only metric.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    chosen = parser.parse_args().parts or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}: name some of {', '.join(PARTS)}")
    path = ROOT / "bench" / "results.json"
    kept = [row for row in json.loads(path.read_text()) if row["part"] not in chosen] if path.exists() else []
    rows = kept + [row for name in chosen for row in measure(name)]
    rows.sort(key=lambda row: list(PARTS).index(row["part"]))
    path.write_text(json.dumps(rows, indent=1) + "\n")
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "bench.md").write_text(page(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
