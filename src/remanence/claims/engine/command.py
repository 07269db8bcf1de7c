"""`remanence prove`, and running all claims: what a person sees."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from remanence.arena.search import TUNE_SEEDS, points
from remanence.arena.trials import Progress as Told
from remanence.arena.trials import Workplace
from remanence.claims.engine import docs as pages
from remanence.claims.engine import results
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.prove import prove
from remanence.claims.engine.registry import check, claims, get
from remanence.claims.engine.verdict import Verdict, verdict_table


def prove_command(
    name: str, seeds: int | None = None, jobs: int = 1, as_json: bool = False, fresh: bool = False
) -> Verdict:
    """Run one claim and print its verdict."""
    console = Console(stderr=as_json, markup=False)
    claim = get(name)
    with _bar(console, claim, seeds) as progress:
        verdict = prove(claim, seeds, jobs, progress, at=Workplace(fresh=fresh))
    if as_json:
        print(json.dumps(verdict.as_dict(), sort_keys=True, indent=1))
    else:
        console.print(verdict_table(verdict))
    return verdict


def prove_all(
    only: Sequence[str] = (),
    *,
    jobs: int = 1,
    seeds: int | None = None,
    fresh: bool = False,
    docs: Path = Path("docs"),
    kept: Path = results.RESULTS,
    console: Console | None = None,
) -> dict[str, Verdict]:
    """Run claims one after another, writing the docs after each, so that a crash loses none.

    Parameters
    ----------
    only:
        Names of systems; all that have a claim if left out.
    jobs, seeds:
        As in `prove`.
    fresh:
        Run again what lies in ``runs/claims``.
    docs:
        Where ``claims.md`` and the pages of the rooms are written.
    kept:
        Where the verdicts are kept, a file for each system; those that are not run now stay.
    """
    console = console or Console(markup=False)
    chosen = [get(name) for name in only] or list(claims().values())
    for claim in chosen:
        check(claim)
    verdicts = results.read(kept)
    for claim in chosen:
        with _bar(console, claim, seeds) as progress:
            verdict = prove(claim, seeds, jobs, progress, at=Workplace(fresh=fresh))
        verdicts[claim.name] = verdict
        results.write(verdict, kept)
        pages.write(docs, verdicts, [claim.name])
        console.print(f"{claim.name}: {verdict.standing}, {verdict.difference}, {verdict.seconds:.0f} s", markup=False)
    return verdicts


def runs_of(claim: Claim | Experiment, seeds: int | None) -> int:
    """How many runs a claim takes, those that the search does not need left out."""
    sizes = [len(points(claim.search.get(label, {}))) for label in (claim.system, claim.baseline)]
    labels = len(claim.labels) if isinstance(claim, Experiment) else 2
    return sum(size * len(TUNE_SEEDS) for size in sizes if size > 1) + labels * (seeds or claim.seeds)


@contextmanager
def _bar(console: Console, claim: Claim | Experiment, seeds: int | None) -> Iterator[Told]:
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=runs_of(claim, seeds), name=claim.name)

        def told(run: str) -> None:
            bar.update(task, advance=1, description=run)

        yield told
