import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.store.index import clusters, files, ivf
from remanence.store.index.codes import quantise
from remanence.store.index.dense import DenseIndex
from remanence.store.index.view import View

NONE = np.empty(0, dtype=np.int64)


def bunches(n, dimension=32, count=40, seed=0):
    """Unit vectors around some directions."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dimension))
    x = centres[rng.integers(count, size=n)] + 0.4 * rng.standard_normal((n, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def opened(folder, **settings):
    return DenseIndex(folder / "dense", 32, "key", **settings)


def built(folder, n=4000, **settings):
    index, vectors = opened(folder, **settings), bunches(n)
    index.apply(np.arange(1, n + 1), vectors, NONE)
    assert index.build_approximate()
    return index, vectors


def test_reading_a_tenth_of_the_lists_finds_almost_all(tmp_path):
    index, vectors = built(tmp_path, probes=25)
    state = index.approximate
    assert (state.state, state.covers, state.lists, state.outside) == ("ready", 4000, 253, 1)
    found = 0
    for query in vectors[:100]:
        rows = index.search(query, 40)[0]
        refined = rows[np.argsort(-(vectors[rows - 1] @ query))[:10]]
        found += len(np.intersect1d(refined, np.argsort(-(vectors @ query))[:10] + 1))
    assert found / 1000 > 0.95


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_reading_all_lists_is_exact_whatever_happened_since_they_were_built(tmp_path_factory, data):
    index = opened(tmp_path_factory.mktemp("lists"), probes=1000)
    pool = bunches(901)
    first = data.draw(st.sets(st.integers(1, 300), min_size=1))
    index.apply(np.array(sorted(first)), pool[np.array(sorted(first))], NONE)
    gone = data.draw(st.sets(st.sampled_from(sorted(first))))
    for _ in range(data.draw(st.integers(1, 2))):
        index.build_approximate(seed=data.draw(st.integers(0, 3)))
        late = data.draw(st.sets(st.integers(1, 900), max_size=20)) - gone  # below and above what is in lists
        index.apply(np.array(sorted(late), dtype=np.int64), pool[sorted(late)], np.array(sorted(gone), dtype=np.int64))
        first |= late
    alive = sorted(first - gone)
    assert index.rows().tolist() == alive
    plain = DenseIndex(index.folder.parent / "plain", 32, "key")
    plain.apply(np.array(alive, dtype=np.int64), pool[alive], NONE)
    some = np.array(alive[::3], dtype=np.int64)
    for query in bunches(4, seed=5):
        for rows, exact in [(None, False), (None, True), (some, False), (some[:2], False)]:
            here, scores = index.search(query, 15, rows, exact=exact)
            there, level = plain.search(query, 15, rows)
            np.testing.assert_array_equal(scores, level)
            assert set(here.tolist()) == set(there.tolist()) or len(np.unique(level)) < len(level)


def test_a_removed_vector_is_in_no_file_not_even_as_a_centroid(tmp_path):
    rng = np.random.default_rng(0)
    lonely = rng.standard_normal((6, 32)).astype(np.float32) * 0.001
    lonely[np.arange(6), np.arange(6)] = 1  # each far from all others: some are lists of their own
    vectors = np.concatenate([lonely, bunches(300)])
    index = opened(tmp_path)
    index.apply(np.arange(1, 307), vectors, NONE)
    index.build_approximate()
    codes = quantise(vectors)[0]
    lists = View.opened(index.folder, index._files.writable_header()).lists
    alone = [row for row in range(1, 307) if (lists.centroids == codes[row - 1]).all(axis=1).any()]
    assert alone  # else this test would show nothing
    index.apply(NONE, vectors[:0], np.array(alone))
    index.purge()
    held = b"".join(path.read_bytes() for path in index.files())
    for row in alone:
        assert codes[row - 1].tobytes() not in held
    stay = next(row for row in range(1, 307) if row not in alone)
    assert codes[stay - 1].tobytes() in held
    assert index.search(vectors[stay - 1], 1)[0].tolist() == [stay]


def test_centroids_are_means_of_the_rows_that_stay(tmp_path):
    index, vectors = built(tmp_path)
    index.apply(NONE, vectors[:0], np.arange(1, 4001, 3))
    view = index._files.now()
    for one in range(0, view.header.lists, 7):
        begin, end = view.lists.starts[one : one + 2]
        rows = view.lists.row[begin:end]
        rows = rows[rows % 3 != 1]
        if not len(rows):
            assert view.lists.lengths[one] == 0
            continue
        mean = vectors[rows - 1].sum(axis=0)
        centroid = view.lists.centroids[one] * view.lists.lengths[one]
        assert mean @ centroid / np.linalg.norm(mean) > 0.999


def test_building_says_how_far_it_is_and_leaves_one_generation(tmp_path):
    index, _ = built(tmp_path)
    told = []
    index.build_approximate(lambda what, part: told.append((what, part)))
    assert list(dict.fromkeys(what for what, _ in told)) == ["clustering", "assigning", "writing"]
    assert all(told[i][1] <= told[i + 1][1] for i in range(len(told) - 1) if told[i][0] == told[i + 1][0])
    assert sorted(path.name.partition(".")[0] for path in index.files()) == [
        "codes",
        "header",
        "lengths",
        "lock",
        "order",
    ]


def test_nothing_is_built_of_nothing(tmp_path):
    index = opened(tmp_path)
    assert not index.build_approximate()
    assert index.approximate.state == "none"
    index.apply(np.array([3]), bunches(1), NONE)
    assert index.build_approximate()
    assert index.search(bunches(1)[0], 5)[0].tolist() == [3]
    index.apply(NONE, bunches(0), np.array([3]))
    assert not index.build_approximate()
    with pytest.raises(UsageError, match="0 probes"):
        opened(tmp_path, probes=0)


def test_so_many_rows_outside_make_building_again_due(tmp_path):
    index, vectors = built(tmp_path)
    rows = np.arange(4001, 4002 + files.STEP)
    index.apply(rows, np.resize(vectors, (len(rows), 32)), NONE)
    assert index.approximate.state == "due"
    index.build_approximate()
    assert index.approximate.state == "ready"


def test_what_is_written_while_lists_are_built_is_kept(tmp_path):
    index, vectors = opened(tmp_path, probes=1000), bunches(6000)
    index.apply(np.arange(1, 5001), vectors[:5000], NONE)
    other = opened(tmp_path)

    def meanwhile(what, part):
        if (what, part) == ("assigning", 1.0):
            other.apply(np.arange(5001, 6001), vectors[5000:], np.arange(1, 5001, 5))

    assert index.build_approximate(meanwhile)
    assert index.rows().tolist() == [row for row in range(1, 6001) if row % 5 != 1 or row > 5000]
    assert other.search(vectors[5500], 1)[0].tolist() == [5501]
    assert index.search(vectors[0], 1)[0].tolist() != [1]


def test_rebuilding_while_lists_are_built_wins(tmp_path):
    index, vectors = opened(tmp_path), bunches(500)
    index.apply(np.arange(1, 501), vectors, NONE)
    other = opened(tmp_path)
    assert not index.build_approximate(
        lambda what, part: other.rebuild([(np.array([9]), vectors[:1])]) if (what, part) == ("assigning", 1.0) else None
    )
    assert index.rows().tolist() == [9]


def test_readers_in_threads_stay_right_while_lists_are_built(tmp_path):
    index, vectors = opened(tmp_path, probes=1000), bunches(3000)
    index.apply(np.arange(1, 3001), vectors, NONE)
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            wrong.extend(row for row in (5, 1500, 2999) if index.search(vectors[row - 1], 1)[0].tolist() != [row])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for seed in range(3):
        index.build_approximate(seed=seed)
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_a_builder_killed_leaves_what_was_there_and_its_leavings_go_with_the_next_removal(tmp_path):
    script = """
import sys
from pathlib import Path
from remanence.store.index.dense import DenseIndex
index = DenseIndex(Path(sys.argv[1]), 32, "key")
print("ready", flush=True)
while True:
    index.build_approximate(lambda what, part: print(what, flush=True))
"""
    index, vectors = opened(tmp_path), bunches(3000)
    index.apply(np.arange(1, 3001), vectors, NONE, applied=1)
    codes = quantise(vectors)[0]
    for kill in range(4):
        process = subprocess.Popen([sys.executable, "-c", script, str(index.folder)], stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line == "writing\n":
                break
        time.sleep(0.003 * kill)
        process.kill()
        process.stdout.close()
        process.wait()
        assert not index.stale
        assert len(index) == 3000 - kill
        assert index.search(vectors[2000], 1)[0].tolist() == [2001]
        index.apply(NONE, vectors[:0], np.array([kill + 1]), applied=kill + 2)
        held = b"".join(path.read_bytes() for path in index.files())
        assert codes[kill].tobytes() not in held


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 5))
def test_assignment_and_sums_are_brute_force(n, count, seed):
    codes, lengths = quantise(bunches(n, 8, 5, seed))
    centroids, inverse = quantise(bunches(count, 8, 5, seed + 1))
    cosines = (codes * lengths[:, None]) @ (centroids * inverse[:, None]).T
    cluster = clusters.assign(codes, centroids, inverse)
    np.testing.assert_allclose(cosines[np.arange(n), cluster], cosines.max(axis=1), atol=1e-5)
    brute = np.zeros((count, 8))
    np.add.at(brute, cluster, codes * lengths[:, None].astype(np.float64))
    np.testing.assert_allclose(clusters.sums(codes, lengths, cluster, count), brute, atol=1e-3)


def test_clusters_find_what_is_apart_and_none_is_empty():
    vectors = np.repeat(np.eye(8, dtype=np.float32), 30, axis=0)
    codes, lengths = quantise(vectors)
    centroids, inverse = clusters.fit(codes, lengths, 8, seed=1, rounds=20)
    assert (inverse > 0).all()
    cluster = clusters.assign(codes, centroids, inverse)
    assert all(len(np.unique(cluster[begin : begin + 30])) == 1 for begin in range(0, 240, 30))
    assert len(np.unique(cluster)) >= 5


def test_lists_follow_the_root_of_the_rows():
    assert [ivf.lists_for(n) for n in (1, 4, 16, 17, 10_000, 1_000_000)] == [1, 4, 16, 16, 400, 4000]
