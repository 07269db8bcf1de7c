"""Files larger than memory: what reading one costs does not grow with it."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy
import pyarrow
import pytest
from pyarrow import csv, parquet

READ = """
import resource, sys
import torch, pandas, pyarrow.csv, pyarrow.parquet
from remanence.streams import table
torch.set_num_threads(1)

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

before = peak()
stream = table(sys.argv[1], "y", experiences=3)
rows = sum(len(rows.y) for each in stream.experiences() for rows in each.examples.chunks(1000))
assert rows == stream.segment_ends[-1] == int(sys.argv[2])
print(peak() - before, peak())
"""


def block(draw, rows):
    table = {f"n{k}": draw.normal(k, 1 + k, rows).round(4) for k in range(10)}
    table["shop"] = draw.choice(["north", "south", 'the "far" east', "we\nst"], rows)
    table["y"] = numpy.where(table["n0"] + table["n1"] > 1, "yes", "no")
    return pyarrow.table(table)


def generate(path, megabytes):
    """A file of about so many megabytes, one block again and again; returns how many rows it has."""
    part, rows = block(numpy.random.default_rng(0), 50_000), 0
    written = io.BytesIO()
    csv.write_csv(part, written, csv.WriteOptions(include_header=False))
    with open(path, "wb") as file:
        if path.suffix == ".parquet":
            writer = parquet.ParquetWriter(file, part.schema)
        else:
            file.write(",".join(part.column_names).encode() + b"\n")
        while file.tell() < megabytes << 20:
            if path.suffix == ".parquet":
                writer.write_table(part)
            else:
                file.write(written.getbuffer())
            rows += len(part)
        if path.suffix == ".parquet":
            writer.close()
    return rows


def peaks(path, rows):
    """Megabytes of memory at the peak, above what the imports took and in all."""
    found = subprocess.run([sys.executable, "-c", READ, str(path), str(rows)], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return [float(word) for word in found.stdout.split()]


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")


@needs_proc
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_takes_less_memory_than_it_is_long(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    rows = generate(path, 60)
    above, _ = peaks(path, rows)
    assert above < 75


@needs_proc
@pytest.mark.soak
def test_a_file_of_ten_gigabytes_is_read_in_less_than_one(tmp_path):
    path = tmp_path / "a.csv"
    rows = generate(path, 10_000)
    _, whole = peaks(path, rows)
    assert whole < 1000
