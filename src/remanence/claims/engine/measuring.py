"""Running an experiment: searches with the same effort for both sides, then paired measurements of everything."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from remanence.arena.fingerprint import fingerprint
from remanence.arena.trials import TrialStore, versions
from remanence.arena.tuning import Ask, Found, Tuning, compare
from remanence.claims.engine import protocol
from remanence.claims.engine.comparison import within
from remanence.claims.engine.evidence import Measurement, Rows
from remanence.claims.engine.experiment import Experiment, Measured
from remanence.errors import UsageError
from remanence.files import write_atomically

Run = tuple[str, int, bool, dict[str, Any]]
"""Label, seed, whether on held-out data, settings."""


def code_of(claim: Experiment) -> str:
    """A fingerprint of what the measurement depends on, whatever it imports included."""
    return fingerprint([claim.measure.__module__])


class Measuring:
    """One experiment being run; measurements that were made before with the same code are read."""

    def __init__(
        self, claim: Experiment, tune_seeds: tuple[int, ...], spare_seeds: tuple[int, ...], at: TrialStore
    ) -> None:
        self.claim, self.tune_seeds, self.spare_seeds, self.at = claim, tune_seeds, spare_seeds, at
        self.seconds: dict[str, float] = {}

    def search(self) -> dict[str, Found]:
        """The sides together, so that neither is tried more often; then further rows that have grids."""
        claim = self.claim
        labels = [claim.system, claim.baseline]
        others = [label for label in claim.controls + claim.beside if label in claim.search]
        sides = {label: self._tuning(label) for label in [*labels, *others]}
        compare([sides[label] for label in labels])
        for label in others:
            compare([sides[label]])
        return {label: side.found(claim.metric, seconds=self.seconds.get(label, 0.0)) for label, side in sides.items()}

    def measure(self, seeds: list[int], best: Mapping[str, dict[str, Any]]) -> Measurement:
        """Every label with every seed."""
        claim = self.claim
        settings = {label: {**claim.settings.get(label, {}), **best[label]} for label in claim.labels}
        runs = [(label, seed, False, settings[label]) for seed in seeds for label in claim.labels]
        rows: dict[str, list[dict[str, Any]]] = {label: [] for label in claim.labels}
        for (label, *_), row in zip(runs, self._measured(runs), strict=True):
            rows[label].append(row)
        values: Rows = {label: [_finite(row["figures"][claim.metric]) for row in rows[label]] for label in claim.labels}
        floors: Rows = {label: values[label] for label in claim.floors}
        if claim.chance is not None:
            floors["chance"] = [claim.chance] * len(seeds)
        return Measurement(
            values=values,
            bytes={label: _bytes(rows[label]) for label in claim.labels},
            updates={label: _means(rows[label], "counts") for label in claim.labels},
            settings=settings,
            seconds=round(sum(row["seconds"] for mine in rows.values() for row in mine), 1),
            figures={
                label: {
                    name: [_finite(row["figures"][name]) for row in rows[label]] for name in rows[label][0]["figures"]
                }
                for label in claim.labels
            },
            level=values[claim.baseline],
            floors=floors,
            level_better=claim.better,
        )

    def stale(self, seeds: list[int], fresh: list[int]) -> str:
        """An experiment draws its data by the seed."""
        return ""

    def protocol(self, seeds: list[int], found: Mapping[str, Found], given: Measurement) -> dict[str, str]:
        """How it was measured."""
        claim = self.claim
        return {
            "data": claim.how or claim.data,
            "equal": claim.equal or "not said",
            "spent": protocol.spent(given.bytes, given.updates, claim.labels),
            "seeds": f"{protocol.listed(seeds)}, each for both sides of a pair",
            "search": protocol.searched(found, (claim.system, claim.baseline), "on held-out data"),
            "reduced": claim.reduced or "not",
        }

    def _tuning(self, label: str) -> Tuning:
        fixed = self.claim.settings.get(label, {})

        def scores(asked: Sequence[Ask]) -> list[float | None]:
            runs = [(label, seed, True, {**fixed, **settings}) for settings, seed in asked]
            rows = list(self._measured(runs))
            self.seconds[label] = self.seconds.get(label, 0.0) + sum(row["seconds"] for row in rows)
            return [_finite(row["figures"][self.claim.metric]) for row in rows]

        return Tuning(
            self.claim.search.get(label, {}),
            scores,
            seeds=self.tune_seeds,
            spare=self.spare_seeds,
            higher=self.claim.better == "higher",
            allowed=within(self.claim.limits, lambda settings: True),
        )

    def _measured(self, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
        """What each run gave, in order."""
        import joblib

        claim, at = self.claim, self.at
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
    text = json.dumps([*run, code, versions()], sort_keys=True)
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
