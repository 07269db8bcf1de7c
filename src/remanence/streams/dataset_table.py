"""Parquet files and hub datasets as tensors: read in batches, decoded straight into place."""

from __future__ import annotations

import functools
import io
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from remanence.cache import sha256
from remanence.errors import MissingExtra, StateError, UsageError

DATA = "REMANENCE_DATA"
_BATCH = 1024
_LARGEST = 64


def data_folder() -> Path | None:
    """The folder named by REMANENCE_DATA, if any."""
    named = os.environ.get(DATA)
    return Path(named) if named else None


def existing_data_folder() -> Path | None:
    """The same, refused where there is no such folder."""
    folder = data_folder()
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{DATA} names {folder}, which is not a folder: mend it or unset it")
    return folder


def below_data(*parts: str) -> Path | None:
    """A file below REMANENCE_DATA, None where it is not there."""
    folder = data_folder()
    path = folder.joinpath(*parts) if folder else None
    return path if path is not None and path.exists() else None


def checked(path: Path, expected: str, name: str) -> str:
    """The SHA-256 of a file, which must be the one expected, if one is."""
    found = sha256(path)
    if expected and found != expected:
        raise StateError(
            f"{path} is not the file of {name} that is expected (SHA-256 {found[:12]}… instead of {expected[:12]}…): "
            "get an intact copy"
        )
    return found


class DatasetTable:
    """Some columns of a parquet file or of one split on the hub, read front to back as often as asked."""

    def __init__(self, rows: int, columns: dict[str, Any], open_batches: Any, classes: Sequence[str] = ()) -> None:
        self.rows, self.columns, self.classes = rows, columns, tuple(classes)
        self._open = open_batches

    def batches(self, *columns: str) -> Iterator[list[list[Any]]]:
        """The values of some columns, a thousand rows at a time."""
        yield from self._open(columns)


def parquet_table(path: Path) -> DatasetTable:
    """A parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", f"reading {path.name}") from None
    try:
        file = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as parquet ({error}): get an intact copy") from None

    def batches(columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        leaves = [f"{name}.bytes" if is_image(schema.field(name).type) else name for name in columns]
        for batch in file.iter_batches(_BATCH, columns=leaves, use_threads=False):
            yield [_values(batch.column(name)) for name in columns]

    schema = file.schema_arrow
    return DatasetTable(
        file.metadata.num_rows, {f.name: f.type for f in schema}, batches, _class_names(schema.metadata)
    )


def hub_table(hub: str, config: str, split: str, name: str) -> DatasetTable:
    """One split of a dataset of the hub, through the datasets library and its cache."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "data", f"loading {name}") from None
    offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = offline or not _reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        found = datasets.load_dataset(hub, config or None, split=split)
    except Exception as error:  # whatever the hub client raises: no network, no such set, no permission
        raise UsageError(
            f"{name} could not be loaded from the hub ({type(error).__name__}): set {DATA} to a folder that holds "
            "its parquet files, or go online"
        ) from None
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    for column, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(column, datasets.Image(decode=False))
    classes = next((f.names for f in found.features.values() if isinstance(f, datasets.ClassLabel)), ())
    arrow = found.with_format("arrow")

    def batches(columns: Sequence[str]) -> Iterator[list[list[Any]]]:
        for part in arrow.iter(_BATCH):
            yield [_values(part.column(name).combine_chunks()) for name in columns]

    return DatasetTable(len(found), {f.name: f.type for f in found.features.arrow_schema}, batches, classes)


@functools.lru_cache(maxsize=1)
def _reachable(address: str) -> bool:
    """Whether anything answers at the hub's address; its client would ask in vain for half a minute, file by file."""
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _class_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    """The names of the classes, where the datasets library wrote them into the file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return next(tuple(map(str, f["names"])) for f in features.values() if f.get("_type") == "ClassLabel")
    except (KeyError, ValueError, TypeError, AttributeError, StopIteration):
        return ()


def is_image(kind: Any) -> bool:
    """Whether an Arrow type is that of encoded images: a struct of bytes and path."""
    return hasattr(kind, "get_field_index") and kind.get_field_index("bytes") >= 0


def _values(column: Any) -> list[Any]:
    if is_image(column.type):
        column = column.field("bytes")
    return list(column.to_pylist())


def images_and_labels(table: DatasetTable, image: str, label: str, size: int | None) -> tuple[Tensor, list[Any]]:
    """Images (n, channels, height, width) uint8, decoded into one tensor, and the values of the label.

    `size` is the side that they are resized to; where it is None they keep theirs, unless they differ or
    are larger than 64 pixels, when the side becomes 32.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "data", "decoding images") from None
    import numpy

    out: Any = None
    labels: list[Any] = []
    shape: tuple[int, int] = (0, 0)
    place = 0
    for encoded, values in table.batches(image, label):
        labels += values
        for data in encoded:
            if data is None:
                raise UsageError(f"image {place} is missing: leave such rows out of the data")
            picture: Image.Image = Image.open(io.BytesIO(data))
            if out is None:
                grey = picture.mode in ("1", "L", "I", "I;16", "F")
                shape = (size, size) if size else picture.size
                if max(shape) > _LARGEST:
                    shape = (32, 32)
                whole = (shape[1], shape[0]) if grey else (shape[1], shape[0], 3)
                out = numpy.empty((table.rows, *whole), dtype=numpy.uint8)
            mode = "L" if out.ndim == 3 else "RGB"
            if picture.mode != mode:
                picture = picture.convert(mode)
            if picture.size != shape:
                picture = picture.resize(shape, Image.Resampling.BILINEAR)
            out[place] = picture
            place += 1
    if out is None:
        raise UsageError("the table of images has no rows: give one that has")
    tensor = torch.from_numpy(out)
    return (tensor.unsqueeze(1) if tensor.dim() == 3 else tensor.permute(0, 3, 1, 2).contiguous()), labels
