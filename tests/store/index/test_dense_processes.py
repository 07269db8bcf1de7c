import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from remanence.errors import StateError
from remanence.store.index.codes import quantise
from remanence.store.index.dense import DenseIndex

NONE = np.empty(0, dtype=np.int64)
COMMON = """
import sys
from pathlib import Path
import numpy as np
from remanence.store.index.dense import DenseIndex
NONE = np.empty(0, dtype=np.int64)
index = DenseIndex(Path(sys.argv[1]), 16, "key")
def vectors(rows):
    return np.stack([np.random.default_rng(int(row)).standard_normal(16) for row in rows]).astype(np.float32)
"""
CHANGES = (
    COMMON
    + """
# The change log: change c adds rows 50c + 1 to 50c + 50, and every third one removes row 50c + 7 of the last.
print("ready", flush=True)
for change in range(index.applied + 1, 100000):
    rows = np.arange(50 * change + 1, 50 * change + 51)
    removed = np.array([50 * (change - 1) + 7]) if change % 3 == 0 else NONE
    index.apply(rows, vectors(rows), removed, applied=change)
    print(change, flush=True)
"""
)
EVERY_OTHER = (
    COMMON
    + """
for row in range(1 + int(sys.argv[2]), 400, 2):
    index.apply(np.array([row]), vectors([row]), np.array([row - 20]) if row > 20 and row % 5 == 0 else NONE)
"""
)


def vectors(rows):
    return np.stack([np.random.default_rng(int(row)).standard_normal(16) for row in rows]).astype(np.float32)


def started(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def rows_after(change):
    rows = set(range(51, 50 * change + 51))
    return sorted(rows - {50 * (c - 1) + 7 for c in range(3, change + 1, 3)})


def test_ten_kills_leave_files_that_work(tmp_path):
    folder = tmp_path / "dense"
    acknowledged = 0
    chance = random.Random(0)
    for _ in range(10):
        process = started(CHANGES, folder)
        for _ in range(chance.randrange(1, 6)):  # "ready", and some changes
            acknowledged = int(process.stdout.readline().replace("ready", str(acknowledged)))
        time.sleep(chance.uniform(0.0, 0.01))
        process.kill()
        said = process.stdout.read().splitlines()
        process.wait()
        acknowledged = int(said[-1]) if said else acknowledged
        index = DenseIndex(folder, 16, "key")
        assert not index.stale
        assert index.applied >= acknowledged
        known = set(rows_after(index.applied))
        # What the killed change half did is not acknowledged, and done again by whoever opens next.
        half = set(index.rows().tolist()) ^ known
        assert all(row > 50 * index.applied + 50 or row == 50 * index.applied + 7 for row in half)
    assert acknowledged > 10
    change = index.applied + 1
    rows = np.arange(50 * change + 1, 50 * change + 51)
    index.apply(rows, vectors(rows), np.array([50 * (change - 1) + 7]) if change % 3 == 0 else NONE, applied=change)
    assert index.rows().tolist() == rows_after(change)
    held = b"".join(path.read_bytes() for path in index.files())
    for row in range(107, 50 * change, 50):
        code = quantise(vectors([row]))[0][0].tobytes()
        assert (code in held) == (row in index.rows())


def test_two_processes_and_readers_lose_nothing(tmp_path):
    writers = [started(EVERY_OTHER, tmp_path / "dense", start) for start in (0, 1)]
    index = DenseIndex(tmp_path / "dense", 16, "key")
    query = vectors([1])[0]
    failed = []

    def read():
        while any(writer.poll() is None for writer in writers):
            try:
                rows, scores = index.search(query, 5)
                if not (
                    np.isfinite(scores).all() and (scores <= 1.001).all() and (rows >= 1).all() and (rows < 400).all()
                ):
                    failed.append((rows, scores))
            except Exception as error:  # whatever it is, it fails the test
                failed.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for thread in readers:
        thread.join()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert failed == []
    removed = {row - 20 for row in range(21, 400) if row % 5 == 0}
    rows = index.rows()
    # A row is removed by the writer that has the parity of it, always after it was added.
    assert set(rows.tolist()) == set(range(1, 400)) - removed
    for row in rows[::37].tolist():
        assert index.search(vectors([row])[0], 1)[0].tolist() == [row]


def test_threads_of_one_process_take_turns(tmp_path):
    index = DenseIndex(tmp_path / "dense", 16, "key")

    def write(start):
        for row in range(start, 101, 4):
            index.apply(np.array([row]), vectors([row]), NONE)

    threads = [threading.Thread(target=write, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert index.rows().tolist() == list(range(1, 101))


def test_readers_stay_right_while_another_rebuilds(tmp_path):
    script = (
        COMMON
        + """
for turn in range(40):
    rows = np.arange(1, 101) + 100 * (turn % 7)
    index.rebuild([(rows, np.tile(vectors([5]), (100, 1)))], applied=turn)
"""
    )
    index = DenseIndex(tmp_path / "dense", 16, "key")
    query = vectors([5])[0]
    writer = started(script, tmp_path / "dense")
    while writer.poll() is None:
        rows, scores = index.search(query, 100)
        assert len(rows) in (0, 100)
        assert (np.diff(np.sort(rows)) == 1).all()
        assert (scores > 0.999).all()
    assert writer.returncode == 0
    assert index.rows().tolist() == list(range(401, 501))
    assert len(index.files()) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_goes_on_reading_and_writing(tmp_path):
    index = DenseIndex(tmp_path / "dense", 16, "key")
    index.apply(np.array([1, 2]), vectors([1, 2]), NONE)
    assert index.search(vectors([2])[0], 1)[0].tolist() == [2]
    child = os.fork()
    if child == 0:
        fine = index.search(vectors([1])[0], 1)[0].tolist() == [1]
        index.apply(np.arange(3, 3000), vectors(range(3, 3000)), np.array([2]))
        os._exit(0 if fine and len(index) == 2998 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(index) == 2998
    assert index.search(vectors([2500])[0], 1)[0].tolist() == [2500]
    index.apply(NONE, vectors([1])[:0], np.array([2500]))
    assert index.search(vectors([2500])[0], 1)[0].tolist() != [2500]


def test_a_writer_that_does_not_let_go_is_named(tmp_path):
    index = DenseIndex(tmp_path / "dense", 16, "key", patience=0.2)
    script = (
        COMMON
        + """
import time
with index._files.locked():
    print("held", flush=True)
    time.sleep(60)
"""
    )
    process = started(script, tmp_path / "dense")
    assert process.stdout.readline() == "held\n"
    with pytest.raises(StateError, match=r"has been writing to the index for 0\.2 seconds"):
        index.apply(np.array([1]), vectors([1]), NONE)
    assert index.search(vectors([1])[0], 1)[0].tolist() == []
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    index.apply(np.array([1]), vectors([1]), NONE)  # a lock goes with its process
    assert len(index) == 1
