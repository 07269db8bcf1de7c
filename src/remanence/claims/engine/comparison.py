"""Running a claim about learners on a stream: searches with the same effort, then paired runs of everything."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from remanence import streams
from remanence.arena.fingerprint import of_system
from remanence.arena.job import COUNTS
from remanence.arena.result import Result
from remanence.arena.search import RANKS, Order, StreamSearch, order_of, tuning_face
from remanence.arena.trials import Trial, TrialStore, over_budget, run_trials, system_of
from remanence.arena.tuning import Found, compare
from remanence.claims.engine import protocol
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.evidence import Measurement, Rows
from remanence.claims.engine.floors import PLAIN, trivial
from remanence.claims.engine.registry import OWN
from remanence.errors import BudgetError, NeedsError, Unsupported, UsageError
from remanence.footprint import format_bytes, parse_bytes
from remanence.training import Training


@dataclass(frozen=True)
class _Face:
    """What is needed of a stream once its data is let go: its tests alone can weigh a hundred megabytes."""

    stream: streams.Stream
    experiences: int
    rows: int
    tests: int
    order: Order
    trivial: float | None
    digest: str


class Comparison:
    """One claim about learners on a stream being run; `evidence.Runner` says what its methods give."""

    def __init__(self, claim: Claim, tune_seeds: tuple[int, ...], spare_seeds: tuple[int, ...], at: TrialStore) -> None:
        self.claim, self.tune_seeds, self.spare_seeds, self.at = claim, tune_seeds, spare_seeds, at
        self.budget = None if claim.budget is None else parse_bytes(claim.budget)
        self.model = claim.training.get("model")
        self.recipe = stream_recipe(claim)
        self.level = claim.metric if claim.metric in RANKS else "accuracy"
        self.fixed = {label: self._fixed(label) for label in claim.labels}
        self._faces: dict[int, _Face] = {}
        self._plain: tuple[str, dict[str, Any]] | None = None
        self.unfloored = ""

    def search(self) -> dict[str, Found]:
        """The sides together, so that neither is tried more often; then controls and the plain learner alone."""
        claim = self.claim
        sides = {label: self._search(label, claim.search.get(label, {})) for label in (claim.system, claim.baseline)}
        self._within(sides)
        compare([side.tuning for side in sides.values()])
        others = [label for label in claim.controls + claim.beside if label in claim.search]
        alone = {label: self._search(label, claim.search[label]) for label in others}
        for side in alone.values():
            compare([side.tuning])
        self._search_plain()
        return {label: side.found() for label, side in (sides | alone).items()}

    def measure(self, seeds: list[int], best: Mapping[str, dict[str, Any]]) -> Measurement:
        """All labels on one stream after another, so that each stream is made once."""
        claim, labels = self.claim, self.claim.labels
        trials = [self._trial(label, best[label], seed) for seed in seeds for label in labels]
        everything = run_trials(trials, self.at)
        results = {label: everything[place :: len(labels)] for place, label in enumerate(labels)}
        floors = self._floors(seeds)
        problem = next(filter(None, (over_budget(result, self.budget) for result in everything)), "")
        higher = self._face(seeds[0]).stream.task.higher_is_better or self.level != "accuracy"
        return Measurement(
            values={label: [value_of(result, claim.metric) for result in results[label]] for label in labels},
            bytes={label: _bytes(results[label]) for label in labels},
            updates={label: _counts(results[label]) for label in labels},
            settings={label: self._recipe_of(label, best[label], seeds[0]) for label in labels},
            seconds=round(sum(sum(result.seconds.values()) for result in everything), 1),
            accuracy={label: [result.accuracy for result in results[label]] for label in labels},
            level=[value_of(result, self.level) for result in results[claim.baseline]],
            floors=floors,
            level_better="higher" if higher else "lower",
            problem=problem,
        )

    def stale(self, seeds: list[int], fresh: list[int]) -> str:
        """Why other seeds would ask nothing new, ``""`` where they do: folds and parts of few questions are soon used up."""
        seen = {self._face(seed).digest for seed in seeds}
        again = [seed for seed in fresh if self._face(seed).digest in seen]
        if not again:
            return ""
        return (
            f"{len(again)} of {len(fresh)} fresh seeds ask what the verdict was taken on: this stream has no other data"
        )

    def protocol(self, seeds: list[int], found: Mapping[str, Found], given: Measurement) -> dict[str, str]:
        """How it was measured."""
        claim, first = self.claim, self._face(seeds[0])
        scenarios = ", ".join(f"{name} {options}" if options else name for name, options in self.recipe["scenarios"])
        told = ", ".join(sorted(first.stream.disclosure.disclosed())) or "nothing"
        share = found[claim.system].share
        held = f"on {share:.0%} of the training examples, held out" if share else "on data drawn for these seeds alone"
        where = f"{held}; {self._orders(seeds, share)}"
        if self.budget is not None:
            outside = [label for label in claim.labels if given.settings[label]["budget"] is None]
            held = f"{format_bytes(self.budget)} for each, kept after every experience"
            budget = held + (f"; {', '.join(outside)} stands outside" if outside else "")
        else:
            budget = "none"
        said = {
            "data": f"{claim.stream['source']}, {scenarios or 'as it is'}: {first.experiences} experiences, {first.rows:,} examples "
            f"to learn and {first.tests:,} test examples",
            "disclosed": told,
            "model": f"{given.settings[claim.system]['model']}, one thread",
            "budget": budget,
            "equal": claim.equal or "not said",
            "spent": protocol.spent(given.bytes, given.updates, claim.labels),
            "seeds": f"{protocol.listed(seeds)}, each for stream and learner of a pair",
            "search": protocol.searched(found, (claim.system, claim.baseline), where),
            "reduced": claim.reduced or "not",
        }
        if self.unfloored:
            said["floors"] = self.unfloored
        return said

    def _fixed(self, label: str) -> dict[str, Any]:
        shared = {key: value for key, value in self.claim.training.items() if key not in OWN}
        return shared | self.claim.settings.get(label, {})

    def _search(self, label: str, grid: Mapping[str, list[Any]], **fixed: Any) -> StreamSearch:
        return StreamSearch(
            label,
            self.recipe,
            grid,
            {**self.fixed.get(label, self._fixed(label)), **fixed},
            model=self.model,
            budget=self.budget,
            metric=self.claim.metric,
            tune_seeds=self.tune_seeds,
            spare_seeds=self.spare_seeds,
            at=self.at,
        )

    def _within(self, sides: Mapping[str, StreamSearch]) -> None:
        """Keep extensions within the limits that the claim declares, beside those of the hyperparameters."""
        for side in sides.values():
            side.tuning.allowed = within(self.claim.limits, side.tuning.allowed)

    def _trial(self, label: str, settings: Mapping[str, Any], seed: int) -> Trial:
        return Trial(
            label,
            self._face(seed).stream,
            seed,
            {**self.fixed.get(label, self._fixed(label)), **settings},
            self.model,
            self.budget,
            self.claim.probe_every,
            self.claim.metric == "online_accuracy",
        )

    def _recipe_of(self, label: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
        recipe = self._trial(label, settings, seed).recipe().as_dict()
        return {key: recipe[key] for key in ("system", "settings", "model", "training", "budget")}

    def _search_plain(self) -> None:
        """The plain learner with the learning rates of the comparison, where it is neither side and runs here."""
        claim = self.claim
        name = PLAIN[self._face(self.tune_seeds[0] if self.tune_seeds else 0).stream.task.kind]
        if name in (system_of(claim.system), system_of(claim.baseline)):
            return
        shared = {key: value for key, value in self._fixed(name).items() if key in Training.model_fields}
        grids = [claim.search.get(label, {}).get("lr") for label in (claim.baseline, claim.system)]
        grid = next(({"lr": rates} for rates in grids if rates), {})
        try:
            self.fixed[name] = shared
            side = self._search(name, grid)
            compare([side.tuning])
            run_trials([self._trial(name, side.tuning.best, self.tune_seeds[0])], self.at)
        except (NeedsError, BudgetError, Unsupported, UsageError) as error:
            self.unfloored = f"{name} does not stand beside them: {error}"
            return
        self._plain = (name, side.tuning.best)

    def _floors(self, seeds: list[int]) -> Rows:
        """What the baseline has to clear, one value a seed; only what this stream has."""
        floors: Rows = {}
        guesses = [self._face(seed).trivial for seed in seeds]
        if None not in guesses:
            floors["the best answer without looking"] = guesses
        if self._plain is not None:
            name, settings = self._plain
            results = run_trials([self._trial(name, settings, seed) for seed in seeds], self.at)
            floors[name] = [value_of(result, self.level) for result in results]
        return floors

    def _face(self, seed: int) -> _Face:
        if seed not in self._faces:
            stream = streams.build(streams.with_seed(self.recipe, seed))
            self._faces[seed] = _Face(
                replace(stream, segments=(), tests=()),
                len(stream),
                sum(len(segment.examples) for segment in stream.segments),
                sum(len(test.y) for test in stream.tests),
                order_of(stream),
                trivial(stream, self.level),
                _digest(stream),
            )
        return self._faces[seed]

    def _orders(self, seeds: list[int], share: float) -> str:
        """Whether the class orders searched on were others, as found by looking."""
        tuned = {tuning_face(self.recipe, seed, share)[1] for seed in self.tune_seeds}
        measured = {self._face(seed).order for seed in seeds}
        if len(tuned | measured) == 1:
            return "the stream has one order of classes, so that only seeds and examples differ from those reported"
        shared = len(tuned & measured)
        return f"{shared or 'no'} class order{'s are' if shared > 1 else ' is'} both searched on and reported"


def within(limits: Mapping[str, tuple[float, float]], allowed: Any) -> Any:
    """What `allowed` says, within limits by setting."""

    def both(settings: dict[str, Any]) -> bool:
        inside = all(low <= settings[name] <= high for name, (low, high) in limits.items() if name in settings)
        return inside and bool(allowed(settings))

    return both


def code_of_learners(claim: Claim) -> str:
    """Fingerprints of what the two sides run."""
    return "-".join(of_system(system_of(label))[:8] for label in (claim.system, claim.baseline))


def stream_recipe(claim: Claim) -> dict[str, Any]:
    """The recipe of a claim's stream, with its limit as the last scenario."""
    scenarios = [[name, dict(options)] for name, options in claim.stream["scenarios"]]
    if claim.training.get("limit"):
        scenarios.append(["limit", {"examples": claim.training["limit"]}])
    return {"source": claim.stream["source"], "scenarios": scenarios}


def value_of(result: Result, metric: str) -> float | None:
    """A metric of one run, None where it diverged or the stream does not define it."""
    if result.accuracy is None:
        return None
    if metric == "accuracy":
        return result.accuracy
    if metric == "bytes":
        return float(result.bytes["total"])
    if metric == "seconds":
        return result.seconds["learning"]
    if metric in COUNTS:
        return float(result.updates[metric])
    return result.metrics.get(metric)


def _bytes(results: list[Result]) -> dict[str, int]:
    kinds = sorted({kind for result in results for kind in result.bytes if kind != "total"})
    means = {
        kind: round(statistics.fmean(result.bytes.get(kind, 0) for result in results)) for kind in (*kinds, "total")
    }
    return {**means, "peak": max(max([result.bytes["total"], *result.bytes_after]) for result in results)}


def _counts(results: list[Result]) -> dict[str, int]:
    return {name: round(statistics.fmean(result.updates[name] for result in results)) for name in COUNTS}


def _digest(stream: streams.Stream) -> str:
    """What tells the data of two streams apart: what is learned, in its order, and what is asked."""
    found = hashlib.blake2b(digest_size=16)
    for segment in stream.segments:
        found.update(segment.examples.labels().numpy().tobytes())
        found.update(segment.examples.span(0, 1).x.numpy().tobytes())
    for test in stream.tests:
        found.update(test.x.numpy().tobytes())
        found.update(test.y.numpy().tobytes())
    return found.hexdigest()
