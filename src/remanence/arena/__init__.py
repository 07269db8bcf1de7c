"""The arena: run learners on streams, measure them while they learn, compare and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanence.arena.result import Probe, Result

if TYPE_CHECKING:
    from remanence.arena.report import Report
    from remanence.learner import Learner
    from remanence.streams.experience import Stream

__all__ = ["Probe", "Result", "compare", "run"]


def run(
    learner: Learner | str,
    stream: Stream,
    *,
    probe_every: int | None = None,
    online: bool = False,
    out: str | Path | None = None,
    loggers: Any = (),
    seed: int = 0,
) -> Report:
    """Run one learner on one stream.

    Parameters
    ----------
    learner:
        A learner, or the name of a system.
    stream:
        What it learns.
    probe_every:
        Updates between probes; None for about twenty an experience, 0 for none.
    online:
        Score every new batch before it is learned (prequential streams always do).
    out:
        Folder for checkpoints, results and report; a run that is there already goes on.
    loggers:
        Where probes are logged too (`remanence.arena.loggers`).
    seed:
        For a learner given by name.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> report = rm.run("ncm", stream)
    >>> report.results[0].accuracy > 0.8
    True
    """
    name = learner if isinstance(learner, str) else None
    return compare(
        {name or "learner": learner},
        stream,
        seeds=[seed],
        probe_every=probe_every,
        online=online,
        out=out,
        loggers=loggers,
    )


def compare(
    learners: Mapping[str, Learner | str | Callable[[int], Learner]],
    stream: Stream,
    *,
    seeds: int | list[int] = 5,
    probe_every: int | None = None,
    online: bool = False,
    out: str | Path | None = None,
    loggers: Any = (),
) -> Report:
    """Run several learners on one stream, each with every seed, in this process.

    Parameters
    ----------
    learners:
        By label: the name of a system, a function from seed to learner, or (with one seed) a learner.
    stream:
        What they learn.
    seeds:
        How many seeds, or which.
    probe_every, online, out, loggers:
        As in `run`.
    """
    from remanence.arena.api import compare as compare_

    return compare_(learners, stream, seeds, probe_every, online, out, loggers)
