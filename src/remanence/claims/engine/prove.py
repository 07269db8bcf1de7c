"""Running a claim: search with the same effort for both, then paired runs with fresh seeds, a verdict, and its audit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from remanence import registry
from remanence.arena.fingerprint import commit
from remanence.arena.folder import environment
from remanence.arena.trials import Progress, TrialStore
from remanence.arena.tuning import SPARE_SEEDS, TUNE_SEEDS
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.comparison import Comparison, code_of_learners
from remanence.claims.engine.evidence import Runner, chosen
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.measuring import Measuring, code_of
from remanence.claims.engine.registry import check, get
from remanence.claims.engine.verdict import RULES, Audit, Verdict
from remanence.errors import BudgetError, MissingExtra, NeedsError, Unsupported, UsageError

AUDITED = 5
"""Fresh seeds of an audit."""
SAID = frozenset({"says", "equal", "reduced", "cause", "how", "paper_metric"})
"""What of a claim is words, and changes no figure."""


def prove(
    claim: str | Claim | Experiment,
    seeds: int | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    *,
    audit: bool = False,
    first_seed: int = 0,
    tune_seeds: tuple[int, ...] = TUNE_SEEDS,
    spare_seeds: tuple[int, ...] = SPARE_SEEDS,
    at: TrialStore | None = None,
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
    audit:
        Run what is shown again on five fresh seeds, with the settings found; what does not hold there is not shown.
    first_seed:
        The first of the reported seeds.
    tune_seeds, spare_seeds:
        Seeds that the search uses for all points, and for those it cannot tell apart; none may be reported.
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
    fresh = list(range(first_seed + count, first_seed + count + AUDITED))
    if {*numbers, *fresh} & {*tune_seeds, *spare_seeds}:
        raise UsageError(f"the seeds {first_seed} to {fresh[-1]} are also searched on: choose others")
    at = replace(at or TrialStore(), jobs=jobs, progress=progress)
    verdict = Verdict(
        claim.name,
        json.loads(json.dumps(claim.as_dict())),
        str(registry.get(claim.name).paper or ""),
        seeds=numbers,
        commit=commit(),
        code=code(claim),
        versions=environment(),
        rules=RULES,
    )
    runner: Runner
    try:
        if isinstance(claim, Experiment):
            runner = Measuring(claim, tune_seeds, spare_seeds, at)
        else:
            runner = Comparison(claim, tune_seeds, spare_seeds, at)
        return _run(claim, runner, verdict, fresh if audit else [])
    except (NeedsError, BudgetError, Unsupported, MissingExtra, UsageError) as error:
        return replace(verdict, why=str(error))


def code(claim: Claim | Experiment) -> str:
    """A fingerprint of the code that a claim's figures depend on."""
    return code_of(claim) if isinstance(claim, Experiment) else code_of_learners(claim)


def holds_still(verdict: Verdict | None, claim: Claim | Experiment, audit: bool = False) -> bool:
    """Whether a verdict was reached on this claim, with this code, by the present rules, and audited if that is asked."""
    if verdict is None or verdict.verdict == "not run" or verdict.rules != RULES:
        return False
    if audit and verdict.verdict == "shown" and verdict.audit is None:
        return False
    return verdict.code == code(claim) and _run_from(verdict.claim) == _run_from(claim.as_dict())


def _run_from(claim: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in claim.items() if key not in SAID}, sort_keys=True)


def _run(claim: Claim | Experiment, runner: Runner, verdict: Verdict, fresh: list[int]) -> Verdict:
    found = runner.search()
    best = chosen(claim, found)
    given = runner.measure(verdict.seeds, best)
    searched = sum(one.seconds for one in found.values())
    said = runner.protocol(verdict.seeds, found, given)
    if claim.paper_metric:
        said["metric"] = f"{claim.metric}; the paper reports {claim.paper_metric}"
    said["commit"] = f"{verdict.commit or 'unknown'}, code {verdict.code}"
    judged = given.judged(claim)
    verdict = replace(
        verdict,
        verdict="not run" if given.problem else judged.verdict,
        why=given.problem or judged.why,
        values=given.values,
        floors=given.floors,
        differences=judged.differences,
        mean=judged.mean,
        bound=judged.bound,
        bytes=given.bytes,
        updates=given.updates,
        accuracy=given.accuracy,
        figures=given.figures,
        search={label: asdict(one) for label, one in found.items()},
        settings=given.settings,
        seconds=round(searched + given.seconds, 1),
        protocol=said,
    )
    return _audited(claim, runner, verdict, best, fresh) if fresh and verdict.verdict == "shown" else verdict


def _audited(
    claim: Claim | Experiment, runner: Runner, verdict: Verdict, best: Mapping[str, dict[str, Any]], fresh: list[int]
) -> Verdict:
    """The verdict with what fresh seeds say beside it; what they do not show is not shown."""
    stale = runner.stale(verdict.seeds, fresh)
    if stale:
        return replace(verdict, audit=Audit("not run", stale, fresh))
    given = runner.measure(fresh, best)
    judged = given.judged(claim)
    audit = Audit(
        "not run" if given.problem else judged.verdict,
        given.problem or judged.why,
        fresh,
        given.values,
        given.floors,
        judged.differences,
        judged.mean,
        judged.bound,
        given.seconds,
        commit(),
        code(claim),
    )
    verdict = replace(verdict, audit=audit, seconds=round(verdict.seconds + given.seconds, 1))
    if audit.verdict != "not shown":
        return verdict
    return replace(verdict, verdict="not shown", why=f"it fell in the audit: {verdict.audited}")
