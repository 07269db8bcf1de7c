"""How text memories are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanence.runner import Card, Runner, Small, settings_of
from remanence.store.reader_settings import ReaderSettings, split_settings

if TYPE_CHECKING:
    from torch import nn

    from remanence.recipe import Recipe
    from remanence.store.learner import TextMemory


FACTS = {"source": "facts", "scenarios": [["changing", {"sessions": 5, "people": 2, "seed": 0}]]}
"""What a memory of facts is tested on; one that needs another stream to show that it finds anything names it in `small`."""


def _built(
    recipe: Recipe, cards: Sequence[Card], settings: Sequence[Mapping[str, Any]], model: nn.Module | None
) -> TextMemory:
    # Loaded where a memory runs on a stream: by itself it needs no torch
    from remanence.store.learner import TextMemory
    from remanence.streams.experience import Task

    own, reader_settings = split_settings(dict(settings[0]))
    kind, metric = recipe.task
    task = Task("answering" if kind == "answering" else "retrieval", metric)
    return TextMemory(
        cards[0].factory(**own), task, ReaderSettings(**reader_settings), budget=recipe.budget, seed=recipe.seed
    )


def _check(card: Card, settings: Mapping[str, Any]) -> None:
    own, reader_settings = split_settings(dict(settings))
    card.factory(**own)
    ReaderSettings(**reader_settings)


def _facts(card: Card) -> list[tuple[str, str]]:
    rows = [(place, getattr(card.factory, place)) for place in ("encodes", "stores", "retrieves", "manages")]
    if card.factory.needs_language:
        rows.append(("asks a language model for", ", ".join(card.factory.needs_language)))
    return rows


def _small(cards: Sequence[Card], folder: Path) -> Small:
    settings = settings_of(cards, {"size": 30, "buffer": 40})
    return Small(settings.pop("stream", FACTS), settings)


MEMORY = Runner(
    "text memory",
    _built,
    check=_check,
    shared=(ReaderSettings,),
    hooks=("write", "read", "session_end"),
    facts=_facts,
    small=_small,
)
"""Of compositions over the store, each of which runs inside a `TextMemory`."""
