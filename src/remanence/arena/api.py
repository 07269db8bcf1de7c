"""What `remanence.run` and `remanence.compare` do, apart so that importing the arena stays quick."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import nn

from remanence import factory
from remanence.arena.folder import RESULTS, environment, read_result
from remanence.arena.job import Job, Settings, check_fits
from remanence.arena.parallel import CHECKPOINT, RESULT
from remanence.arena.report import Report
from remanence.arena.result import Result
from remanence.errors import UsageError
from remanence.files import write_atomically
from remanence.learner import Learner
from remanence.streams.experience import Stream

Given = Learner | str | Callable[[int], Learner]


def compare(
    learners: Mapping[str, Given],
    stream: Stream,
    seeds: int | list[int],
    probe_every: int | None,
    online: bool,
    out: str | Path | None,
    loggers: Any,
) -> Report:
    """See `remanence.compare`."""
    factory.require_stream(stream)
    if not isinstance(learners, Mapping) or not learners:
        raise UsageError(f"the learners are {learners!r}, expected a mapping from label to learner: {{'er': 'er'}}")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not numbers or not all(isinstance(seed, int) for seed in numbers):
        raise UsageError(f"the seeds are {seeds!r}, expected how many (1 or more), or a list of whole numbers")
    if probe_every is not None and (not isinstance(probe_every, int) or probe_every < 0):
        raise UsageError(f"probe_every is {probe_every!r}, expected a number of updates (0 or more) or None")
    if isinstance(loggers, str) or not all(hasattr(logger, "finish") for logger in loggers):
        raise UsageError(f"the loggers are {loggers!r}, expected a list of those in remanence.arena.loggers")
    for label, given in learners.items():
        if isinstance(given, nn.Module) and not isinstance(given, Learner):
            raise UsageError(f"{label!r} is a plain module: make a learner around it with remanence.make(…, model=…)")
        if not isinstance(given, str | Learner) and (not callable(given) or isinstance(given, type)):
            raise UsageError(
                f"{label!r} is {given!r}, expected a system's name, a learner, or a function from seed to one"
            )
    if any(isinstance(given, Learner) for given in learners.values()) and len(numbers) > 1:
        raise UsageError(
            "a learner that is built already has one seed: give its name, or a function from seed to learner"
        )
    configuration = {"stream": stream.name, "learners": list(learners), "seeds": numbers, "probe_every": probe_every}
    results = []
    with ExitStack() as stack:
        logs = [stack.enter_context(logger) for logger in loggers]
        for logger in logs:
            logger.start(configuration)
        for seed in numbers:
            for label, given in learners.items():
                place = Path(out) / "jobs" / f"{label}-{seed}" if out is not None else None
                results.append(_one(label, given, stream, seed, probe_every, online, place, logs))
    report = Report(results, {**configuration, "recipe": stream.recipe}, environment())
    if out is not None:
        write_atomically(Path(out) / RESULTS, json.dumps([result.as_dict() for result in results], indent=1))
        report.save(out)
    return report


def _one(
    label: str,
    given: Given,
    stream: Stream,
    seed: int,
    probe_every: int | None,
    online: bool,
    place: Path | None,
    logs: list[Any],
) -> Result:
    done = read_result(place / RESULT) if place is not None else None
    if done is not None:
        return done
    if isinstance(given, str):
        learner = factory.make(given, stream, seed=seed)
    else:
        learner = given if isinstance(given, Learner) else given(seed)
        if not isinstance(learner, Learner):
            raise UsageError(f"the function of {label!r} gave a {type(learner).__name__}, expected a learner")
    name = label if label != "learner" else (learner.recipe.system if learner.recipe else type(learner).__name__)
    check_fits(learner, stream, name, online)
    settings = Settings(probe_every, online, place / CHECKPOINT if place is not None else None)

    def log(update: int, values: dict[str, float]) -> None:
        for logger in logs:
            logger.log(f"{name}/{learner.seed}", update, values)

    result = dataclasses.replace(Job(learner, stream, settings, log=log if logs else None).run(), learner=name)
    if place is not None:
        write_atomically(place / RESULT, json.dumps(result.as_dict()))
    summary = {
        key: value for key, value in {"accuracy": result.accuracy, **result.metrics}.items() if value is not None
    }
    for logger in logs:
        logger.finish(f"{name}/{learner.seed}", summary)
    return result
