"""Where examples come from: named datasets, each loaded once per process and kept raw."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

from remanence.errors import UsageError, nearest
from remanence.streams import loaders
from remanence.streams.clinc150 import INTENTS
from remanence.streams.dataset_table import DATA, below_data
from remanence.streams.experience import Stream
from remanence.streams.hub import PREFIX
from remanence.streams.source import IMAGE_DEFAULTS, TEXT_DEFAULTS, Source, read_columns, whole_stream

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "digits",
            rows=(1438, 359),
            classes=10,
            licence="CC BY 4.0 (UCI)",
            defaults={**IMAGE_DEFAULTS, "size": 50},
            loader=loaders.digits,
        ),
        Source(
            "mnist",
            "ylecun/mnist",
            "mnist",
            {"train": "mnist/train.parquet", "test": "mnist/test.parquet"},
            {
                "train": "b7c145ac6406f6feeaf608d1e5369b39696b4693608fc25ed1f705fc258b77d5",
                "test": "a20a478b631c3eaefbc08d741fa37132bf0628bcce8cab7515772c1a955396a2",
            },
            rows=(60000, 10000),
            classes=10,
            licence="CC BY-SA 3.0",
            defaults=IMAGE_DEFAULTS,
        ),
        Source(
            "cifar10",
            "uoft-cs/cifar10",
            "plain_text",
            {"train": "cifar10/train.parquet", "test": "cifar10/test.parquet"},
            {
                "train": "9e620d80b03f5ffdc3df7a43fd19a206d4660019161f1a203cdc9363131f1d6b",
                "test": "5900b63b7d8f548d023a57fe3dd8ed51a55fa55af4f54fd64a3149f7bd336202",
            },
            input="img",
            rows=(50000, 10000),
            classes=10,
            licence="unstated by its authors; research use",
            defaults={**IMAGE_DEFAULTS, "model": "cnn"},
        ),
        Source(
            "omniglot",
            files={"train": "omniglot/background_small1.parquet"},
            sums={"train": "dbe0b3f3b9f63759b0d5f076917e426d4f6c14881c9a28027e743cdfe2dbe251"},
            label="character",
            size=28,
            rows=(2040, 680),
            classes=136,
            experiences=8,
            licence="MIT",
            defaults=IMAGE_DEFAULTS,
            loader=loaders.omniglot,
        ),
        Source(
            "clinc150",
            "clinc/clinc_oos",
            "plus",
            {"train": "clinc150/train.parquet", "test": "clinc150/test.parquet"},
            {
                "train": "ec7d266d77ab0a7f386c323db1bbe9601470c1cafa15dd97c548a10cae44b3ff",
                "test": "206e6d1de2d74ee32269d24120d5f8a53fbf57949be2826934998f6003336396",
            },
            input="text",
            label="intent",
            kind="text",
            rows=(15000, 4500),
            classes=150,
            class_names=INTENTS,
            experiences=10,
            licence="CC BY 3.0",
            defaults=TEXT_DEFAULTS,
        ),
        Source(
            "locomo",
            files={"train": "locomo/locomo6.json"},
            sums={"train": "be63ebc41010b5c70656f89f8d3dd3033aec0b3f697bbb4f5c6602505cff8038"},
            kind="conversations",
            rows=(3435, 883),
            experiences=6,
            licence="CC BY-NC 4.0",
            loader=loaders.locomo,
            scenario="",
        ),
        Source(
            "musique",
            files={part: f"musique/{part}.json" for part in ("corpus", "questions50", "openie")},
            kind="passages",
            rows=(1890, 50),
            experiences=4,
            licence="CC BY 4.0",
            loader=loaders.musique,
            scenario="",
        ),
        Source(
            "facts",
            kind="made-up talk",
            experiences=12,
            licence="made by this library",
            loader=loaders.empty,
            scenario="changing",
        ),
        Source(
            "cases",
            kind="made-up tasks",
            experiences=8,
            licence="made by this library",
            loader=loaders.empty,
            scenario="working",
        ),
        Source(
            "recall",
            kind="text with planted notes",
            files={"train": "tinyshakespeare/input.txt"},
            experiences=8,
            licence="public domain; notes made by this library",
            loader=loaders.empty,
            scenario="planted",
        ),
    )
}


def known(name: str) -> Source:
    """A source by name; ``hub:owner/name`` or ``hub:owner/name:config`` for any set of the hub."""
    if name.startswith(PREFIX):
        hub, _, config = name.removeprefix(PREFIX).partition(":")
        if hub.count("/") != 1 or not all(hub.split("/")):
            raise UsageError(f"{name!r} names no set of the hub: write {PREFIX}owner/name or {PREFIX}owner/name:config")
        return Source(name, hub, config, kind="", licence="as its card on the hub says", loader=loaders.hub_set)
    if name not in SOURCES:
        raise UsageError(f"there is no stream {name!r}: {nearest(name, SOURCES)}")
    return SOURCES[name]


def default_experiences(stream: Stream, name: str) -> int:
    """How many groups the classes of a source come in where no scenario is asked for."""
    return min(known(name).experiences, len(stream.segments[0].classes))


def whole(name: str) -> Stream:
    """A dataset as a stream of one experience, from which scenarios start.

    Raises
    ------
    UsageError
        If the name is unknown or the data is not at hand.
    StateError
        If a file below REMANENCE_DATA is not the one expected.
    MissingExtra
        If reading it needs a package that is not installed.
    """
    known(name)
    return _load(name, os.environ.get(DATA, ""))


@functools.lru_cache(maxsize=4)
def _load(name: str, folder: str) -> Stream:
    source = known(name)
    if source.loader is not None:
        return source.loader(source)
    return whole_stream(source, read_columns(source, "train"), read_columns(source, "test"))


def listing() -> list[dict[str, Any]]:
    """All named sources as rows, and whether their data is here; nothing is loaded.

    Example
    -------
    >>> listing()[0]["name"], listing()[0]["here"]
    ('digits', True)
    """
    rows = []
    for source in SOURCES.values():
        here, origin = _whereabouts(source)
        rows.append(
            {
                "name": source.name,
                "kind": source.kind,
                "train": source.rows[0],
                "test": source.rows[1],
                "classes": source.classes,
                "experiences": source.experiences,
                "licence": source.licence,
                "here": here,
                "from": origin,
            }
        )
    return rows


def _whereabouts(source: Source) -> tuple[bool, str]:
    if not source.files:
        return True, "scikit-learn" if source.classes else "this library"
    if all(below_data(file) for file in source.files.values()):
        return True, DATA
    if not source.hub:
        return False, f"a folder named by {DATA}"
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cached = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")) / source.hub.replace("/", "___")
    if cached.exists() and importlib.util.find_spec("datasets"):
        return True, "the hub's cache"
    return False, f"the hub ({source.hub})"
