"""Many runs: every learner with every seed, in processes here or on a cluster, each resumable."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from remanence import factory
from remanence.arena.config import RunConfig
from remanence.arena.folder import RESULTS, opened, read_result
from remanence.arena.job import Job, Record, Settings, check_fits
from remanence.arena.result import Result
from remanence.errors import BudgetError, MissingExtra, Unsupported, UsageError
from remanence.files import write_atomically
from remanence.recipe import Recipe
from remanence.streams import build as build_stream
from remanence.streams.experience import Stream

CHECKPOINT, RESULT, PROGRESS = "checkpoint.safetensors", "result.json", "progress.json"
CHECKPOINT_EVERY = 5000
"""Updates between checkpoints inside a long experience; one is also written every minute."""


def plan(config: RunConfig) -> list[dict[str, Any]]:
    """One JSON-able job per learner and seed, each checked against its stream before anything is trained."""
    jobs = []
    entries = config.entries()
    refused: list[BudgetError] = []
    for seed in range(config.seeds):
        stream = config.build_stream(seed)
        for label, name, budget in entries:
            recipe = recipe_of(config, name, stream, seed, budget)
            if seed == 0:
                try:
                    check_fits(factory.build(recipe, composed=config.composed(name)), stream, name, config.online)
                except BudgetError as error:  # of several budgets some may be too small, and the others are run
                    refused.append(error)
                    if len(config.budgets) < 2 or len(refused) == len(entries):
                        raise refused[0] from None
            jobs.append(
                {
                    "label": label,
                    "recipe": recipe.as_dict(),
                    "stream": stream.recipe,
                    "probe_every": config.probe_every,
                    "online": config.online,
                    "checkpoint_every": CHECKPOINT_EVERY,
                    "folder": f"{label}-{seed}",
                }
            )
    return jobs


def recipe_of(config: RunConfig, name: str, stream: Stream, seed: int, budget: int | None) -> Recipe:
    """The recipe of one learner under one budget."""
    return factory.recipe_for(
        config.composed(name),
        stream,
        model=config.training.get("model"),
        seed=seed,
        budget=budget,
        settings=config.settings_of(name),
    )


def execute(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """Run one job, or go on with it, in this process; a finished one is read back."""
    place = Path(folder) / "jobs" / job["folder"]
    done = read_result(place / RESULT)
    if done is not None:
        return done.as_dict()
    stream = _stream(json.dumps(job["stream"], sort_keys=True))
    recipe = Recipe.from_dict(job["recipe"])
    if job.get("deterministic"):
        torch.use_deterministic_algorithms(True)
    place.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        job["probe_every"],
        job["online"],
        place / CHECKPOINT,
        every_updates=job.get("checkpoint_every", CHECKPOINT_EVERY),
    )
    driven: Job | None = None
    try:
        driven = Job(factory.build(recipe), stream, settings, ProgressFile(place / PROGRESS))
        found = driven.run()
    except BudgetError as error:  # this learner is refused, the others go on
        stopped = {"stopped": str(error)}
        if driven is not None:
            found = driven.result("refused", stopped)
        else:
            found = Result(recipe.system, recipe.seed, "refused", stream.task.metric, notes=stopped)
    result = replace(found, learner=job.get("label", recipe.system)).as_dict()
    write_atomically(place / RESULT, json.dumps(result))
    return result


_streams: dict[str, Stream] = {}


def _stream(recipe: str) -> Stream:
    if recipe not in _streams:
        _streams.clear()
        _streams[recipe] = build_stream(json.loads(recipe))
    return _streams[recipe]


class ProgressFile:
    """Writes how far a job is, at most four times a second, for whoever watches."""

    def __init__(self, path: Path) -> None:
        self.path, self._written = path, 0.0

    def __call__(self, record: Record, stream: Stream) -> None:
        now = time.monotonic()
        if now - self._written < 0.25:
            return
        self._written = now
        whole = stream.segment_ends[-1] if stream.segment_ends else 1
        last = next((p.scores for p in reversed(record.probes) if p.scores), [])
        seen = [value for value in last if value is not None]
        state = {
            "experience": record.segment,
            "experiences": len(stream),
            "updates": record.counts["updates"],
            "share": min(1.0, record.counts["examples"] / max(1, whole)),
            "score": sum(seen) / len(seen) if seen else None,
        }
        temporary = self.path.with_suffix(".tmp")
        with suppress(OSError):  # a full disk stops a run where it keeps something, not where it only shows it
            temporary.write_text(json.dumps(state))
            os.replace(temporary, self.path)


def run_all(
    config: RunConfig,
    folder: Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    watch: Callable[[list[dict[str, Any]], Path], Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
    deterministic: bool = False,
) -> list[Result]:
    """Run every job of a configuration in its folder and write ``results.json``.

    Parameters
    ----------
    config:
        What to run.
    folder:
        Where; a run that is there already goes on.
    jobs:
        How many processes.
    cluster:
        Address of a Ray cluster (``auto`` or ``local`` to start one here), instead of processes.
    watch:
        Makes a context manager that shows progress, from the jobs and the folder.
    say:
        Told in a sentence which learners cannot be stacked, and why.
    deterministic:
        Refuse operations that torch cannot repeat to the bit.
    """
    planned = [{**job, "deterministic": deterministic} for job in plan(config)]  # checks all before a file is written
    if cluster is not None:
        _ray_installed()
        _answers(cluster)
    groups = _stacked(config, planned, say) if config.stack else [[job] for job in planned]
    with opened(folder, config):
        with watch(planned, folder) if watch is not None else nullcontext():
            found = [data for group in _in_parallel(groups, folder.resolve(), jobs, cluster) for data in group]
        order = {job["folder"]: place for place, job in enumerate(planned)}
        found.sort(key=lambda data: order[f"{data['learner']}-{data['seed']}"])
        results = [Result.from_dict(data) for data in found]
        if all(result.status == "refused" for result in results):
            raise BudgetError(results[0].notes["stopped"])
        write_atomically(folder / RESULTS, json.dumps([r.as_dict() for r in results], indent=1))
    return results


def _stacked(
    config: RunConfig, planned: list[dict[str, Any]], say: Callable[[str], None]
) -> list[list[dict[str, Any]]]:
    """The jobs of each learner together where it can be stacked, alone where not."""
    from remanence.arena.stacked import stack

    groups = []
    for name, _, _ in config.entries():
        mine = [job for job in planned if job["label"] == name]
        try:
            if config.online:
                raise Unsupported("asking about every batch before it is learned goes seed by seed")
            stack(Recipe.from_dict(mine[0]["recipe"]), [0, 1], build_stream(mine[0]["stream"]))
            groups.append(mine)
        except Unsupported as reason:
            say(f"{name} is trained seed by seed: {reason}")
            groups += [[job] for job in mine]
    return groups


def execute_group(group: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """Run the jobs of a group in this process, together if there are several."""
    places = [Path(folder) / "jobs" / job["folder"] for job in group]
    if len(group) == 1:
        return [execute(group[0], folder)]
    done = [result.as_dict() for result in map(read_result, (place / RESULT for place in places)) if result]
    if len(done) == len(places):
        return done
    from remanence.arena.stacked import StackedJob

    recipes = [Recipe.from_dict(job["recipe"]) for job in group]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    results = StackedJob(
        recipes[0],
        [recipe.seed for recipe in recipes],
        [build_stream(job["stream"]) for job in group],
        places,
        Settings(group[0]["probe_every"], group[0]["online"]),
        [ProgressFile(place / PROGRESS) for place in places],
    ).run()
    labelled = [replace(result, learner=job["label"]) for job, result in zip(group, results, strict=True)]
    for place, result in zip(places, labelled, strict=True):
        write_atomically(place / RESULT, json.dumps(result.as_dict()))
    return [result.as_dict() for result in labelled]


def _in_parallel(
    groups: list[list[dict[str, Any]]], folder: Path, jobs: int, cluster: str | None
) -> Iterable[list[dict[str, Any]]]:
    if cluster is None and (jobs == 1 or len(groups) == 1):
        for group in groups:
            yield execute_group(group, str(folder))
        return
    import joblib

    calls = (joblib.delayed(execute_group)(group, str(folder)) for group in groups)
    if cluster is None:
        yield from joblib.Parallel(n_jobs=jobs, backend="loky")(calls)
        return
    with _ray(cluster):
        yield from joblib.Parallel(n_jobs=jobs if jobs > 1 else -1)(calls)


def _ray_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise MissingExtra("ray", "cluster", "running on a cluster")


def _ray(address: str) -> Any:
    import joblib
    import ray
    from ray.util.joblib import register_ray

    try:
        ray.init(address=None if address == "local" else address, ignore_reinit_error=True, log_to_driver=False)
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({error}): start one, or use --cluster local"
        ) from None
    register: Callable[[], None] = register_ray
    register()
    return joblib.parallel_backend("ray")


def _answers(address: str) -> None:
    """Refuse an address at which nothing listens, since Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        raise UsageError(f"no Ray cluster answers at {address!r}: start one, or use --cluster local") from None
