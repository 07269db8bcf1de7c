import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from remanence.store.index.clusters import balanced, centroids_of
from remanence.store.index.codes import TopK, quantise
from remanence.store.index.dense import DenseIndex
from remanence.store.index.spann import Spann

NONE = np.empty(0, dtype=np.int64)


def bunches(n, dimension=32, count=20, seed=0):
    """Unit vectors around some directions, the first of them in a crowd of half of all."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dimension))
    which = np.where(rng.random(n) < 0.5, 0, rng.integers(count, size=n))
    x = centres[which] + 0.5 * rng.standard_normal((n, dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def coded(n, **settings):
    return quantise(bunches(n, **settings))


def built(n=2000, **settings):
    codes, lengths = coded(n)
    spann = Spann(largest=25, **settings)
    return spann, spann.build(np.arange(1, n + 1), codes, lengths), codes, lengths


def squared(a, a_lengths, b, b_lengths):
    return 2 - 2 * (a * a_lengths[:, None].astype(np.float64)) @ (b * b_lengths[:, None].astype(np.float64)).T


def test_every_row_stands_in_the_list_of_its_closest_centroid():
    spann = Spann(largest=25)
    codes, lengths = coded(1500)
    cluster = spann.split(codes, lengths)
    centroids, inverse = centroids_of(codes, lengths, cluster, int(cluster.max()) + 1)
    postings = spann.assign(np.arange(1, 1501), codes, lengths, centroids, inverse)
    distance = squared(codes, lengths, centroids, inverse)
    for one in range(len(centroids)):
        begin = postings.starts[one]
        home = postings.rows[begin : begin + postings.homes[one]] - 1
        np.testing.assert_allclose(distance[home, one], distance[home].min(axis=1), atol=1e-5)
    assert postings.homes.sum() == 1500
    entry = np.repeat(np.arange(len(centroids)), np.diff(postings.starts))
    assert len(set(zip(postings.rows.tolist(), entry.tolist(), strict=True))) == len(entry)
    np.testing.assert_array_equal(postings.codes, codes[postings.rows - 1])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 50), st.integers(1, 5), st.sampled_from([0.0, 0.1, 0.5, 10.0]), st.booleans())
def test_closure_and_relative_neighbours_are_the_rule_as_written(seed, replicas, closure, relative):
    codes, lengths = coded(30, dimension=6, seed=seed)
    centroids, inverse = quantise(np.random.default_rng(seed).standard_normal((2 * replicas, 6)).astype(np.float32))
    spann = Spann(replicas=replicas, closure=closure, relative=relative)
    distance, apart = squared(codes, lengths, centroids, inverse), squared(centroids, inverse, centroids, inverse)
    close = np.argsort(distance, axis=1)
    taken = spann.chosen(np.take_along_axis(distance, close, axis=1).astype(np.float32), close, centroids, inverse)
    for row in range(30):
        expected = [close[row, 0]]
        for one in close[row, 1:]:
            if len(expected) == replicas or distance[row, one] > (1 + closure) * distance[row, expected[0]]:
                continue
            if not relative or all(apart[one, other] >= distance[row, one] for other in expected):
                expected.append(one)
        assert close[row][taken[row]].tolist() == expected


def test_splitting_ends_below_the_largest_and_puts_every_row_once():
    for n, largest in [(1, 5), (5, 5), (400, 7), (3000, 60)]:
        codes, lengths = coded(n)
        cluster = Spann(largest=largest).split(codes, lengths)
        sizes = np.bincount(cluster)
        assert sizes.max() <= largest
        assert sizes.min() > 0
        assert sizes.sum() == n


def test_equal_rows_are_cut_anywhere():
    codes, lengths = quantise(np.ones((100, 4), dtype=np.float32))
    assert np.bincount(Spann(largest=8).split(codes, lengths)).max() <= 8


def test_a_price_on_size_evens_clusters_out():
    codes, lengths = coded(3000)
    spread = [
        np.bincount(balanced(codes, lengths, 30, price, np.random.default_rng(0)), minlength=30).std()
        for price in (0.0, 0.1, 1.0)
    ]
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize("pruning", [0.0, 0.2, 7.0])
def test_a_query_reads_the_lists_that_are_nearly_as_close_as_the_closest(pruning):
    spann, postings, _, _ = built(pruning=pruning, probes=12)
    for query in quantise(bunches(20, seed=3))[0]:
        cosine = (postings.centroids.astype(float) @ query) * postings.inverse / np.linalg.norm(query.astype(float))
        distance = 2 - 2 * cosine
        near = np.argsort(distance)[:12]
        expected = sorted(near[distance[near] <= (1 + pruning) * distance.min() + 1e-9].tolist())
        assert spann.lists(postings, query).tolist() == expected
        best = TopK(5)
        read = spann.search(postings, query, best)
        assert read.lists == len(expected)
        assert read.entries == np.diff(postings.starts)[expected].sum()
        assert len(set(best.places.tolist())) == len(best.places)  # a row in several lists is found once


def test_replicas_raise_recall_at_equal_lists():
    vectors = bunches(4000)
    codes, lengths = quantise(vectors)
    recall = []
    for replicas in (1, 4):
        spann = Spann(largest=25, replicas=replicas, probes=4, pruning=None)
        postings = spann.build(np.arange(1, 4001), codes, lengths)
        found = 0
        for query, code in zip(vectors[:150], codes[:150], strict=True):
            best = TopK(10)
            spann.search(postings, code, best)
            found += len(np.intersect1d(best.places, np.argsort(-(vectors @ query))[:10] + 1))
        recall.append(found / 1500)
    assert recall[1] > recall[0] + 0.02


def test_all_lists_are_an_exact_search():
    spann, postings, codes, lengths = built(800, probes=10_000, pruning=None)
    for query in quantise(bunches(10, seed=4))[0]:
        best = TopK(15)
        spann.search(postings, query, best)
        scores = (codes.astype(np.int64) @ query.astype(np.int64)).astype(np.float32) * lengths
        assert best.ordered()[0].tolist() == (np.argsort(-scores, kind="stable")[:15] + 1).tolist()


def test_removed_rows_are_zeros_and_their_centroids_are_of_the_others():
    _, postings, codes, _ = built(400)
    gone = np.arange(1, 401, 2)
    postings.remove(gone)
    assert not np.isin(gone, postings.rows).any()
    held = postings.codes.tobytes() + postings.centroids.tobytes()
    assert not any(codes[row - 1].tobytes() in held for row in gone)
    for one in range(len(postings.inverse)):
        home = slice(postings.starts[one], postings.starts[one] + postings.homes[one])
        mean = (postings.codes[home] * postings.lengths[home, None]).sum(axis=0)
        if not mean.any():
            assert postings.inverse[one] == 0
            continue
        cosine = postings.centroids[one] @ mean * postings.inverse[one] / np.linalg.norm(mean)
        assert cosine > 0.999
    postings.remove(np.arange(2, 401, 2))
    assert not postings.codes.any()
    assert not postings.centroids.any()


@settings(deadline=None, max_examples=12)
@given(st.data())
def test_in_an_index_all_lists_and_what_came_since_are_exact(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spann")
    index = DenseIndex(folder / "dense", 32, "key", spann=Spann(largest=9, probes=1000, pruning=None))
    pool = bunches(501)
    alive = data.draw(st.sets(st.integers(1, 300), min_size=1))
    index.apply(np.array(sorted(alive)), pool[sorted(alive)], NONE)
    if data.draw(st.booleans()):
        DenseIndex(folder / "dense", 32, "key").build_approximate()  # the codes stand in another order then
    index.build_approximate()
    gone = data.draw(st.sets(st.sampled_from(sorted(alive))))
    late = data.draw(st.sets(st.integers(1, 500), max_size=15)) - gone
    for _ in range(2):
        index.apply(np.array(sorted(late), dtype=np.int64), pool[sorted(late)], np.array(sorted(gone), dtype=np.int64))
    alive = sorted((alive | late) - gone)
    assert index.rows().tolist() == alive
    plain = DenseIndex(folder / "plain", 32, "key")
    plain.apply(np.array(alive, dtype=np.int64), pool[alive], NONE)
    for query in bunches(3, seed=5):
        for k in (1, 12):
            found, scores = index.search(query, k)
            np.testing.assert_array_equal(scores, plain.search(query, k)[1])
            assert len(set(found.tolist())) == len(found)
            assert set(found.tolist()) <= set(alive)


def test_a_row_that_came_late_and_a_writer_that_died_do_not_lose_it(tmp_path, monkeypatch):
    index = DenseIndex(tmp_path, 32, "key", spann=Spann(largest=9, probes=3))
    vectors = bunches(301)
    rows = np.array([row for row in range(1, 301) if row != 150])
    index.apply(rows, vectors[rows], NONE)
    index.build_approximate()

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("remanence.store.index.header.write", dies)
        with pytest.raises(KeyboardInterrupt):
            index.apply(np.array([150]), vectors[150:151], NONE)
    index.apply(np.array([150]), vectors[150:151], NONE)
    assert index.search(vectors[150], 1)[0].tolist() == [150]
    assert index.approximate.covers == 149


def test_in_an_index_a_removed_vector_is_in_no_file(tmp_path):
    index = DenseIndex(tmp_path, 32, "key", spann=Spann(largest=4))
    vectors = bunches(301)
    index.apply(np.arange(1, 301), vectors[1:], NONE)
    index.build_approximate()
    codes = quantise(vectors)[0]
    assert index.files()[-1].name == "spann.2"
    assert b"".join(path.read_bytes() for path in index.files()).count(codes[7].tobytes()) > 1
    index.apply(NONE, vectors[:0], np.arange(1, 301, 2))
    held = b"".join(path.read_bytes() for path in index.files())
    assert not any(codes[row].tobytes() in held for row in range(1, 301, 2))
    assert codes[8].tobytes() in held
    assert index.search(vectors[8], 1)[0].tolist() == [8]


def test_what_cannot_be_set_is_said():
    for wrong in ({"largest": 0}, {"replicas": 0}, {"closure": -1}, {"pruning": -0.1}, {"probes": 0}, {"balance": -1}):
        with pytest.raises((ValueError, ValidationError)):
            Spann(**wrong)
