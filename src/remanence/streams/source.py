"""What a named dataset is, and how its splits are read and become one whole stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams import decoded_cache
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
from remanence.streams.examples import InMemory
from remanence.streams.experience import CLASSIFICATION, Segment, Stream, TestSet
from remanence.streams.hub import labels_as_numbers

Columns = tuple[Tensor, Tensor]

IMAGE_DEFAULTS = {"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "size": 200}

TEXT_DEFAULTS = {**IMAGE_DEFAULTS, "model": "linear"}


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


def whole_stream(source: Source, train: Columns, test: Columns, notes: dict[str, object] | None = None) -> Stream:
    """Both splits of a source as a stream of one experience with one test set."""
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


def read_columns(source: Source, split: str) -> Columns:
    """Inputs and labels of one split, from REMANENCE_DATA or through the datasets library."""
    existing_data_folder()
    path = below_data(source.files[split])
    if path is None:
        if not source.hub:
            needed_file(source, source.files[split])
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
    return encoded([texts[place] for place in wanted]), y


def encoded(texts: list[str]) -> Tensor:
    """Texts as vectors (n, 384) of the packaged encoder."""
    from remanence.streams.text import encode

    return encode(texts)


def needed_file(source: Source, file: str) -> Path:
    """A file of a source that comes from a folder only, refused where it is not there."""
    existing_data_folder()
    path = below_data(file)
    if path is None:
        raise UsageError(f"{source.name} comes from a folder only: set {DATA} to one that holds {file}")
    return path
