"""Where examples come from: named datasets, each loaded once per process and kept raw."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.errors import MissingExtra, UsageError, nearest
from remanence.streams.experience import CLASSIFICATION, InMemory, Segment, Stream, TestSet

DATA = "REMANENCE_DATA"


@dataclass(frozen=True)
class Source:
    """One dataset as the library knows it.

    `hub` and `config` name it on the Hugging Face hub ("" where it is found in a folder only);
    `files` are the parquet files of the splits below the folder named by REMANENCE_DATA; `input` and
    `label` are its columns, `kind` is what the input is. `experiences` is how many groups its classes
    come in where no scenario is asked for.
    """

    name: str
    hub: str = ""
    config: str = ""
    files: dict[str, str] = field(default_factory=dict)
    input: str = "image"
    label: str = "label"
    kind: str = "image"
    rows: tuple[int, int] = (0, 0)
    classes: int = 0
    experiences: int = 5
    licence: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)
    loader: Callable[[Source], Stream] | None = None


_IMAGES = {"model": "mlp:100,100", "batch_size": 10, "epochs": 1, "size": 200}

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
            input="img",
            rows=(50000, 10000),
            classes=10,
            licence="unstated by its authors; research use",
            defaults={**_IMAGES, "model": "cnn"},
        ),
    )
}


def known(name: str) -> Source:
    """A source by name."""
    if name not in SOURCES:
        raise UsageError(f"there is no stream {name!r}: {nearest(name, SOURCES)}")
    return SOURCES[name]


def default_experiences(name: str) -> int:
    """How many groups the classes of a source come in where no scenario is asked for."""
    return known(name).experiences


def whole(name: str) -> Stream:
    """A dataset as a stream of one experience, from which scenarios start.

    Raises
    ------
    UsageError
        If the name is unknown or the data is not at hand.
    MissingExtra
        If reading it needs a package that is not installed.
    """
    known(name)
    return _load(name, os.environ.get(DATA, ""))


@functools.lru_cache(maxsize=4)
def _load(name: str, folder: str) -> Stream:
    source = SOURCES[name]
    if source.loader is not None:
        return source.loader(source)
    columns = {split: _columns(source, split) for split in ("train", "test")}
    return _stream(source, columns["train"], columns["test"])


def _stream(source: Source, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Stream:
    labels = tuple(sorted(set(train[1].tolist())))
    return Stream(
        source.name,
        [Segment(InMemory(*train), labels, name=source.name)],
        [TestSet(source.name, *test, classes=labels)],
        CLASSIFICATION,
        tuple(train[0].shape[1:]),
        recipe={"source": source.name, "scenarios": []},
        defaults=dict(source.defaults),
    )


def _digits(source: Source) -> Stream:
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(found.target).long()
    held_out = torch.arange(len(labels)) % 5 == 4
    return _stream(source, (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))


def _columns(source: Source, split: str) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one split, from REMANENCE_DATA or through the datasets library."""
    folder = os.environ.get(DATA)
    path = Path(folder, source.files[split]) if folder and split in source.files else None
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", f"reading {source.name}") from None
    if path is not None and path.exists():
        table = parquet.read_table(path, columns=[source.input, source.label]).to_pydict()
    else:
        table = _from_hub(source, split)
    images = torch.stack([_decode(image["bytes"]) for image in table[source.input]])
    return images, torch.tensor(table[source.label], dtype=torch.int64)


def _from_hub(source: Source, split: str) -> dict[str, list[Any]]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "data", f"loading {source.name}") from None
    if not source.hub:
        raise UsageError(f"{source.name} comes from a folder only: set {DATA} to one that holds {source.files[split]}")
    try:
        found = datasets.load_dataset(source.hub, source.config or None, split=split)
    except Exception as error:  # whatever the hub client raises: no network, no such set, no permission
        raise UsageError(
            f"{source.name} could not be loaded from the hub ({type(error).__name__}): set {DATA} to a folder "
            f"that holds {source.files.get(split, 'its parquet files')}, or go online"
        ) from None
    found = found.cast_column(source.input, datasets.Image(decode=False))
    return dict(found.to_dict())


def _decode(data: bytes) -> Tensor:
    import numpy
    from PIL import Image

    array = numpy.asarray(Image.open(io.BytesIO(data)))
    pixels = torch.from_numpy(array.copy())
    return pixels.unsqueeze(0) if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()
