"""Reading a Parquet file within its row groups, never more of it than a chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from remanence.errors import UsageError
from remanence.streams.file_reader import Piece, Reader, first_line


class ParquetReader(Reader):
    """A Parquet file, streamed within its row groups."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            self._file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UsageError(
                f"{path.name} cannot be read as Parquet ({first_line(error)}): give an intact file"
            ) from None
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
                    f"row group {group} of {self.path.name} cannot be read ({first_line(error)}): give an intact file"
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
