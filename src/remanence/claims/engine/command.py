"""`remanence prove`, and running all claims: what a person sees."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from remanence.arena.axes import points
from remanence.arena.trials import Progress as Told
from remanence.arena.trials import TrialStore
from remanence.arena.tuning import TUNE_SEEDS
from remanence.claims.engine import docs as pages
from remanence.claims.engine import results
from remanence.claims.engine.claim import Claim
from remanence.claims.engine.experiment import Experiment
from remanence.claims.engine.prove import holds_still, prove
from remanence.claims.engine.registry import check, claims, get
from remanence.claims.engine.tables import verdict_table
from remanence.claims.engine.verdict import Verdict


def prove_command(
    name: str,
    seeds: int | None = None,
    jobs: int = 1,
    as_json: bool = False,
    fresh: bool = False,
    audit: bool = False,
    keep: bool = False,
) -> Verdict:
    """Run one claim and print its verdict; with `keep` it is written among the results, as `make claims` does.

    Where the library is installed and not to be written to, it goes to ``runs/claims/results``.
    """
    console = Console(stderr=as_json, markup=False)
    claim = get(name)
    with _bar(console, claim, seeds) as progress:
        verdict = prove(claim, seeds, jobs, progress, audit=audit, at=TrialStore(fresh=fresh))
    if keep:
        folder = results.RESULTS if os.access(results.RESULTS, os.W_OK) else Path("runs/claims/results")
        results.write(verdict, folder)
        console.print(f"kept in {folder / results.file_name(verdict.name)}")
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
    audit: bool = True,
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
        Run again what lies in ``runs/claims``, and what was judged before with the same code.
    audit:
        As in `prove`.
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
        if not fresh and seeds is None and holds_still(verdicts.get(claim.name), claim, audit):
            console.print(f"{claim.name}: {verdicts[claim.name].grade}, as it was judged with this code", markup=False)
            continue
        with _bar(console, claim, seeds) as progress:
            verdict = prove(claim, seeds, jobs, progress, audit=audit, at=TrialStore(fresh=fresh))
        verdicts[claim.name] = verdict
        results.write(verdict, kept)
        pages.write(docs, verdicts, [claim.name])
        console.print(f"{claim.name}: {verdict.standing}, {verdict.difference}; {verdict.time}", markup=False)
    return verdicts


def runs_of(claim: Claim | Experiment, seeds: int | None) -> int:
    """How many runs a claim takes at least: ties, grids that are extended, floors and an audit are on top."""
    sizes = [len(points(claim.search.get(label, {}))) for label in claim.labels]
    return sum(size * len(TUNE_SEEDS) for size in sizes if size > 1) + len(claim.labels) * (seeds or claim.seeds)


@contextmanager
def _bar(console: Console, claim: Claim | Experiment, seeds: int | None) -> Iterator[Told]:
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=runs_of(claim, seeds), name=claim.name)

        def told(run: str) -> None:
            bar.update(task, advance=1, description=run)
            known = bar.tasks[task]
            bar.update(task, total=max(known.total or 0, known.completed))

        yield told
