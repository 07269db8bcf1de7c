"""Trials: runs that are described by plain data, kept on disk by what they depend on, and never run twice."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from remanence import factory
from remanence.arena.fingerprint import of_system
from remanence.arena.job import check_fits
from remanence.arena.parallel import CHECKPOINT_EVERY, RESULT, execute
from remanence.arena.result import Result
from remanence.composition import compose
from remanence.footprint import format_bytes
from remanence.recipe import Recipe
from remanence.streams.experience import Stream
from remanence.streams.sources import SOURCES

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrialStore:
    """Where and how trials run, and where their results are kept.

    A trial is found again by the hash of its configuration, its data, the versions of packages and the source that
    runs, whoever asked for it: a baseline on one stream is run once for all claims.

    Parameters
    ----------
    folder:
        Where results are kept.
    jobs:
        How many processes (1 or more); the figures do not depend on it.
    fresh:
        Run again what is there already.
    progress:
        Called with the name of each trial when it is done.
    """

    folder: Path = Path("runs/claims")
    jobs: int = 1
    fresh: bool = False
    progress: Progress | None = None


@dataclass(frozen=True)
class Trial:
    """One learner on one stream with one seed.

    Of the stream only what describes it is read here; its data may be left out. `label` is the learner's name, with what follows ``#`` only telling settings apart.
    """

    label: str
    stream: Stream
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    budget: int | None = None
    probe_every: int = 0
    online: bool = False

    def recipe(self) -> Recipe:
        """How its learner is built; a reference such as joint training stands outside the budget."""
        composed = compose(system_of(self.label))
        return factory.recipe_for(
            composed,
            self.stream,
            model=self.model,
            seed=self.seed,
            budget=None if composed.reference else self.budget,
            settings=self.settings,
        )

    def job(self) -> dict[str, Any]:
        """Everything that decides what the trial gives, as JSON, and the name of its folder from a hash of it."""
        recipe = self.recipe()
        job = {
            "recipe": recipe.as_dict(),
            "stream": self.stream.recipe,
            "probe_every": self.probe_every,
            "online": self.online,
        }
        depends = {**job, "code": of_system(recipe.system), "data": data_of(self.stream), "versions": versions()}
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]
        job["checkpoint_every"] = CHECKPOINT_EVERY
        return {**job, "folder": f"{recipe.system}-{recipe.seed}-{digest}"}


def system_of(label: str) -> str:
    """The name of the system behind a label.

    >>> system_of("er+fpf#large")
    'er+fpf'
    """
    return label.partition("#")[0]


def data_of(stream: Stream) -> dict[str, str]:
    """What tells the data of a stream from another of its name: the digests of its files, by split."""
    source = str((stream.recipe or {}).get("source", ""))
    return dict(SOURCES[source].sums) if source in SOURCES else {}


@functools.cache
def versions() -> dict[str, str]:
    """The packages whose version may change a figure."""
    found = {}
    for package in ("torch", "numpy", "scipy", "scikit-learn", "transformers"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def run_trials(trials: Sequence[Trial], at: TrialStore) -> list[Result]:
    """The results of trials, in order; those that were run before are read.

    Raises
    ------
    NeedsError, UsageError, BudgetError
        If a learner cannot run on its stream; nothing is trained then.
    """
    jobs = []
    for number, trial in enumerate(trials):
        job = trial.job()
        if trial.label not in {earlier.label for earlier in trials[:number]}:
            check_fits(factory.build(Recipe.from_dict(job["recipe"])), trial.stream, trial.label)
        jobs.append(job)
    results = []
    for trial, data in zip(trials, _all(jobs, at), strict=True):
        results.append(Result.from_dict(data))
        if at.progress is not None:
            at.progress(f"{trial.label}, seed {trial.seed}")
    return results


def _all(jobs: list[dict[str, Any]], at: TrialStore) -> Iterator[dict[str, Any]]:
    if at.jobs == 1 or len(jobs) < 2:
        yield from (keep(job, str(at.folder), at.fresh) for job in jobs)
        return
    import joblib

    calls: Iterable[Any] = (joblib.delayed(keep)(job, str(at.folder.resolve()), at.fresh) for job in jobs)
    yield from joblib.Parallel(n_jobs=at.jobs, backend="loky", return_as="generator")(calls)


def keep(job: dict[str, Any], folder: str, fresh: bool) -> dict[str, Any]:
    """Run one job and keep its result alone; the checkpoint goes once it is not needed."""
    place = Path(folder) / "jobs" / job["folder"]
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    result = execute(job, folder)
    for leftover in place.glob("*"):
        if leftover.name != RESULT:
            leftover.unlink()
    return result


def over_budget(result: Result, budget: int | None) -> str:
    """How a run went over its budget, ``""`` if it did not; references stand outside."""
    most = max([result.bytes.get("total", 0), *result.bytes_after])
    if budget is None or result.reference or most <= budget:
        return ""
    return f"{result.learner} held {format_bytes(most)}, more than the budget of {format_bytes(budget)}"
