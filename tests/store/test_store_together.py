"""Several processes and threads in one store: no lost update, no error, in both databases."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

import remanence.store as stores
from remanence.errors import Conflict

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

PROCESSES, ROUNDS = 8, 12


def worker(address, encoder, shared, number, results):
    """Writes, revises by compare and swap, reads, links and forgets; says what went wrong, or nothing."""
    try:
        with stores.open(address, encoder=encoder, background=False) as store:
            for turn in range(ROUNDS):
                mine = store.write(
                    f"process {number} writes note {turn}", scope=f"process/{number}", speaker=str(number)
                )
                while True:
                    seen = store.get(shared)
                    try:
                        store.revise(
                            shared,
                            metadata={"count": seen.metadata["count"] + 1},
                            expected_version=seen.version,
                        )
                        break
                    except Conflict:
                        continue
                hits = store.read(f"note {turn}", k=3, scope=f"process/{number}")
                assert all(hit.record.scope == f"process/{number}" for hit in hits) and hits
                store.link(mine.id, shared, "counts")
                if turn % 3 == 0:
                    assert store.forget(mine.id).records == 1
                store.write_many([{"text": f"bulk {n}", "scope": f"process/{number}"} for n in range(5)])
        results.put((number, ""))
    except BaseException:
        results.put((number, traceback.format_exc()))


def test_eight_processes_write_revise_and_read_one_store(address, word_encoder):
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        shared = store.write("the counter", metadata={"count": 0}).id
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [
        fork.Process(target=worker, args=(address, word_encoder(), shared, number, results))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    said = dict(results.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
    assert said == dict.fromkeys(range(PROCESSES), "")
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        counter = store.get(shared)
        assert counter.metadata["count"] == PROCESSES * ROUNDS and counter.version == PROCESSES * ROUNDS + 1
        assert [record.version for record in store.history(shared)] == list(range(1, counter.version + 1))
        forgotten = len(range(0, ROUNDS, 3))
        for number in range(PROCESSES):
            assert store.count(scope=f"process/{number}") == ROUNDS - forgotten + 5 * ROUNDS
        assert len(store.links(shared)) == PROCESSES * (ROUNDS - forgotten)
        assert store.check() == []


def test_threads_share_a_store(store):
    shared = store.write("the counter", metadata={"count": 0}).id
    failures = []

    def work(number):
        try:
            for turn in range(15):
                store.write(f"thread {number} turn {turn}")
                while True:
                    seen = store.get(shared)
                    try:
                        store.revise(
                            shared, metadata={"count": seen.metadata["count"] + 1}, expected_version=seen.version
                        )
                        break
                    except Conflict:
                        continue
                assert store.read(f"thread {number}", k=2)
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert store.get(shared).metadata["count"] == 60 and len(store) == 61
    assert store.check() == []


def test_many_short_threads_do_not_use_up_connections(store):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: store.write(f"pooled {n}"), range(20)))
    for number in range(130):
        thread = threading.Thread(target=store.write, args=(f"alone {number}",))
        thread.start()
        thread.join()
    assert len(store) == 150


def test_a_forked_child_goes_on_by_itself(store):
    store.write("before the fork", wait=True)
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        said = b"failed"
        try:
            store.write("from the child", wait=True)
            hit = store.read("from the child", k=1)[0]
            said = f"{hit.text}, {len(store)}".encode()
        finally:
            os.write(writable, said)
            os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        assert pipe.read() == b"from the child, 2"
    os.waitpid(child, 0)
    store.write("after the fork")
    assert [record.text for record in store.list()] == ["after the fork", "from the child", "before the fork"]
    assert store.read("from the child", k=1)[0].text == "from the child"
    assert store.check() == []


def test_a_child_that_closes_its_store_leaves_the_parents_open(store):
    store.write("before")
    child = os.fork()
    if not child:
        store.close()
        os._exit(0)
    os.waitpid(child, 0)
    store.write("after")
    assert len(store) == 2


def test_a_fork_in_the_middle_of_background_encoding(address, word_encoder):
    with stores.open(address, encoder=word_encoder()) as store:
        store.write_many(f"text {n}" for n in range(300))
        child = os.fork()
        if not child:
            done = 1
            try:
                store.write("the child wrote this", wait=True)
                done = int(store.read("the child wrote this", k=1)[0].text != "the child wrote this")
            finally:
                os._exit(done)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        store.encode()
        assert len(store.read("text 7", k=400, mode="dense")) == 301


def test_readers_are_not_disturbed_by_a_writer(store):
    store.write_many(f"text {n}" for n in range(200))
    store.encode()
    stop, failures, seen = threading.Event(), [], []

    def read():
        try:
            while not stop.is_set():
                seen.append(len(store.read("text 7", k=5)))
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        record = store.write(f"text of turn {turn}")
        store.revise(record.id, f"text of turn {turn}, again")
        if turn % 5 == 0:
            store.forget(record.id)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failures == [] and seen and set(seen) == {5}


def test_a_bulk_write_is_seen_whole_or_not_at_all(store):
    counts = set()
    writing = threading.Thread(target=store.write_many, args=([f"text {n}" for n in range(3000)],))
    writing.start()
    while writing.is_alive():
        counts.add(len(store))
    writing.join()
    counts.add(len(store))
    assert counts <= {0, 3000} and 3000 in counts


def test_async_twins_run_side_by_side(store):
    async def session():
        records = await asyncio.gather(*(store.awrite(f"text {n}") for n in range(40)))
        await asyncio.gather(*(store.arevise(record.id, f"text {n} again") for n, record in enumerate(records)))
        found = await asyncio.gather(*(store.aread(f"text {n}", k=1) for n in range(10)))
        await asyncio.gather(*(store.aforget(record.id) for record in records[:5]))
        return found

    assert all(len(hits) == 1 for hits in asyncio.run(session()))
    assert len(store) == 35 and store.check() == []


def test_two_may_open_a_new_store_at_once(address, word_encoder):
    failures = []

    def opening():
        try:
            with stores.open(address, encoder=word_encoder(), background=False) as store:
                store.write("x")
        except BaseException:
            failures.append(traceback.format_exc())

    threads = [threading.Thread(target=opening) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        assert len(store) == 5


def test_a_process_that_looked_into_the_file_still_owns_its_log(tmp_path, word_encoder):
    # To close any descriptor of a file drops all of a process's locks on it, and another that closes the store
    # would then take itself for the last one and remove the log under this one's feet
    path = tmp_path / "memory.db"

    def elsewhere(code):
        opened = f"import remanence.store as stores\nstore = stores.open({str(path)!r}, encoder=None)\n"
        done = subprocess.run([sys.executable, "-c", opened + code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with stores.open(path, encoder=word_encoder(), background=False) as store:
        store.forget(store.write("something to forget, with enough bytes").id)
        with stores.open(path, encoder=None) as second:
            second.check()
            second.statistics()
        elsewhere("store.write('from the other process')\nstore.close()")
        assert path.with_name("memory.db-wal").exists(), "the other process removed the log"
        kept = store.write("written afterwards")
        assert (
            elsewhere("print([r.text for r in store.list()])") == "['written afterwards', 'from the other process']\n"
        )
        assert store.get(kept.id) == kept


def test_a_child_that_outlives_its_parents_store_loses_nothing(address, word_encoder):
    # What SQLite knows of a file's locks is copied by a fork, the locks themselves are not
    go, done = multiprocessing.get_context("fork").Event(), multiprocessing.get_context("fork").Event()
    opened = stores.open(address, encoder=word_encoder(), background=False)
    opened.write("from the parent")

    def child():
        opened.write("from the child")
        done.set()
        go.wait(60)
        opened.write("from the child, later")
        assert opened.read("from the child, later", k=1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert done.wait(60)
    opened.close()
    code = (
        f"import remanence.store as stores\nwith stores.open({address!r}, encoder=None) as s: s.write('from a third')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    go.set()
    process.join(60)
    assert process.exitcode == 0
    with stores.open(address, encoder=word_encoder(), background=False) as store:
        texts = [record.text for record in store.list(newest=False)]
        assert texts == ["from the parent", "from the child", "from a third", "from the child, later"]
        assert store.check() == []


def test_a_child_forked_while_a_thread_writes_can_write(store):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            store.write_many(["in the background"] * 50)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if not child:
                wrong = 1
                try:
                    store.write("from a child")
                    wrong = 0
                finally:
                    os._exit(wrong)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        thread.join()
    assert store.count(where={"text": "from a child"}) == 5 and store.check() == []
