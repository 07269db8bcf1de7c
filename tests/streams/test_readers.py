"""Reading files piece by piece."""

from __future__ import annotations

import csv
import io
import pickle
from itertools import pairwise

import pyarrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from remanence.errors import UsageError
from remanence.streams import csv_reader
from remanence.streams.csv_records import record_ends
from remanence.streams.readers import open_reader

FIELD = st.text(alphabet='ab,"\n\r;é ', max_size=6)


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=12))
def test_records_end_where_a_csv_parser_says(rows):
    written = io.StringIO()
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n")
    data, ends = "", []
    for row in rows:
        writer.writerow(row)
        data = written.getvalue()
        ends.append(len(data.encode()))
    assert record_ends(data.encode(), ",").tolist() == ends


@given(st.lists(st.text(alphabet='a"\n', max_size=5), min_size=8, max_size=8))
@settings(max_examples=300)
def test_cut_at_its_ends_any_text_parses_as_it_does_whole(fields):
    data = "".join(f"{a},{b}\n" for a, b in zip(fields[::2], fields[1::2], strict=True)).encode()
    whole = parsed(data)
    if whole is None:
        return
    ends = record_ends(data, ",").tolist()
    bounds = [0, *ends, *([len(data)] if not ends or ends[-1] < len(data) else [])]
    assert [row for start, stop in pairwise(bounds) for row in parsed(data[start:stop])] == whole


def parsed(data):
    """The rows of two columns of text, None where they cannot be read."""
    strings = {"a": pyarrow.string(), "b": pyarrow.string()}
    try:
        table = arrow_csv.read_csv(
            pyarrow.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=["a", "b"], use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=strings),
        )
    except pyarrow.ArrowInvalid:
        return None
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_an_inch_sign_within_a_field_opens_nothing():
    data = b'1,5" disk\n2,"a\nb"\n3,6" disk, 7" disk\n'
    assert record_ends(data, ",").tolist() == [10, 18, len(data)]


def test_blank_lines_end_no_record():
    assert record_ends(b"a\n\nb\r\n\r\nc\n", ",").tolist() == [2, 6, 10]


@pytest.mark.parametrize("block", [16, 64, 1 << 20])
def test_pieces_of_a_csv_file_are_the_same_whatever_the_block(tmp_path, monkeypatch, block):
    monkeypatch.setattr(csv_reader, "BLOCK", block)
    path = tmp_path / "a.csv"
    rows = [(str(k), f'say "{k}",\nplease' if k % 3 == 0 else f"plain {k}") for k in range(50)]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "words"])
        writer.writerows(rows)
    monkeypatch.setattr(csv_reader, "BLOCK", max(block, 64))
    reader = open_reader(path)
    monkeypatch.setattr(csv_reader, "BLOCK", block)
    reader.rows = 7
    scanned = list(reader.scan(["number", "words"]))
    table = pyarrow.concat_tables(scanned)
    assert table.column("words").to_pylist() == [words for _, words in rows]
    assert table.column("number").to_pylist() == list(range(50))
    for number, chunk in enumerate(scanned):
        assert reader.read(number, ["number", "words"]).equals(chunk)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_record_may_lack_its_newline(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n3,4" + end.encode())
    reader = open_reader(path)
    assert sum(len(chunk) for chunk in reader.scan(["a"])) == 2


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, sign):
    path = tmp_path / "a.csv"
    path.write_text(f'\ufeff"x,y;z"{sign}b{sign}c\n1{sign}2{sign}3\n', encoding="utf-8")
    assert open_reader(path).names == ["x,y;z", "b", "c"]


def test_a_column_without_a_name_gets_one(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(",a\n0,1\n1,2\n")
    assert open_reader(path).names == ["column 1", "a"]


def test_parquet_pieces_lie_within_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"a": list(range(100)), "b": ["x"] * 100}), path, row_group_size=40)
    reader = open_reader(path)
    reader.rows = 16
    scanned = [chunk.column("a").to_pylist() for chunk in reader.scan(["a"])]
    assert [len(chunk) for chunk in scanned] == [16, 16, 8, 16, 16, 8, 16, 4]
    twin = pickle.loads(pickle.dumps(reader))  # noqa: S301
    for number in [0, 1, 2, 7, 3, 4, 1, 6, 5, 0]:
        assert reader.read(number, ["a"]).column("a").to_pylist() == scanned[number]
        assert twin.read(number, ["a"]).column("a").to_pylist() == scanned[number]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.xlsx", b"PK", "neither CSV nor Parquet"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n", "header but no rows"),
        ("a.csv", b"a,b,a\n1,2,3\n", "two columns named 'a'"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("a.csv", b"a\xff,b\n1,2\n", "not UTF-8"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 of a.csv has 3 fields, expected 2"),
        ("a.csv", b'a,b\n1,"2\n\n"\n\n1,5\n1\n', "line 7 of a.csv has 1 fields, expected 2"),
        ("a.parquet", b"no parquet at all", "cannot be read as Parquet"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=sentence) as caught:
        list(open_reader(tmp_path / name).sample(10))
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_truncated_parquet(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        open_reader(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"streams\.folder"):
        open_reader(tmp_path)
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UsageError, match="intact"):
        open_reader(path)


def test_a_quotation_mark_left_open_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_reader, "BLOCK", 1000)
    monkeypatch.setattr(csv_reader, "LONGEST", 20_000)
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n3,"open\n' + "4,5\n" * 20_000)
    reader = open_reader(path)
    with pytest.raises(UsageError, match=r"line 3 .* quotation mark"):
        list(reader.scan(["a"]))


def test_a_file_that_changes_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    reader = open_reader(path)
    list(reader.scan(["a"]))
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UsageError, match="was changed"):
        reader.read(0, ["a"])
