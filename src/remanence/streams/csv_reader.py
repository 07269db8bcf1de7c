"""Reading a delimited text file in blocks, cut at the ends of records, with the line of whatever cannot be read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy

from remanence.errors import UsageError
from remanence.streams.csv_records import delimiter_of, record_ends
from remanence.streams.file_reader import Piece, Reader, first_line

BLOCK = 4 << 20
LONGEST = 64 << 20
"""No record of a CSV file may be longer than this many bytes; most often a quotation mark is left open."""
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "nan", "NaN", "-nan", "null", "NULL", "None", "<NA>", "?"]


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
            return UsageError(f"{name} cannot be read from line {where} on ({first_line(message)}): repair it")
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
