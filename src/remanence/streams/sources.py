"""Where examples come from: named datasets, each loaded once per process and kept raw."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UsageError, nearest
from remanence.streams import decoded_cache, dialogues, passages
from remanence.streams.clinc150 import INTENTS
from remanence.streams.dataset_table import (
    DATA,
    DatasetTable,
    below_data,
    checked,
    existing_data_folder,
    hub_table,
    images_and_labels,
    parquet_table,
)
from remanence.streams.experience import CLASSIFICATION, InMemory, Segment, Stream, Task, TestSet
from remanence.streams.hub import PREFIX, columns_of, labels_as_numbers, split_tables

Columns = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Source:
    """One dataset as the library knows it.

    `hub` and `config` name it on the Hugging Face hub ("" where it is found in a folder only); `files`
    are the parquet files of the splits below the folder named by REMANENCE_DATA, and `sums` their
    SHA-256; `input` and `label` are its columns, `kind` is what the input is, `size` the side that
    images are resized to. `experiences` is how many groups its classes come in where no scenario is
    asked for, and `scenario` the one that makes them ("" where the source comes in experiences).
    """

    name: str
    hub: str = ""
    config: str = ""
    files: dict[str, str] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    input: str = "image"
    label: str = "label"
    kind: str = "image"
    size: int | None = None
    rows: tuple[int, int] = (0, 0)
    classes: int = 0
    class_names: tuple[str, ...] = ()
    experiences: int = 5
    licence: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    loader: Callable[[Source], Stream] | None = None
    scenario: str = "split"


_IMAGES = {"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "size": 200}

_TEXTS = {**_IMAGES, "model": "linear"}

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "digits",
            rows=(1438, 359),
            classes=10,
            licence="CC BY 4.0 (UCI)",
            defaults={**_IMAGES, "size": 50},
            loader=lambda source: _digits(source),
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
            defaults=_IMAGES,
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
            defaults={**_IMAGES, "model": "cnn"},
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
            defaults=_IMAGES,
            loader=lambda source: _omniglot(source),
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
            defaults=_TEXTS,
        ),
        Source(
            "locomo",
            files={"train": "locomo/locomo6.json"},
            sums={"train": "be63ebc41010b5c70656f89f8d3dd3033aec0b3f697bbb4f5c6602505cff8038"},
            kind="conversations",
            rows=(3435, 883),
            experiences=6,
            licence="CC BY-NC 4.0",
            loader=lambda source: _locomo(source),
            scenario="",
        ),
        Source(
            "musique",
            files={part: f"musique/{part}.json" for part in ("corpus", "questions50", "openie")},
            kind="passages",
            rows=(1890, 50),
            experiences=4,
            licence="CC BY 4.0",
            loader=lambda source: _musique(source),
            scenario="",
        ),
        Source(
            "facts",
            kind="made-up talk",
            experiences=12,
            licence="made by this library",
            loader=lambda source: _drawn(source),
            scenario="changing",
        ),
        Source(
            "cases",
            kind="made-up tasks",
            experiences=8,
            licence="made by this library",
            loader=lambda source: _drawn(source),
            scenario="working",
        ),
        Source(
            "recall",
            kind="text with planted notes",
            files={"train": "tinyshakespeare/input.txt"},
            experiences=8,
            licence="public domain; notes made by this library",
            loader=lambda source: _drawn(source),
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
        return Source(name, hub, config, kind="", licence="as its card on the hub says", loader=_hub)
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
    return _stream(source, _columns(source, "train"), _columns(source, "test"))


def _stream(source: Source, train: Columns, test: Columns, notes: dict[str, object] | None = None) -> Stream:
    labels = tuple(sorted(set(train[1].tolist())))
    return Stream(
        source.name,
        [Segment(InMemory(*train), labels, name=source.name)],
        [TestSet(source.name, *test, classes=labels)],
        CLASSIFICATION,
        tuple(train[0].shape[1:]),
        class_names=source.class_names,
        recipe={"source": source.name, "scenarios": []},
        defaults=dict(source.defaults),
        notes=notes,
    )


def _columns(source: Source, split: str) -> Columns:
    """Inputs and labels of one split, from REMANENCE_DATA or through the datasets library."""
    existing_data_folder()
    path = below_data(source.files[split])
    if path is None:
        if not source.hub:
            _there(source, source.files[split])
        return _decoded(source, hub_table(source.hub, source.config, split, source.name))
    # Reading MNIST's images takes seconds and its tensors milliseconds, and every job of a comparison does it.
    key = f"{checked(path, source.sums.get(split, ''), source.name)}-{source.size or 'whole'}"
    kept = decoded_cache.recall(key) if source.kind == "image" else None
    if kept is None:
        x, y = _decoded(source, parquet_table(path))
        if source.kind == "image":
            decoded_cache.keep(key, {"x": x, "y": y})
        return x, y
    return kept["x"], kept["y"]


def _decoded(source: Source, table: DatasetTable) -> Columns:
    if source.kind == "image":
        x, values = images_and_labels(table, source.input, source.label, source.size)
        return x, torch.tensor(values, dtype=torch.int64)
    texts: list[str] = []
    values = []
    for some, labels in table.batches(source.input, source.label):
        texts += some
        values += [table.classes[label] if table.classes else label for label in labels]
    # The hub's variant has sentences out of scope, which belong to no class.
    wanted = [place for place, value in enumerate(values) if value in source.class_names]
    y = labels_as_numbers([values[place] for place in wanted], source.class_names)
    return _encoded([texts[place] for place in wanted]), y


def _encoded(texts: list[str]) -> Tensor:
    from remanence.streams.text import encode

    return encode(texts)


def _digits(source: Source) -> Stream:
    # To load scikit-learn takes seconds, in every process that reads these few images
    key = f"digits-scikit-learn-{version('scikit-learn')}"
    kept = decoded_cache.recall(key)
    if kept is None:
        from sklearn.datasets import load_digits

        found = load_digits()
        images = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
        kept = {"images": images, "labels": torch.from_numpy(found.target).long()}
        decoded_cache.keep(key, kept)
    images, labels = kept["images"], kept["labels"]
    held_out = torch.arange(len(labels)) % 5 == 4
    return _stream(source, (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))


def _omniglot(source: Source) -> Stream:
    """Of the 20 drawings of a character the last 5 are the test; strokes are bright on dark, as in MNIST."""
    x, y = _columns(source, "train")
    x = 255 - x
    order = torch.argsort(y, stable=True)
    number = torch.empty_like(order)
    counts = torch.bincount(y)
    number[order] = torch.arange(len(y)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    asked = number >= 15
    return _stream(source, (x[~asked], y[~asked]), (x[asked], y[asked]))


def _locomo(source: Source) -> Stream:
    path = _there(source, source.files["train"])
    checked(path, source.sums["train"], source.name)
    return dialogues.load(path)


def _musique(source: Source) -> Stream:
    folders = {_there(source, file).parent for file in source.files.values()}
    return passages.load(folders.pop())


def _drawn(source: Source) -> Stream:
    """Nothing yet: the source's scenario draws what there is."""
    return Stream(
        source.name, [], [], Task("retrieval", "hit@1"), (1,), recipe={"source": source.name, "scenarios": []}
    )


def _there(source: Source, file: str) -> Path:
    existing_data_folder()
    path = below_data(file)
    if path is None:
        raise UsageError(f"{source.name} comes from a folder only: set {DATA} to one that holds {file}")
    return path


def _hub(source: Source) -> Stream:
    """Any image- or text-classification set: its columns are found by their types."""
    train, test = split_tables(source.hub, source.config, source.name)
    kind, inputs, label = columns_of(train, source.name)
    halves: list[Columns] = []
    notes: dict[str, object] = {}
    names: tuple[str, ...] = train.classes
    for split, table in (("train", train), ("test", test)):
        if table is None:
            continue
        if kind == "image":
            x, values = images_and_labels(table, inputs, label, 32 if halves and halves[0][0].shape[-1] == 32 else None)
        else:
            texts, values = [], []
            for some, labels in table.batches(inputs, label):
                texts += some
                values += labels
            x = _encoded(texts)
        if not names:
            names = tuple(map(str, sorted(set(values))))
        numbers = values if train.classes else [str(value) for value in values]
        y = torch.tensor(values, dtype=torch.int64) if train.classes else labels_as_numbers(numbers, names)
        halves.append((x, y))
        notes[split] = len(y)
    if len(halves) == 1:
        x, y = halves[0]
        asked = torch.arange(len(y)) % 5 == 4
        halves = [(x[~asked], y[~asked]), (x[asked], y[asked])]
        notes["train"] = len(halves[0][1])
        notes["test"] = "every fifth training example, as there is no test split"
    defaults = _IMAGES if kind == "image" else _TEXTS
    found = Source(source.name, source.hub, kind=kind, class_names=names, licence=source.licence, defaults=defaults)
    return _stream(found, halves[0], halves[1], notes)


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
