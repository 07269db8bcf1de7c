"""Reading a CSV or Parquet file piece by piece: bounds found in one pass, then any piece again on its own."""

from __future__ import annotations

import codecs
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from remanence.errors import MissingExtra, UsageError, nearest
from remanence.streams.csv_records import delimiter_of, record_ends

BLOCK = 4 << 20
LONGEST = 64 << 20
"""No record of a CSV file may be longer than this many bytes; most often a quotation mark is left open."""
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "-nan", "null", "NULL", "None", "<NA>", "?"]


class Piece(NamedTuple):
    """Where a chunk lies: a byte range and first line of a CSV file, or a row group and a place within it."""

    start: int
    stop: int
    first: int = 0


class Reader(ABC):
    """One file, as chunks of at most `rows` records, each an arrow table.

    Parameters
    ----------
    path:
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 8192
        self.types: dict[str, Any] = {}
        self.pieces: list[Piece] = []
        self._stamp = self._stat()

    names: Sequence[str] = ()

    @abstractmethod
    def sample(self, rows: int) -> Any:
        """The first records, with types as they look."""

    @abstractmethod
    def scan(self, columns: Sequence[str]) -> Iterator[Any]:
        """All chunks in order, noting in `pieces` where each lies."""

    @abstractmethod
    def read(self, number: int, columns: Sequence[str]) -> Any:
        """One chunk again, after `scan`."""

    def typed(self, types: dict[str, Any]) -> None:
        """Settle the types in which columns are read from now on."""
        self.types = types

    def _stat(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns

    def _unchanged(self) -> None:
        if self._stat() != self._stamp:
            raise UsageError(f"{self.path} was changed while it was read: open the stream again")

    def require(self, column: str, role: str) -> None:
        """Raise a `UsageError` with the nearest names if there is no such column."""
        if column not in self.names:
            raise UsageError(f"{self.path.name} has no column {column!r} ({role}): {nearest(column, self.names)}")


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


class ParquetReader(Reader):
    """A Parquet file, streamed within its row groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            self._file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UsageError(f"{path.name} cannot be read as Parquet ({_brief(error)}): give an intact file") from None
        self.names = list(self._file.schema_arrow.names)
        if self._file.metadata.num_rows == 0:
            raise UsageError(f"{path.name} has no rows: give a file with data")
        self._open: tuple[int, tuple[str, ...], int, Iterator[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_open": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import pyarrow.parquet as parquet

        self.__dict__.update(state)
        self._file = parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)

    def sample(self, rows: int) -> Any:
        return self._table(next(self._file.iter_batches(rows, use_threads=False)))

    def scan(self, columns: Sequence[str]) -> Iterator[Any]:
        self.pieces = []
        for group in range(self._file.metadata.num_row_groups):
            for place, batch in enumerate(self._batches(group, columns)):
                self.pieces.append(Piece(group, group + 1, place))
                yield self._table(batch)

    def read(self, number: int, columns: Sequence[str]) -> Any:
        self._unchanged()
        group, _, place = self.pieces[number]
        wanted = tuple(columns)
        # Batches of a row group come in order only, so going on where the last read stopped saves decoding it again.
        if self._open is None or self._open[:2] != (group, wanted) or self._open[2] > place:
            self._open = (group, wanted, 0, self._batches(group, columns))
        _, _, at, batches = self._open
        for _ in range(place - at):
            next(batches)
        batch = next(batches)
        self._open = (group, wanted, place + 1, batches)
        return self._table(batch)

    def _batches(self, group: int, columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow

        found = self._file.iter_batches(self.rows, [group], columns=list(columns), use_threads=False)
        while True:
            try:
                batch = next(found, None)
            except (pyarrow.ArrowInvalid, OSError) as error:
                raise UsageError(
                    f"row group {group} of {self.path.name} cannot be read ({_brief(error)}): give an intact file"
                ) from None
            if batch is None:
                return
            yield batch

    def _table(self, batch: Any) -> Any:
        import pyarrow

        table = pyarrow.Table.from_batches([batch])
        for place, name in enumerate(table.schema.names):
            wanted = self.types.get(name)
            if wanted is not None and table.schema.field(place).type != wanted:
                table = table.set_column(place, name, table.column(place).cast(wanted, safe=False))
        return table


class CsvReader(Reader):
    """A delimited text file (UTF-8, with a header line), cut at the ends of records.

    A newline inside quotation marks does not end a record. Blank lines are skipped. Numbers in a file
    delimited by semicolons may have a decimal comma.
    """

    def __init__(self, path: Path, dates: str | None = None) -> None:
        super().__init__(path)
        self.dates = dates
        with open(path, "rb") as file:
            head = file.read(BLOCK)
        if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in head:
            raise UsageError(f"{path.name} is not UTF-8 text: save it as CSV in UTF-8")
        skip = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        self.delimiter = delimiter_of(head[skip:], path.suffix.lower())
        self.decimal = "," if self.delimiter == ";" and re.search(rb"[;\n]-?\d+,\d+[;\r\n]", head) else "."
        ends = record_ends(head[skip:], self.delimiter)
        self.start = skip + int(ends[0]) if len(ends) else len(head)
        self.names = self._header(head[skip : self.start])

    def _header(self, line: bytes) -> list[str]:
        import csv

        try:
            names = next(csv.reader([line.decode("utf-8")], delimiter=self.delimiter), [])
        except UnicodeDecodeError:
            raise UsageError(f"{self.path.name} is not UTF-8 text: save it as CSV in UTF-8") from None
        names = [name.strip() or f"column {place}" for place, name in enumerate(names, 1)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{self.path.name} has two columns named {name!r} in its header: name each once")
        if not names:
            raise UsageError(f"{self.path.name} has no header: give the column names in its first line")
        return names

    def sample(self, rows: int) -> Any:
        for data, lines in self._chunks(rows):
            return self._parse(data, self.names, lines.first)
        raise UsageError(f"{self.path.name} has a header but no rows: give a file with data")

    def scan(self, columns: Sequence[str]) -> Iterator[Any]:
        self.pieces = []
        for data, piece in self._chunks(self.rows):
            self.pieces.append(piece)
            yield self._parse(data, columns, piece.first)

    def read(self, number: int, columns: Sequence[str]) -> Any:
        self._unchanged()
        piece = self.pieces[number]
        with open(self.path, "rb") as file:
            file.seek(piece.start)
            return self._parse(file.read(piece.stop - piece.start), columns, piece.first)

    def _chunks(self, rows: int) -> Iterator[tuple[bytes, Piece]]:
        """Bytes of `rows` whole records at a time, with their range and the number of their first line."""
        at, line, held = self.start, 2, b""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            while True:
                block = file.read(BLOCK)
                held += block
                ends = record_ends(held, self.delimiter)
                if not block and len(held) and (len(ends) == 0 or ends[-1] < len(held)):
                    ends = numpy.append(ends, len(held))  # the last record may lack its newline
                cuts = ends[rows - 1 :: rows]
                if (not block or len(held) > 4 * BLOCK) and len(ends) and (len(cuts) == 0 or cuts[-1] < ends[-1]):
                    cuts = numpy.append(cuts, ends[-1])
                begin = 0
                for cut in cuts.tolist():
                    data = held[begin:cut]
                    if data.strip():
                        yield data, Piece(at + begin, at + cut, line)
                    line += data.count(b"\n")
                    begin = cut
                at, held = at + begin, held[begin:]
                if not block:
                    return
                if len(ends) == 0 and len(held) > LONGEST:
                    raise UsageError(
                        f"line {line} of {self.path.name} opens a record longer than {LONGEST >> 20} MB: "
                        "close the quotation mark that was left open"
                    )

    def _parse(self, data: bytes, columns: Sequence[str], line: int) -> Any:
        import pyarrow
        from pyarrow import csv

        bad: list[Any] = []

        def refuse(row: Any) -> str:
            bad.append(row)
            return "error"

        parsers = [csv.ISO8601, *([self.dates] if self.dates else [])]
        try:
            return csv.read_csv(
                pyarrow.BufferReader(data),
                read_options=csv.ReadOptions(column_names=self.names, use_threads=False, block_size=len(data) + 1),
                parse_options=csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                convert_options=csv.ConvertOptions(
                    column_types={name: self.types[name] for name in columns if name in self.types},
                    include_columns=list(columns),
                    null_values=MISSING,
                    strings_can_be_null=True,
                    timestamp_parsers=parsers,
                    decimal_point=self.decimal,
                ),
            )
        except pyarrow.ArrowInvalid as error:
            raise self._explained(str(error), data, line, bad) from None

    def _explained(self, message: str, data: bytes, line: int, bad: list[Any]) -> UsageError:
        """The sentence for a record that cannot be read, with its line where it is known."""
        name = self.path.name
        if bad:
            where = line + self._lines_before(data, bad[0].number - 1)
            return UsageError(
                f"line {where} of {name} has {bad[0].actual_columns} fields, expected {bad[0].expected_columns}: "
                "repair or remove it"
            )
        found = re.search(r"column #(\d+): (?:Row #(\d+): )?.*?conversion error to (\S+?):.*?'(.*)'", message, re.S)
        if found is None:
            row = re.search(r"Row #(\d+)", message)
            where = line + self._lines_before(data, int(row[1]) - 1) if row else line
            if "UTF8" in message:
                return UsageError(f"line {where} of {name} is not UTF-8 text: save the file as CSV in UTF-8")
            return UsageError(f"{name} cannot be read from line {where} on ({_brief(message)}): repair it")
        where = line + self._lines_before(data, int(found[2] or 1) - 1)
        column = self.names[int(found[1])]
        kind = {"double": "numbers", "bool": "true or false"}.get(found[3].rstrip(":"), "dates")
        return UsageError(
            f"the column {column!r} of {name} held {kind} at first and {found[4][:40]!r} in line {where}: "
            f"repair it, or read it as categories=[{column!r}]"
        )

    def _lines_before(self, data: bytes, records: int) -> int:
        ends = record_ends(data, self.delimiter)
        return data[: int(ends[records - 1])].count(b"\n") if 0 < records <= len(ends) else 0


def _brief(error: object) -> str:
    return str(error).split("\n")[0].rstrip(".")[:120]
