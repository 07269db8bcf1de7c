"""Running a claim: search with the same effort for both, then paired runs with fresh seeds, then a verdict."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any

from remanence import registry, streams
from remanence.arena.fingerprint import commit, of_system
from remanence.arena.folder import environment
from remanence.arena.job import COUNTS
from remanence.arena.result import Result
from remanence.arena.search import TUNE_SEEDS, Found, edges, points, search, tuning_streams
from remanence.arena.trials import Progress, Trial, Workplace, over_budget, run_trials, system_of
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.measuring import code_of, run_experiment
from remanence.claims.engine.paired import judged
from remanence.claims.engine.registry import OWN, check, get
from remanence.claims.engine.verdict import Verdict
from remanence.errors import BudgetError, MissingExtra, NeedsError, Unsupported, UsageError
from remanence.footprint import format_bytes, parse_bytes


def prove(
    claim: str | Claim | Experiment,
    seeds: int | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    *,
    first_seed: int = 0,
    tune_seeds: tuple[int, ...] = TUNE_SEEDS,
    at: Workplace | None = None,
) -> Verdict:
    """Run a claim.

    Parameters
    ----------
    claim:
        The name of a system that has one, or a claim.
    seeds:
        How many pairs (5 or more); as many as the claim says if left out.
    jobs:
        How many processes; the figures do not depend on it.
    progress:
        Called with the name of each run when it is done.
    first_seed:
        The first of the reported seeds; another one audits a verdict.
    tune_seeds:
        Seeds that the search uses; none may be reported.
    at:
        Where runs are kept, instead of ``runs/claims``, and whether those there are run again.

    Raises
    ------
    UsageError
        If there is no such claim, or it cannot be run as it is written.

    Example
    -------
    >>> prove("er").verdict  # doctest: +SKIP
    'shown'
    """
    claim = get(claim) if isinstance(claim, str) else claim
    check(claim)
    count = claim.seeds if seeds is None else seeds
    if count < 5:
        raise UsageError(f"{count} seeds were asked for, a claim is judged on 5 or more: ask for 5")
    numbers = list(range(first_seed, first_seed + count))
    if set(numbers) & set(tune_seeds):
        raise UsageError(f"the seeds {first_seed} to {numbers[-1]} are also searched on: choose others")
    at = replace(at or Workplace(), jobs=jobs, progress=progress)
    verdict = Verdict(
        claim.name,
        json.loads(json.dumps(claim.as_dict())),
        str(registry.get(claim.name).paper or ""),
        seeds=numbers,
        commit=commit(),
        code=_code(claim),
        versions=environment(),
    )
    try:
        if isinstance(claim, Experiment):
            return run_experiment(claim, numbers, tune_seeds, at, verdict)
        return _Comparison(claim, numbers, tune_seeds, at).run(verdict)
    except (NeedsError, BudgetError, Unsupported, MissingExtra, UsageError) as error:
        return replace(verdict, why=str(error))


@dataclass(frozen=True)
class _Face:
    """What is needed of a stream once its data is let go: its tests alone can weigh a hundred megabytes."""

    stream: streams.Stream
    experiences: int
    rows: int
    tests: int
    order: tuple[tuple[int, ...], ...]


def _face(stream: streams.Stream) -> _Face:
    return _Face(
        replace(stream, segments=(), tests=()),
        len(stream),
        sum(len(segment.examples) for segment in stream.segments),
        sum(len(test.y) for test in stream.tests),
        _order(stream),
    )


def _code(claim: Claim | Experiment) -> str:
    if isinstance(claim, Experiment):
        return code_of(claim)
    return "-".join(of_system(system_of(label))[:8] for label in (claim.system, claim.baseline))


class _Comparison:
    """One claim about learners on a stream being run."""

    def __init__(self, claim: Claim, seeds: list[int], tune_seeds: tuple[int, ...], at: Workplace) -> None:
        self.claim, self.seeds, self.tune_seeds, self.at = claim, seeds, tune_seeds, at
        self.labels = (claim.system, claim.baseline)
        self.budget = None if claim.budget is None else parse_bytes(claim.budget)
        self.model = claim.training.get("model")
        self.recipe = stream_recipe(claim)
        self.reported = {seed: _face(streams.build(streams.with_seed(self.recipe, seed))) for seed in seeds}
        self.fixed = {
            label: {key: value for key, value in claim.training.items() if key not in OWN}
            | claim.settings.get(label, {})
            for label in self.labels
        }

    def run(self, verdict: Verdict) -> Verdict:
        found = {label: self._search(label) for label in self.labels}
        results = self._paired({label: found[label].best for label in self.labels})
        verdict = replace(
            verdict,
            values={label: [value_of(r, self.claim.metric) for r in results[label]] for label in self.labels},
            accuracy={label: [r.accuracy for r in results[label]] for label in self.labels},
            bytes={label: _bytes(results[label]) for label in self.labels},
            updates={label: _counts(results[label]) for label in self.labels},
            search={label: asdict(found[label]) for label in self.labels},
            settings={label: self._recipe(label, found[label]) for label in self.labels},
            seconds=round(
                sum(f.seconds for f in found.values())
                + sum(sum(r.seconds.values()) for rs in results.values() for r in rs),
                1,
            ),
        )
        verdict = replace(verdict, protocol=self._protocol(verdict, found))
        for label in self.labels:
            problem = next(filter(None, (over_budget(r, self.budget) for r in results[label])), "")
            if problem:
                return replace(verdict, verdict="not run", why=problem)
        return judged(verdict, self.claim.metric, self.claim.better, self.labels)

    def _search(self, label: str) -> Found:
        return search(
            label,
            self.recipe,
            self.claim.search.get(label, {}),
            self.fixed[label],
            model=self.model,
            budget=self.budget,
            metric=self.claim.metric,
            tune_seeds=self.tune_seeds,
            at=self.at,
        )

    def _trial(self, label: str, settings: dict[str, Any], seed: int) -> Trial:
        return Trial(
            label,
            self.reported[seed].stream,
            seed,
            {**self.fixed[label], **settings},
            self.model,
            self.budget,
            self.claim.probe_every,
            self.claim.metric == "online_accuracy",
        )

    def _paired(self, best: dict[str, dict[str, Any]]) -> dict[str, list[Result]]:
        """Both learners on one stream after another, so that each stream is made once."""
        trials = [self._trial(label, best[label], seed) for seed in self.seeds for label in self.labels]
        results = run_trials(trials, self.at)
        return {label: results[place::2] for place, label in enumerate(self.labels)}

    def _recipe(self, label: str, found: Found) -> dict[str, Any]:
        recipe = self._trial(label, found.best, self.seeds[0]).recipe().as_dict()
        return {key: recipe[key] for key in ("system", "settings", "model", "training", "budget")}

    def _protocol(self, verdict: Verdict, found: dict[str, Found]) -> dict[str, str]:
        """How it was measured: what nobody should have to ask."""
        claim = self.claim
        first = self.reported[self.seeds[0]]
        scenarios = ", ".join(f"{name} {options}" if options else name for name, options in self.recipe["scenarios"])
        told = ", ".join(sorted(first.stream.disclosure.disclosed())) or "nothing"
        tried = {label: len(points(claim.search.get(label, {}))) for label in self.labels}
        if max(tried.values()) > 1:
            by = found[claim.system].by
            searched = (
                f"{tried[claim.system]} points each, by the mean {by} over seeds {_list(self.tune_seeds)}, on "
                f"{found[claim.system].share:.0%} of the training examples, held out; {self._orders()}"
            )
            for label in self.labels:
                for name in edges(claim.search.get(label, {}), found[label].best):
                    searched += f"; the best {name} of {label} lies at the end of its grid"
        else:
            searched = "none: both run with the settings of the claim and of their cards"
        if self.budget is not None:
            outside = [label for label in self.labels if verdict.settings[label]["budget"] is None]
            held = f"{format_bytes(self.budget)} for each, kept after every experience"
            budget = held + (f"; {', '.join(outside)} stands outside" if outside else "")
        else:
            budget = "none"
        spent = "; ".join(
            f"{label} {format_bytes(verdict.bytes[label]['total'])}, {verdict.updates[label]['updates']:,} updates, "
            f"{verdict.updates[label]['forwards']:,} rows forward, {verdict.updates[label]['backwards']:,} backward"
            for label in self.labels
        )
        return {
            "data": f"{claim.stream['source']}, {scenarios or 'as it is'}: {first.experiences} experiences, {first.rows:,} examples "
            f"to learn and {first.tests:,} test examples",
            "disclosed": told,
            "model": f"{verdict.settings[claim.system]['model']}, one thread",
            "budget": budget,
            "equal": claim.equal or "not said",
            "spent": spent,
            "seeds": f"{_list(self.seeds)}, each for stream and learner of a pair",
            "search": searched,
            "reduced": claim.reduced or "not",
            "commit": f"{verdict.commit or 'unknown'}, code {verdict.code}",
        }

    def _orders(self) -> str:
        """Whether the class orders searched on were others, as found by looking."""
        tuned = {_order(stream) for stream in tuning_streams(self.recipe, self.tune_seeds)}
        measured = {face.order for face in self.reported.values()}
        if len(tuned | measured) == 1:
            return "the stream has one order of classes, so that only seeds and examples differ from those reported"
        shared = len(tuned & measured)
        return f"{shared or 'no'} class order{'s are' if shared > 1 else ' is'} both searched on and reported"


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


def _order(stream: streams.Stream) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(test.classes) for test in stream.tests)


def _list(numbers: list[int] | tuple[int, ...]) -> str:
    whole = list(numbers)
    if len(whole) > 2 and whole == list(range(whole[0], whole[-1] + 1)):
        return f"{whole[0]} to {whole[-1]}"
    return " and ".join(map(str, whole))
