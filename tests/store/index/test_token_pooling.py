"""Token pooling and late interaction: clusters, counts, scores, bytes, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from remanence.errors import StateError, UsageError
from remanence.store.index.token_pooling import TokenPooling, max_sim, pool


def unit(count, dimension=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_pooled_vectors_are_the_means_of_wards_clusters_on_cosine_distance(factor):
    vectors = unit(25, seed=factor)
    chords = np.sqrt(2 * pdist(vectors.astype(np.float64), "cosine"))
    labels = fcluster(linkage(chords, "ward"), 25 // factor, "maxclust")
    expected = {tuple(vectors[labels == label].mean(0).round(5)) for label in set(labels)}
    assert {tuple(row.round(5)) for row in pool(vectors, factor)} == expected


def test_ward_merges_what_loses_least():
    """Agglomeration by hand: at each step the pair whose joining adds least to the sum of squares."""
    vectors = unit(9, 4, seed=3).astype(np.float64)
    clusters = [[place] for place in range(9)]

    def spread(members):
        return ((vectors[members] - vectors[members].mean(0)) ** 2).sum()

    while len(clusters) > 3:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        a, b = min(
            pairs,
            key=lambda p: spread(clusters[p[0]] + clusters[p[1]]) - spread(clusters[p[0]]) - spread(clusters[p[1]]),
        )
        clusters[b] += clusters.pop(a)
    expected = sorted(vectors[members].mean(0).tolist() for members in clusters)
    assert np.allclose(sorted(pool(vectors.astype(np.float32), 3).tolist()), expected, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 3))
def test_how_many_are_kept(tokens, factor, protected):
    vectors = unit(tokens, seed=tokens)
    kept = pool(vectors, factor, protected)
    if tokens <= protected:
        assert len(kept) == tokens
    else:
        assert len(kept) == protected + max(1, (tokens - protected) // factor)
    assert np.array_equal(kept[: min(protected, tokens)], vectors[:protected])
    assert np.linalg.norm(kept, axis=1).max() < 1 + 1e-5


def test_the_mean_of_all_is_kept_whatever_the_factor():
    """Weighted by their sizes the means add up to what there was; with one cluster it is the mean itself."""
    vectors = unit(12)
    assert pool(vectors, 12)[0] == pytest.approx(vectors.mean(0), abs=1e-6)
    assert np.array_equal(pool(vectors, 1), vectors)


def test_equal_vectors_become_fewer_than_asked():
    vectors = np.repeat(unit(1), 6, axis=0)
    assert pool(vectors, 2) == pytest.approx(vectors[:1], abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 5))
def test_late_interaction_against_loops(lengths, tokens):
    vectors, query = unit(sum(lengths), seed=1), unit(tokens, seed=2)
    expected, first = [], 0
    for length in lengths:
        score = 0.0
        for q in query:
            score += max(float(q @ d) for d in vectors[first : first + length])
        expected.append(score)
        first += length
    assert max_sim(query, vectors, lengths) == pytest.approx(expected, abs=1e-5)


def test_a_search_in_parts_gives_what_a_whole_one_gives(monkeypatch):
    documents = [unit(count, seed=count) for count in range(3, 23)]
    index = TokenPooling(factor=2)
    index.add(range(100, 120), documents)
    query = unit(4, seed=99)
    whole = index.search(query, k=20)
    scores = max_sim(
        query,
        np.concatenate([pool(d, 2).astype(np.float16).astype(np.float32) for d in documents]),
        [len(pool(d, 2)) for d in documents],
    )
    assert [score for _, score in whole] == pytest.approx(sorted(scores.tolist(), reverse=True), abs=1e-6)
    monkeypatch.setattr("remanence.store.index.token_pooling._AT_ONCE", 10)
    parts = index.search(query, k=20)
    assert [row for row, _ in parts] == [row for row, _ in whole]
    assert index.search(query, k=3, among=[101, 5, 119]) == [hit for hit in parts if hit[0] in (101, 119)]


def test_bytes_are_counted_and_fall_with_the_factor():
    documents = [unit(24, 16, seed=seed) for seed in range(5)]
    sizes = {}
    for factor in (1, 2, 3, 4, 6):
        index = TokenPooling(factor=factor)
        index.add(range(5), documents)
        assert index.vectors == 5 * 24 // factor
        sizes[factor] = index.nbytes
    assert sizes == {factor: 5 * 24 // factor * 16 * 2 for factor in sizes}
    small = TokenPooling(factor=2, stored="int8")
    small.add(range(5), documents)
    assert small.nbytes == 60 * (16 + 4)


def test_int8_scores_are_near_those_of_float16():
    documents, query = [unit(12, 64, seed=seed) for seed in range(6)], unit(5, 64, seed=50)
    found = []
    for stored in ("float16", "int8"):
        index = TokenPooling(factor=3, stored=stored)
        index.add(range(6), documents)
        found.append([score for _, score in sorted(index.search(query))])
    assert found[0] == pytest.approx(found[1], abs=0.03)


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_an_index_is_saved_and_loaded(tmp_path, stored):
    index = TokenPooling(factor=3, protected=1, stored=stored)
    index.add([4, 9], [unit(7), unit(11)])
    index.save(tmp_path / "tokens.safetensors")
    loaded = TokenPooling.load(tmp_path / "tokens.safetensors")
    assert loaded.search(unit(3, seed=5)) == index.search(unit(3, seed=5))
    assert (loaded.factor, loaded.protected, loaded.stored, loaded.nbytes) == (3, 1, stored, index.nbytes)
    loaded.add([10], [unit(5)])
    assert loaded.remove([4, 5]) == 1
    assert [row for row, _ in loaded.search(unit(2))].count(4) == 0


def test_an_empty_index_is_saved_and_answers_nothing(tmp_path):
    TokenPooling().save(tmp_path / "empty")
    assert TokenPooling.load(tmp_path / "empty").search(unit(2)) == []


def test_foreign_and_torn_files_are_refused(tmp_path):
    index = TokenPooling()
    index.add([1], [unit(40)])
    index.save(tmp_path / "tokens")
    (tmp_path / "torn").write_bytes((tmp_path / "tokens").read_bytes()[:-100])
    with pytest.raises(StateError, match="cannot be read as an index of token vectors"):
        TokenPooling.load(tmp_path / "torn")
    with pytest.raises(StateError, match="cannot be read"):
        TokenPooling.load(tmp_path / "none")
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "other")
    with pytest.raises(StateError, match="holds no index of token vectors"):
        TokenPooling.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda index: index.add([2], [unit(3, 5)]), r"shape \(3, 5\), expected \(1 or more tokens, 8\)"),
        (lambda index: index.add([2], [np.empty((0, 8), np.float32)]), r"shape \(0, 8\)"),
        (lambda index: index.add([1], [unit(3)]), "row 1 is in the index already"),
        (lambda index: index.add([2, 2], [unit(3), unit(3)]), "row 2 is in the index already"),
        (lambda index: index.add([2], [unit(3) * np.nan]), "not finite"),
        (lambda index: index.add([2, 3], [unit(3)]), "2 rows and 1 documents"),
        (lambda index: index.search(unit(3, 5)), r"the query has the shape \(3, 5\)"),
        (lambda index: index.search(unit(3), k=0), "ask for 1 or more"),
        (lambda index: TokenPooling(factor=0), "factor must be greater than or equal to 1"),
        (lambda index: TokenPooling(stored="int4"), "stored must be"),
    ],
)
def test_what_cannot_be_used_is_said_and_changes_nothing(act, message):
    index = TokenPooling()
    index.add([1], [unit(4)])
    with pytest.raises(UsageError, match=message):
        act(index)
    assert len(index) == 1 and index.vectors == 2
