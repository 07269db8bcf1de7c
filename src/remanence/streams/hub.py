"""Any image- or text-classification set of the hub: its splits, and its columns by their types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.dataset_table import DatasetTable, existing_data_folder, hub_table, is_image, parquet_table

PREFIX = "hub:"
_TESTS = ("test", "validation", "valid", "val")
_LABELS = ("label", "labels", "class", "target", "intent", "category", "fine_label")


def split_tables(hub: str, config: str, name: str) -> tuple[DatasetTable, DatasetTable | None]:
    """The training split and the test split, from a folder below REMANENCE_DATA or from the hub.

    The folder is ``owner/name`` or ``name``, and its parquet files begin with the name of their split.
    Where there is no test split, a validation split serves, and else there is none.
    """
    folder = _folder(hub)
    if folder is not None:
        files = {split: sorted(folder.glob(f"{split}*.parquet")) for split in ("train", *_TESTS)}
        found = {split: paths for split, paths in files.items() if paths}
        many = next((paths for paths in found.values() if len(paths) > 1), None)
        if many:
            raise UsageError(f"{folder} holds {len(many)} files of one split: join them into one parquet file")
        if "train" not in found:
            raise UsageError(f"{folder} holds no file train*.parquet: put the training split of {name} there")
        test = next((found[split][0] for split in _TESTS if split in found), None)
        return parquet_table(found["train"][0]), parquet_table(test) if test else None
    train = hub_table(hub, config, "train", name)
    for split in _TESTS:
        try:
            return train, hub_table(hub, config, split, name)
        except UsageError:
            continue  # the hub's client names a missing split by the same error as any other
    return train, None


def _folder(hub: str) -> Path | None:
    data = existing_data_folder()
    places = (data / hub, data / hub.split("/")[1]) if data else ()
    return next((place for place in places if place.is_dir()), None)


def columns_of(table: DatasetTable, name: str) -> tuple[str, str, str]:
    """What the input is (image or text), and the names of its column and of the label's."""
    kinds = {column: str(kind) for column, kind in table.columns.items()}
    images = [column for column, kind in table.columns.items() if is_image(kind)]
    texts = [column for column, kind in kinds.items() if kind in ("string", "large_string")]
    numbers = [column for column, kind in kinds.items() if "int" in kind and "<" not in kind]
    label = next((column for column in _LABELS if column in numbers + texts), None)
    if label is None and len(numbers) == 1:
        label = numbers[0]
    inputs = images or [column for column in texts if column != label]
    if label is None or len(inputs) != 1:
        shown = ", ".join(f"{column} ({kind})" for column, kind in kinds.items())
        raise UsageError(
            f"{name} is not plainly a set of labelled images or texts, its columns are {shown}: "
            "save it as a file with one image or text column and a column named label"
        )
    return ("image" if images else "text"), inputs[0], label


def labels_as_numbers(values: Sequence[str], names: Sequence[str]) -> Tensor:
    """Labels (n,) as places in a list of names."""
    places = {name: place for place, name in enumerate(names)}
    try:
        return torch.tensor([places[value] for value in values], dtype=torch.int64)
    except KeyError as error:
        raise UsageError(f"the label {error} occurs in the test data only: leave such rows out") from None
