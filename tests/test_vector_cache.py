"""The cache of vectors: what is kept is found by all, what is forgotten is in no byte, and its size has a bound."""

import sqlite3
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import numpy as np
import pytest

from remanence import vector_cache
from remanence.errors import StateError, UsageError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMANENCE_CACHE", str(tmp_path))


def _vectors(count: int, width: int = 384, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def _bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_is_kept_is_found_for_its_encoder_only() -> None:
    texts = ["one", "two", "", "Ünïcode 漢字", "\ud800 half", "a\x00b"]
    vectors = _vectors(6)
    vector_cache.keep("one#384", texts, vectors)
    found = vector_cache.recall("one#384", [*texts, "three"], 384)
    assert set(found) == set(texts)
    assert all(np.array_equal(found[text], vector) for text, vector in zip(texts, vectors, strict=True))
    assert vector_cache.recall("two#384", texts, 384) == {}
    assert vector_cache.recall("one#384", texts, 385) == {}
    assert vector_cache.recall("one#384", [], 384) == {}


def test_keeping_again_replaces() -> None:
    vector_cache.keep("one", ["a"], _vectors(1, seed=1))
    vector_cache.keep("one", ["a"], _vectors(1, seed=2))
    assert np.array_equal(vector_cache.recall("one", ["a"], 384)["a"], _vectors(1, seed=2)[0])


def test_forgotten_vectors_are_in_no_byte_of_the_folder(tmp_path: Path) -> None:
    texts = [f"text {k}" for k in range(400)]
    vectors = _vectors(400)
    for begin in range(0, 400, 50):
        vector_cache.keep("one", texts[begin : begin + 50], vectors[begin : begin + 50])
    vector_cache.keep("two", texts[:30], vectors[:30] + 1)
    gone = [k for k in range(400) if k % 3]
    assert any(vectors[k].tobytes() in _bytes(tmp_path) for k in gone)
    count = vector_cache.forget([vector_cache.fingerprint(texts[k]) for k in gone])
    assert count == len(gone) + sum(k % 3 > 0 for k in range(30))
    left = _bytes(tmp_path)
    for k in gone:
        for start in range(0, 384, 96):  # a vector may be torn over pages, so quarters of it are looked for
            assert vectors[k, start : start + 24].tobytes() not in left
        assert vector_cache._key("one", vector_cache.fingerprint(texts[k])) not in left
    assert len(vector_cache.recall("one", texts, 384)) == 400 - len(gone)
    assert vector_cache.forget([vector_cache.fingerprint(texts[1])]) == 0


def test_a_reader_that_blocks_forgetting_is_said_and_later_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_cache, "_WAIT", 0.05)
    vector = _vectors(1)
    vector_cache.keep("one", ["secret", "other"], np.concatenate([vector, vector + 1]))
    vector_cache._close()
    reader = sqlite3.connect(tmp_path / "vectors.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM vectors").fetchone()
    with pytest.raises(StateError, match="forget again"):
        vector_cache.forget([vector_cache.fingerprint("secret")])
    reader.execute("COMMIT")
    reader.close()
    vector_cache.forget([vector_cache.fingerprint("secret")])
    assert vector.tobytes()[:96] not in _bytes(tmp_path)


def test_the_least_recently_used_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vector_cache.LIMIT, "1MB")
    monkeypatch.setattr(vector_cache, "_FRESH", -1)  # every use counts
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    favourite = _vectors(1, seed=9)
    vector_cache.keep("one", ["favourite"], favourite)
    for turn in range(20):
        clock[0] += 10
        assert "favourite" in vector_cache.recall("one", ["favourite"], 384)
        vector_cache.keep("one", [f"{turn}/{k}" for k in range(100)], _vectors(100, seed=turn))
        assert vector_cache.held() <= 1_000_000
    assert "19/99" in vector_cache.recall("one", ["19/99"], 384)
    assert vector_cache.recall("one", ["0/0", "1/50"], 384) == {}


def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vector_cache.LIMIT, "plenty")
    with pytest.raises(UsageError, match="REMANENCE_CACHE_BYTES is 'plenty'"):
        vector_cache.keep("one", ["a"], _vectors(1))


def test_a_broken_file_costs_time_only_and_forgetting_says_so(tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.warns(UserWarning, match="not cached"):
        assert vector_cache.recall("one", ["a"], 384) == {}
    with pytest.warns(UserWarning, match="not cached"):
        vector_cache.keep("one", ["a"], _vectors(1))
    with pytest.raises(StateError, match="cannot be opened"):
        vector_cache.forget([vector_cache.fingerprint("a")])


def test_forgetting_without_a_cache_makes_none(tmp_path: Path) -> None:
    assert vector_cache.forget([vector_cache.fingerprint("a")]) == 0
    assert vector_cache.held() == 0
    assert list(tmp_path.iterdir()) == []


def test_an_older_format_is_dropped(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "vectors.sqlite")
    old.execute("CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    old.execute("INSERT INTO vectors VALUES (x'00', x'00')")
    old.commit()
    old.close()
    vector_cache.keep("one", ["a"], _vectors(1))
    assert list(vector_cache.recall("one", ["a"], 384)) == ["a"]


def test_a_file_deleted_and_made_again_is_noticed(tmp_path: Path) -> None:
    vector_cache.keep("one", ["a"], _vectors(1))
    for path in tmp_path.iterdir():
        path.unlink()
    assert vector_cache.recall("one", ["a"], 384) == {}
    vector_cache.keep("one", ["a"], _vectors(1))
    assert list(vector_cache.recall("one", ["a"], 384)) == ["a"]


def test_threads_share_it() -> None:
    def work(turn: int) -> None:
        for k in range(20):
            vector_cache.keep("one", [f"{turn} {k}"], _vectors(1, seed=k))
            assert f"{turn} {k}" in vector_cache.recall("one", [f"{turn} {k}"], 384)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vector_cache.recall("one", [f"{turn} {k}" for turn in range(4) for k in range(20)], 384)) == 80


def _keep_some(begin: int) -> int:
    for k in range(begin, begin + 30):
        vector_cache.keep("one", [str(k)], _vectors(1, seed=k))
    return len(vector_cache.recall("one", [str(k) for k in range(begin, begin + 30)], 384))


@pytest.mark.parametrize("way", sorted({"spawn", "fork"} & set(get_all_start_methods())))
def test_processes_share_it(way: str) -> None:
    vector_cache.keep("one", ["before"], _vectors(1))
    with ProcessPoolExecutor(2, mp_context=get_context(way)) as pool:
        assert list(pool.map(_keep_some, (0, 15, 30))) == [30, 30, 30]
    assert len(vector_cache.recall("one", ["before", *map(str, range(60))], 384)) == 61
