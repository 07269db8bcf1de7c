"""Running an experiment: search with the same effort for both sides, then paired measurements, then a verdict."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from remanence.arena.fingerprint import fingerprint
from remanence.arena.search import Found, edges, points
from remanence.arena.trials import Workplace
from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.engine.paired import judged
from remanence.claims.engine.verdict import Verdict
from remanence.errors import UsageError
from remanence.files import write_atomically
from remanence.footprint import format_bytes

Run = tuple[str, int, bool, dict[str, Any]]
"""Label, seed, whether on held-out data, settings."""


def code_of(claim: Experiment) -> str:
    """A fingerprint of what the measurement depends on, whatever it imports included."""
    return fingerprint([claim.measure.__module__])


def run_experiment(
    claim: Experiment, seeds: list[int], tune_seeds: tuple[int, ...], at: Workplace, verdict: Verdict
) -> Verdict:
    """The verdict filled in; measurements that were made before with the same code are read."""
    found: dict[str, Found] = {}
    seconds = 0.0
    for label in (claim.system, claim.baseline):
        found[label] = _search(claim, label, tune_seeds, at)
        seconds += found[label].seconds
    settings = {
        label: {**claim.settings.get(label, {}), **(found[label].best if label in found else {})}
        for label in claim.labels
    }
    runs = [(label, seed, False, settings[label]) for seed in seeds for label in claim.labels]
    rows: dict[str, list[dict[str, Any]]] = {label: [] for label in claim.labels}
    for (label, *_), row in zip(runs, _measured(claim, runs, at), strict=True):
        rows[label].append(row)
        seconds += row["seconds"]
    sides = (claim.system, claim.baseline)
    verdict = replace(
        verdict,
        values={label: [_finite(row["figures"][claim.metric]) for row in rows[label]] for label in sides},
        figures={
            label: {name: [_finite(row["figures"][name]) for row in rows[label]] for name in rows[label][0]["figures"]}
            for label in claim.labels
        },
        bytes={label: _bytes(rows[label]) for label in claim.labels},
        updates={label: _means(rows[label], "counts") for label in claim.labels},
        search={label: asdict(found[label]) for label in sides},
        settings=settings,
        seconds=round(seconds, 1),
    )
    verdict = replace(verdict, protocol=_protocol(claim, verdict, found, tune_seeds))
    return judged(verdict, claim.metric, claim.better, sides)


def _search(claim: Experiment, label: str, tune_seeds: tuple[int, ...], at: Workplace) -> Found:
    tries = points(claim.search.get(label, {}))
    if len(tries) == 1:
        return Found(tries[0], claim.metric, [], list(tune_seeds))
    fixed = claim.settings.get(label, {})
    runs = [(label, seed, True, {**fixed, **point}) for point in tries for seed in tune_seeds]
    rows = list(_measured(claim, runs, at))
    scores = [_finite(row["figures"][claim.metric]) for row in rows]
    table: list[dict[str, Any]] = []
    for number, point in enumerate(tries):
        mine = scores[number * len(tune_seeds) : (number + 1) * len(tune_seeds)]
        known = [score for score in mine if score is not None]
        mean = statistics.fmean(known) if len(known) == len(mine) else None
        table.append({"settings": point, "scores": mine, "mean": mean})
    sign = 1.0 if claim.better == "higher" else -1.0
    best = max(table, key=lambda row: sign * row["mean"] if row["mean"] is not None else float("-inf"))
    seconds = round(sum(row["seconds"] for row in rows), 1)
    return Found(best["settings"], claim.metric, table, list(tune_seeds), seconds=seconds)


def _measured(claim: Experiment, runs: list[Run], at: Workplace) -> Iterator[dict[str, Any]]:
    """What each run gave, in order."""
    import joblib

    # By what is called and not by the claim, so that two claims share what they both measure.
    folder, code = at.folder.resolve() / "measured" / claim.measure.__module__.rpartition(".")[2], code_of(claim)
    calls = [(claim, run, folder / f"{run[0]}-{run[1]}-{_digest(run, code)}.json", at.fresh) for run in runs]
    rows: Iterable[dict[str, Any]] = (_kept(*call) for call in calls)
    if at.jobs > 1 and len(runs) > 1:
        parallel = joblib.Parallel(n_jobs=at.jobs, backend="loky", return_as="generator")
        rows = parallel(joblib.delayed(_kept)(*call) for call in calls)
    for (label, seed, *_), row in zip(runs, rows, strict=True):
        if at.progress is not None:
            at.progress(f"{label}, seed {seed}")
        if claim.metric not in row["figures"]:
            raise UsageError(f"the experiment about {claim.name} measured no {claim.metric!r}: mend its measure")
        yield row


def _digest(run: Run, code: str) -> str:
    import torch

    text = json.dumps([*run, code, torch.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _kept(claim: Experiment, run: Run, path: Path, fresh: bool) -> dict[str, Any]:
    """One run, read if it was made before; one torch thread, so that any number of processes gives the same."""
    import torch

    if path.exists() and not fresh:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    torch.set_num_threads(1)
    label, seed, held_out, settings = run
    begin = time.perf_counter()
    made: Measured = claim.measure(label, seed, held_out, **settings)
    row = {**asdict(made), "seconds": round(time.perf_counter() - begin, 2)}
    write_atomically(path, json.dumps(row))
    return row


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _means(rows: list[dict[str, Any]], kind: str) -> dict[str, int]:
    return {name: round(statistics.fmean(row[kind][name] for row in rows)) for name in rows[0][kind]}


def _bytes(rows: list[dict[str, Any]]) -> dict[str, int]:
    held = _means(rows, "bytes")
    return {**held, "total": sum(held.values())}


def _protocol(
    claim: Experiment, verdict: Verdict, found: dict[str, Found], tune_seeds: tuple[int, ...]
) -> dict[str, str]:
    sides = (claim.system, claim.baseline)
    tried = len(points(claim.search.get(claim.system, {})))
    searched = "none: both run with the settings of the claim and of their cards"
    if tried > 1:
        seeds = " and ".join(map(str, tune_seeds))
        searched = f"{tried} points each, by the mean {claim.metric} over seeds {seeds}, on held-out data"
        for label in sides:
            for name in edges(claim.search.get(label, {}), found[label].best):
                searched += f"; the best {name} of {label} lies at the end of its grid"
    spent = "; ".join(
        f"{label} {format_bytes(verdict.bytes[label]['total'])}"
        + "".join(f", {count:,} {name}" for name, count in verdict.updates[label].items())
        for label in sides
    )
    return {
        "data": claim.how or claim.data,
        "equal": claim.equal or "not said",
        "spent": spent,
        "seeds": f"{verdict.seeds[0]} to {verdict.seeds[-1]}, each for both sides of a pair",
        "search": searched,
        "reduced": claim.reduced or "not",
        "commit": f"{verdict.commit or 'unknown'}, code {verdict.code}",
    }
