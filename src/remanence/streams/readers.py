"""The reader that suits a file."""

from __future__ import annotations

import os
from pathlib import Path

from remanence.errors import MissingExtra, UsageError
from remanence.streams.csv_reader import CsvReader
from remanence.streams.file_reader import Reader
from remanence.streams.parquet_reader import ParquetReader


def open_reader(path: str | os.PathLike[str], dates: str | None = None) -> Reader:
    """The reader that suits a file, by its name.

    Parameters
    ----------
    path:
        A ``.csv``, ``.tsv`` or ``.parquet`` file.
    dates:
        How dates are written in a CSV file where it is not ISO 8601, ``"%d/%m/%Y"``.

    Raises
    ------
    UsageError
        If there is no such file, or it is of another type, or empty.
    MissingExtra
        If pyarrow is not installed.
    """
    file = Path(path)
    if file.is_dir():
        raise UsageError(f"{file} is a folder, expected a file: use streams.folder for images by class")
    if not file.exists():
        raise UsageError(f"there is no file {file}: check the path")
    kind = file.suffix.lower()
    if kind not in (".csv", ".tsv", ".txt", ".parquet", ".pq"):
        raise UsageError(f"{file.name} is neither CSV nor Parquet: save it as .csv, .tsv or .parquet")
    if file.stat().st_size == 0:
        raise UsageError(f"{file.name} is empty: give a file with a header and rows")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtra("pyarrow", "data", f"reading {file.name}") from None
    try:
        return ParquetReader(file) if kind in (".parquet", ".pq") else CsvReader(file, dates)
    except PermissionError:
        raise UsageError(f"{file} may not be read: ask for permission to read it") from None
