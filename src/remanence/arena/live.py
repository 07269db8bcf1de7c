"""What a person sees while runs go on: one row per learner and seed, progress and time left."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from remanence.arena.folder import read_json, read_result
from remanence.arena.parallel import PROGRESS, RESULT

MOST_ROWS = 30


class LiveTable:
    """A context manager that draws the state of all jobs from the files they write."""

    def __init__(self, jobs: list[dict[str, Any]], folder: Path, console: Console) -> None:
        self.jobs, self.folder = jobs, folder
        self.begun = time.monotonic()
        self.done_before = sum(self._state(job)["share"] for job in jobs)
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def _state(self, job: dict[str, Any]) -> dict[str, Any]:
        place = self.folder / "jobs" / job["folder"]
        done = read_result(place / RESULT)
        if done is not None:
            return {
                "share": 1.0,
                "score": done.accuracy,
                "updates": done.updates.get("updates", 0),
                "done": done.status,
            }
        state = read_json(place / PROGRESS)
        return {**state, "done": ""} if state else {"share": 0.0, "score": None, "updates": 0, "done": ""}

    def _draw(self) -> Table:
        states = [self._state(job) for job in self.jobs]
        share = sum(state["share"] for state in states)
        elapsed = time.monotonic() - self.begun
        gained = share - self.done_before
        left = (len(states) - share) * elapsed / gained if gained > 0.01 else None
        table = Table(
            caption=f"{elapsed:.0f} s so far, {'about ' + format_time(left) if left is not None else 'some time'} left"
        )
        for name in ("learner", "seed", "progress", "", "updates", "score so far"):
            table.add_column(name, justify="right" if name in ("seed", "updates", "score so far") else "left")
        rows = sorted(
            zip(self.jobs, states, strict=True), key=lambda pair: (not 0 < pair[1]["share"] < 1, pair[1]["share"] >= 1)
        )
        for job, state in rows[:MOST_ROWS]:
            recipe = job["recipe"]
            score = "" if state["score"] is None else f"{state['score']:.3f}"
            bar = ProgressBar(total=1.0, completed=state["share"], width=24)
            step = state["done"] or f"{state['share']:.0%}"
            table.add_row(job["label"], str(recipe["seed"]), bar, step, str(state["updates"]), score)
        if len(rows) > MOST_ROWS:
            table.add_row("…", "", "", f"{len(rows) - MOST_ROWS} more", "", "")
        return table


def format_time(seconds: float) -> str:
    """A duration for people.

    >>> format_time(59.4), format_time(190), format_time(7300)
    ('59 s', '3 min', '2 h 2 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
