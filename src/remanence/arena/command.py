"""`remanence run`: from flags to a finished run folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from remanence import registry
from remanence.arena.config import LEARNERS, MEMORIES, THREE_PLACES, RunConfig, parse_settings
from remanence.arena.folder import CONFIG, RESULTS, check_format, default_folder, environment, hash_of, read_json
from remanence.arena.live import LiveTable
from remanence.arena.parallel import run_all
from remanence.arena.report import Report
from remanence.arena.result import Result
from remanence.arena.tables import final_tables
from remanence.errors import UsageError


def run_command(
    flags: dict[str, Any],
    training: dict[str, Any],
    table: dict[str, Any],
    pairs: list[str],
    *,
    config: Path | None,
    out: Path | None,
    fresh: bool,
    jobs: int | None,
    cluster: str | None,
    as_json: bool,
    deterministic: bool,
) -> None:
    """Run a configuration, or go on with it, and print what came of it."""
    console = Console(stderr=as_json, markup=False)
    resolved = resolve(flags, training, table, pairs, config, console)
    for name, unused in not_taken(resolved):
        console.print(f"{name} does not take {', '.join(unused)}, which would mean nothing to it", soft_wrap=True)
    folder = out or default_folder(resolved, fresh)
    results = finished(folder, resolved)
    if results is None:
        console.print(f"run: {folder}", soft_wrap=True)
        try:
            results = run_all(
                resolved,
                folder,
                jobs=jobs or os.cpu_count() or 1,
                cluster=cluster,
                watch=lambda planned, place: LiveTable(planned, place, console),
                say=lambda text: console.print(text, soft_wrap=True),
                deterministic=deterministic,
            )
        except KeyboardInterrupt:
            print(
                f"interrupted: what is done lies in {folder}; the same command, or "
                f"remanence run --config {folder / CONFIG} --out {folder}, goes on from there",
                file=sys.stderr,
            )
            raise SystemExit(130) from None
        report = Report(results, resolved.model_dump(), read_json(folder / "environment.json") or environment())
        page = report.save(folder)
    else:
        console.print(f"run: {folder} (finished before; --fresh runs it again beside this one)", soft_wrap=True)
        page = folder / "report.html"
        if not page.exists():
            page = Report.load(folder).save(folder)
    if as_json:
        print(json.dumps([result.as_dict() for result in results], indent=1))
    for shown in final_tables(results):
        console.print(shown)
    console.print(f"report: {page}", soft_wrap=True)


def resolve(
    flags: dict[str, Any],
    training: dict[str, Any],
    table: dict[str, Any],
    pairs: list[str],
    config: Path | None,
    console: Console,
) -> RunConfig:
    """Lay flags over the file, fill in the learners, and check it all."""
    given = RunConfig.load(config) if config is not None else {}
    given = {**given, **flags}
    for key, mine in (("training", training), ("table", table), ("set", parse_settings(pairs))):
        there = given.get(key, {})
        if not isinstance(there, dict):
            raise UsageError(f"the run's setting {key} is {there!r}, expected a table of names and values")
        merged = {**there, **mine}
        if merged:
            given[key] = merged
    if "stream" not in given:
        raise UsageError("no stream was named: give one, for example `remanence run digits`, or a file with --config")
    checked = RunConfig.read(given).with_data()
    if checked.learners:
        return checked
    return RunConfig.read({**checked.model_dump(), "learners": default_learners(checked, console)})


def not_taken(config: RunConfig) -> list[tuple[str, list[str]]]:
    """Which of the training settings given for all learners mean nothing to which of them."""
    found = []
    for name in config.learners:
        used = config.composed(name).training_settings_used
        unused = sorted(set(config.training) - used) if used is not None else []
        if unused:
            found.append((name, unused))
    return found


def default_learners(config: RunConfig, console: Console) -> list[str]:
    """Those of the usual learners that can do what the stream asks, saying which cannot and why."""
    stream = config.build_stream(0)
    able, left_out = [], []
    known = registry.all_systems()
    usual = {"retrieval": MEMORIES, "answering": THREE_PLACES}
    for name in usual.get(stream.task.kind, LEARNERS):
        if name not in known:
            continue
        card = known[name]
        lacking = sorted(card.needs - stream.disclosure.disclosed())
        if stream.task.kind not in card.tasks:
            left_out.append(f"{name} (does not do {stream.task.kind})")
        elif lacking:
            left_out.append(f"{name} (needs {' and '.join(lacking)})")
        else:
            able.append(name)
    if left_out:
        console.print(f"left out on this stream: {', '.join(left_out)}")
    return able


def finished(folder: Path, config: RunConfig) -> list[Result] | None:
    """The results of a finished run of this very configuration in the folder, or None."""
    check_format(folder)
    data = read_json(folder / RESULTS)
    if data is None or not (folder / CONFIG).exists() or hash_of(folder / CONFIG) != config.hash():
        return None
    try:
        return [Result.from_dict(entry) for entry in data]
    except (TypeError, KeyError, AttributeError):
        return None  # edited or of another version: written again from the results of the jobs
