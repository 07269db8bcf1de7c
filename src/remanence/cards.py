"""What `remanence systems`, `show` and `streams` print."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Group
from rich.markdown import Markdown
from rich.table import Table

from remanence import registry
from remanence.registry import System


def verdict(name: str) -> str:
    """The verdict on a system's claim as the last `make claims` wrote it, ``"not run"`` where there is none."""
    from remanence.claims.engine.results import read_one

    found = read_one(name)
    return found.grade if found is not None else "not run"


def systems_table(place: str | None, like: str | None) -> Table:
    """Every system in a row: paper, the baseline that its claim names, and how the claim stands."""
    table = Table(title="systems")
    for name in ("name", "room", "paper", "baseline", "claim"):
        table.add_column(name)
    for name, card in registry.all_systems().items():
        text = f"{name} {card.paper or ''} {card.summary}".lower()
        if (place and card.place != place) or (like and like.lower() not in text):
            continue
        paper = f"{card.paper.title} ({card.paper.year})" if card.paper else "baseline"
        table.add_row(name, card.room, paper, card.baseline, verdict(name) if card.paper else "")
    for name, owner in registry.outside().items():
        if not place and (not like or like.lower() in f"{name} {owner}".lower()):
            table.add_row(name, f"of {owner}", f"`remanence show {name}` loads it", "", "")
    return table


def card(name: str) -> Group:
    """One system's card."""
    found = registry.get(name)
    parts: list[Any] = [Markdown(f"# {name}\n\n{found.summary}"), _facts(found)]
    if found.hyperparameters:
        parts.append(_hyperparameters(found))
    departures = _section(found, "Departures")
    if departures:
        parts.append(Markdown(f"**Departures from the paper.** {departures}"))
    return Group(*parts)


def _facts(found: System) -> Table:
    facts = Table(show_header=False, box=None)
    facts.add_row("paper", str(found.paper) if found.paper else "a baseline, no paper")
    facts.add_row("room", found.room)
    if found.variant:
        facts.add_row("variant", found.variant)
    for row in found.runner.facts(found):
        facts.add_row(*row)
    facts.add_row("tasks", ", ".join(sorted(found.tasks)) or "none: it is no learner")
    facts.add_row("needs", ", ".join(sorted(found.needs)) or "nothing beyond the examples")
    if found.training:
        how = f" ({found.tuning_note})" if found.tuning_note else ""
        facts.add_row("training", ", ".join(f"{key} {value}" for key, value in found.training.items()) + how)
    says = _claim(found.name)
    if says:
        facts.add_row("claim", says)
        facts.add_row("verdict", verdict(found.name))
    return facts


def _claim(name: str) -> str:
    from remanence.claims.engine.registry import claim_about

    claim = claim_about(name)
    return f"{claim.says} (against {claim.baseline}, {claim.metric} {claim.better})" if claim else ""


def _hyperparameters(found: System) -> Table:
    table = Table(title="hyperparameters")
    for column in ("name", "type", "default", "range", "what it is"):
        table.add_column(column)
    for h in found.hyperparameters:
        table.add_row(h.name, h.type, str(h.default), h.range, h.description)
    return table


def _section(found: System, name: str) -> str:
    doc = inspect.cleandoc(found.factory.__doc__ or "")
    _, _, rest = doc.partition(f"{name}\n{'-' * len(name)}\n")
    return rest.split("\n\n")[0].replace("\n", " ").strip()


def streams_tables() -> list[Table]:
    """Sources with their sizes and whether they are here, and the scenarios."""
    from remanence.streams import SCENARIOS, listing

    sources = Table(title="sources")
    for column in ("name", "kind", "rows", "classes", "here", "from", "licence"):
        sources.add_column(column)
    for row in listing():
        rows = " + ".join(f"{row[part]:,}" for part in ("train", "test") if row[part])
        here = "yes" if row["here"] else "no"
        sources.add_row(row["name"], row["kind"], rows, str(row["classes"]), here, row["from"], row["licence"])
    scenarios = Table(title="scenarios (--scenario NAME:option=value,…)")
    for column in ("name", "options", "what it does"):
        scenarios.add_column(column)
    for name, function in sorted(SCENARIOS.items()):
        options = list(inspect.signature(function).parameters.values())[1:]
        text = ", ".join(f"{o.name}={o.default}" if o.default is not o.empty else o.name for o in options)
        scenarios.add_row(name, text, inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " "))
    return [sources, scenarios]
