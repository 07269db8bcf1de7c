import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.errors import StateError, UsageError
from remanence.store.index import files, header
from remanence.store.index.codes import quantise
from remanence.store.index.dense import DenseIndex

NONE = np.empty(0, dtype=np.int64)


def unit(n, dimension=32, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def opened(folder, dimension=32, key="store 1, encoder 1"):
    return DenseIndex(folder / "dense", dimension, key)


def expected(vectors_by_row, query, k, allowed=None):
    """Rows of the k highest cosines of codes, by numpy."""
    rows = np.array(sorted(row for row in vectors_by_row if allowed is None or row in allowed), dtype=np.int64)
    if not len(rows):
        return []
    codes, lengths = quantise(np.stack([vectors_by_row[row] for row in rows.tolist()]))
    asked = quantise(query[None])[0][0]
    scores = (codes.astype(np.int64) @ asked.astype(np.int64)).astype(np.float32) * lengths
    return rows[np.argsort(-scores, kind="stable")[:k]].tolist()


def test_refining_the_best_codes_gives_the_exact_best(tmp_path):
    vectors = unit(3000, 384)
    index = opened(tmp_path, 384)
    index.apply(np.arange(1, 3001), vectors, NONE)
    for query in unit(40, 384, seed=1):
        rows, scores = index.search(query, 40)
        exact = (vectors @ query)[rows - 1]
        assert rows[np.argsort(-exact)[:10]].tolist() == (np.argsort(-(vectors @ query))[:10] + 1).tolist()
        assert np.abs(scores - exact).max() < 0.01
        assert (np.diff(scores) <= 0).all()


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_order_of_applying_and_removing_is_brute_force(tmp_path_factory, data):
    index = opened(tmp_path_factory.mktemp("index"), 8)
    pool, held, gone = unit(60, 8), {}, set()
    for _ in range(data.draw(st.integers(1, 6))):
        add = data.draw(st.sets(st.integers(1, 1500), max_size=10))
        remove = data.draw(st.sets(st.sampled_from(sorted(held) or [1]), max_size=4))
        rows = np.array(sorted(add - gone), dtype=np.int64)
        index.apply(rows, pool[rows % 60], np.array(sorted(remove), dtype=np.int64))
        held.update((int(row), pool[row % 60]) for row in rows)
        gone |= remove
        for row in remove:
            held.pop(row, None)
        if data.draw(st.booleans()):
            index.close()
    assert len(index) == len(held)
    assert index.rows().tolist() == sorted(held)
    query = unit(1, 8, seed=7)[0]
    assert index.search(query, 12)[0].tolist() == expected(held, query, 12)
    allowed = data.draw(st.lists(st.integers(-3, 2000), max_size=30)) + sorted(held)[::2]
    found = index.search(query, 5, np.array(allowed, dtype=np.int64))[0]
    assert found.tolist() == expected(held, query, 5, set(allowed))


@pytest.mark.parametrize("share", [0.01, 0.6])
def test_rows_given_are_searched_exactly_however_many(tmp_path, share):
    vectors = unit(5000)
    index = opened(tmp_path)
    index.apply(np.arange(1, 5001), vectors, NONE)
    rng = np.random.default_rng(3)
    rows = rng.permutation(np.arange(1, 5001)[rng.random(5000) < share])
    queries = unit(5, seed=9)
    for query, (found, _) in zip(queries, index.search_many(queries, 7, rows), strict=True):
        assert found.tolist() == expected({int(row): vectors[row - 1] for row in rows}, query, 7)
        assert index.search(query, 7, rows)[0].tolist() == found.tolist()
    assert index.search(queries[0], 7, NONE)[0].tolist() == []


def test_applying_again_changes_no_byte(tmp_path):
    index = opened(tmp_path)
    vectors = unit(100)
    for _ in range(2):
        index.apply(np.arange(1, 101), vectors, np.array([5, 6]), applied=3)
    before = {path.name: path.read_bytes() for path in index.files()}
    index.apply(np.arange(1, 101), vectors, np.array([5, 6]), applied=3)
    assert {path.name: path.read_bytes() for path in index.files()} == before
    index.apply(np.arange(1, 101), vectors, np.array([5, 6]))
    after = {path.name: path.read_bytes() for path in index.files()}
    assert {name: raw for name, raw in after.items() if name != "header"} == {
        name: raw for name, raw in before.items() if name != "header"
    }
    assert len(index) == 98
    assert index.applied == 3


def test_one_who_comes_late_does_not_bring_back_what_was_removed(tmp_path):
    index = opened(tmp_path)
    vectors = unit(2)
    index.apply(np.array([1, 2]), vectors, NONE, applied=2)
    index.apply(NONE, vectors[:0], np.array([1]), applied=3)
    opened(tmp_path).apply(np.array([1, 2]), vectors, NONE, applied=2)
    assert index.rows().tolist() == [2]
    assert index.applied == 3


def test_a_removed_vector_is_in_no_file(tmp_path):
    vectors = unit(3000, 384)
    index = opened(tmp_path, 384)
    index.apply(np.arange(1, 3001), vectors, NONE)
    codes = quantise(vectors)[0]
    held = b"".join(path.read_bytes() for path in index.files())
    assert codes[1233].tobytes() in held
    index.apply(NONE, vectors[:0], np.array([1234, 77]))
    assert index.purge() == []
    held = b"".join(path.read_bytes() for path in index.files())
    for row in (1233, 76):
        assert codes[row].tobytes() not in held
        assert codes[row, :12].tobytes() not in held
        assert vectors[row, :3].tobytes() not in held
    assert codes[1234].tobytes() in held


def test_it_grows_under_a_reader(tmp_path):
    writer, reader = opened(tmp_path), opened(tmp_path)
    vectors = unit(40000)
    assert len(reader) == 0
    assert reader.search(vectors[0], 3)[0].tolist() == []
    for begin in range(0, 40000, 5000):
        rows = np.arange(begin + 1, begin + 5001)
        writer.apply(rows, vectors[rows - 1], NONE)
        assert len(reader) == begin + 5000
        assert reader.search(vectors[begin + 4999], 1)[0].tolist() == [begin + 5000]
        assert reader.search(vectors[0], 1)[0].tolist() == [1]


def test_what_was_found_is_found_after_reopening(tmp_path):
    index = opened(tmp_path)
    vectors = unit(500)
    index.apply(np.arange(1, 1001, 2), vectors, np.array([11]), applied=9)
    before = index.search_many(vectors[:20], 40)
    index.close()
    again = opened(tmp_path)
    assert again.applied == 9
    assert not again.stale
    for (rows, scores), (same, level) in zip(before, again.search_many(vectors[:20], 40), strict=True):
        assert rows.tolist() == same.tolist()
        np.testing.assert_allclose(scores, level, rtol=1e-6)


def test_rebuilding_replaces_everything(tmp_path):
    index, reader = opened(tmp_path), opened(tmp_path)
    vectors = unit(300)
    index.apply(np.arange(1, 301), vectors, NONE, applied=4)
    assert len(reader) == 300
    old = {path.name for path in index.files()}
    blocks = [(np.arange(1, 101), vectors[:100]), (np.arange(2001, 2101), vectors[100:200]), (NONE, vectors[:0])]
    index.rebuild(iter(blocks), applied=8)
    assert (len(reader), reader.applied) == (200, 8)
    assert reader.search(vectors[150], 1)[0].tolist() == [2051]
    assert {path.name for path in index.files()} & old == {"header", "lock"}
    index.rebuild([])
    assert (len(reader), reader.applied, reader.search(vectors[0], 3)[0].tolist()) == (0, 0, [])


@pytest.mark.parametrize("other", [{"key": "store 1, encoder 2"}, {"dimension": 16}])
def test_files_of_another_store_encoder_or_dimension_are_stale_until_rebuilt(tmp_path, other):
    opened(tmp_path).apply(np.arange(1, 4), unit(3), NONE, applied=3)
    index = opened(tmp_path, **other)
    vectors = unit(3, index.dimension)
    assert index.stale
    assert index.applied == 0
    for call in (
        lambda: index.search(vectors[0], 1),
        lambda: index.apply(np.array([1]), vectors[:1], NONE),
        lambda: len(index),
    ):
        with pytest.raises(StateError, match="another store or encoder: rebuild"):
            call()
    index.rebuild([(np.array([7]), vectors[:1])], applied=1)
    assert not index.stale
    assert index.search(vectors[0], 1)[0].tolist() == [7]
    assert opened(tmp_path).stale


def torn_header(folder):
    (folder / "header").write_bytes(b"not a header" * 100)


def empty_header(folder):
    (folder / "header").write_bytes(b"")


def short_codes(folder):
    path = folder / "codes.1"
    path.write_bytes(path.read_bytes()[:-1])


def no_lengths(folder):
    (folder / "lengths.1").unlink()


@pytest.mark.parametrize("harm", [torn_header, empty_header, short_codes, no_lengths])
def test_torn_files_are_stale_and_heal_by_rebuilding(tmp_path, harm):
    vectors = unit(50)
    index = opened(tmp_path)
    index.apply(np.arange(1, 51), vectors, NONE, applied=5)
    index.close()
    harm(index.folder)
    assert index.stale
    assert index.applied == 0
    with pytest.raises(StateError, match="rebuild"):
        index.search(vectors[0], 1)
    index.rebuild([(np.arange(1, 51), vectors)], applied=5)
    assert index.search(vectors[9], 1)[0].tolist() == [10]
    assert {path.name.partition(".")[0] for path in index.files()} == {"codes", "header", "lengths", "lock"}
    assert len(index.files()) == 4


def test_a_copy_of_the_header_that_is_torn_leaves_the_one_before(tmp_path):
    index = opened(tmp_path)
    for change in range(1, 6):
        index.apply(np.array([change]), unit(1), NONE, applied=change)
        raw = bytearray((index.folder / "header").read_bytes())
        newest = header.read(index.folder / "header").sequence % 2
        raw[newest * 512 + 40] ^= 0xFF
        (tmp_path / "torn").write_bytes(raw)
        if change > 1:
            assert header.read(tmp_path / "torn").applied == change - 1


def test_files_that_vanish_are_an_empty_index(tmp_path):
    index = opened(tmp_path)
    index.apply(np.array([1]), unit(1), NONE, applied=1)
    for path in index.files():
        path.unlink()
    assert (len(index), index.applied, index.stale) == (0, 0, False)
    index.apply(np.array([2]), unit(1), NONE, applied=2)
    assert index.rows().tolist() == [2]


def test_leavings_of_one_who_died_before_the_header_are_deleted(tmp_path):
    index = opened(tmp_path)
    index.folder.mkdir()
    for path in (files.codes_path(index.folder, 1), files.lengths_path(index.folder, 1)):
        path.write_bytes(b"\x55" * 100000)
    index.apply(np.array([3]), unit(1), NONE)
    assert index.rows().tolist() == [3]
    assert not any(b"\x55" * 100 in path.read_bytes() for path in index.files())


def test_what_one_who_died_put_in_beyond_the_highest_is_removed_too(tmp_path, monkeypatch):
    index = opened(tmp_path)
    vectors = unit(3)
    index.apply(np.array([1]), vectors[:1], NONE, applied=1)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(header, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            index.apply(np.array([900, 3000]), vectors[1:], NONE, applied=2)
    assert index.rows().tolist() == [1]
    index.apply(np.array([5000]), vectors[:1], np.array([900, 3000]), applied=3)
    assert index.rows().tolist() == [1, 5000]
    held = b"".join(path.read_bytes() for path in index.files())
    assert not any(code.tobytes() in held for code in quantise(vectors[1:])[0])


def test_a_rebuilding_that_fails_leaves_what_was_there(tmp_path):
    index = opened(tmp_path)
    vectors = unit(10)
    index.apply(np.arange(1, 11), vectors, NONE, applied=1)
    before = [path.name for path in index.files()]

    def blocks():
        yield np.arange(1, 6), vectors[:5]
        raise OSError("the database went away")

    with pytest.raises(OSError, match="went away"):
        index.rebuild(blocks(), applied=2)
    assert [path.name for path in index.files()] == before
    assert (len(index), index.applied) == (10, 1)


@pytest.mark.parametrize(
    ("rows", "vectors", "removed", "message"),
    [
        ([1, 1], unit(2), [], "each row once"),
        ([1, 2], unit(1), [], "one vector each"),
        ([0], unit(1), [], "rows are counted from 1"),
        ([1], unit(1), [-1], "rows are counted from 1"),
        ([1], unit(1, 31), [], "holds vectors of 32"),
        ([1], unit(1) * 0, [], "zero or not finite"),
    ],
)
def test_what_cannot_be_applied_is_said(tmp_path, rows, vectors, removed, message):
    index = opened(tmp_path)
    with pytest.raises(UsageError, match=message):
        index.apply(np.array(rows), vectors, np.array(removed))
    assert len(index) == 0


def test_what_cannot_be_asked_is_said(tmp_path):
    index = opened(tmp_path)
    for query, k, message in [(unit(1)[0], 0, "ask for 1 or more"), (unit(1, 5)[0], 3, "holds vectors of 32")]:
        with pytest.raises(UsageError, match=message):
            index.search(query, k)
    with pytest.raises(UsageError, match="dimension of 0"):
        opened(tmp_path, 0)
    assert index.search_many(unit(0), 3) == []


def test_files_grow_by_doubling_and_then_step_by_step():
    assert [files.capacity_for(n) for n in (0, 1023, 1024, 16383, 16384, 100000)] == [
        1024, 1024, 2048, 16384, 32768, 114688,
    ]  # fmt: skip
    assert all(files.capacity_for(n) > n for n in range(0, 70000, 997))
