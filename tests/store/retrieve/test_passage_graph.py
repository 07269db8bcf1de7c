"""The graph of passages and phrases: in any order, in any batches, and after any removal it is the same graph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.retrieve.graph import PassageGraph, normal

NAMES = ["Ana", "Bea", "Carl", "Dora", "Rome", "Oslo", "ana", "1990", "it", "…"]


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """A few directions that texts share by their hash, so that some phrases are synonyms."""
    found = np.zeros((len(texts), 6), np.float32)
    for place, text in enumerate(texts):
        digest = hashlib.sha256(text.encode()).digest()
        found[place, digest[0] % 3] = 1
        found[place, 3 + digest[1] % 3] = digest[2] / 255
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def made(passages: dict[int, list[tuple[str, str, str]]], batches: Sequence[Sequence[int]]) -> PassageGraph:
    graph = PassageGraph(encode)
    for batch in batches:
        graph.add(
            list(batch), [passages[row] for row in batch], encode([f"passage {row}" for row in batch]).reshape(-1, 6)
        )
    return graph


def canonical(graph: PassageGraph) -> dict[str, object]:
    """Nodes and edges by name, whatever their order."""
    names = [*graph.phrases, *graph.rows]
    weights = graph.weights().tocoo()
    return {
        "phrases": sorted(graph.phrases),
        "facts": sorted(graph.facts),
        "rows": sorted(graph.rows),
        "edges": {
            (str(names[a]), str(names[b])): pytest.approx(float(w))
            for a, b, w in zip(weights.row, weights.col, weights.data, strict=True)
        },
        "spread": dict(zip(graph.phrases, graph.spread(), strict=True)),
        "vectors": {one: vector.tolist() for one, vector in zip(graph.phrases, graph.phrase_vectors, strict=True)}
        | {fact: vector.tolist() for fact, vector in zip(graph.facts, graph.fact_vectors, strict=True)}
        | {row: vector.tolist() for row, vector in zip(graph.rows, graph.passage_vectors, strict=True)},
    }


facts = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["met", "in"]), st.sampled_from(NAMES)), max_size=4)
corpora = st.dictionaries(st.integers(1, 30), facts, min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(corpora, st.data())
def test_batches_and_order_do_not_matter(passages: dict[int, list[tuple[str, str, str]]], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(passages)))
    cut = data.draw(st.integers(0, len(order)))
    assert canonical(made(passages, [order[:cut], order[cut:]])) == canonical(made(passages, [sorted(passages)]))


@settings(max_examples=80, deadline=None)
@given(corpora, st.data())
def test_what_was_removed_was_never_there(passages: dict[int, list[tuple[str, str, str]]], data: st.DataObject) -> None:
    going = data.draw(st.lists(st.sampled_from(sorted(passages)), unique=True))
    graph = made(passages, [sorted(passages)])
    graph.weights()
    graph.remove(going)
    left = [row for row in sorted(passages) if row not in going]
    assert canonical(graph) == canonical(made(passages, [left]))
    graph.add(going, [passages[row] for row in going], encode([f"passage {row}" for row in going]).reshape(-1, 6))
    assert canonical(graph) == canonical(made(passages, [sorted(passages)]))


@settings(max_examples=40, deadline=None)
@given(corpora)
def test_edges_are_what_they_are_said_to_be(passages: dict[int, list[tuple[str, str, str]]]) -> None:
    graph = made(passages, [sorted(passages)])
    weights = graph.weights().toarray()
    number = {one: place for place, one in enumerate(graph.phrases)}
    expected = np.zeros_like(weights)
    for place, row in enumerate(graph.rows):
        told = normal(passages[row])
        for subject, _, other in told:
            expected[number[subject], number[other]] += 1
            expected[number[other], number[subject]] += 1
        for end in {end for fact in told for end in (fact[0], fact[2])}:
            expected[len(number) + place, number[end]] = expected[number[end], len(number) + place] = 1
    for a, one in enumerate(graph.phrases):
        for b, other in enumerate(graph.phrases):
            near = float(graph.phrase_vectors[a] @ graph.phrase_vectors[b])
            if a != b and near >= 0.8 and min(len(one), len(other)) > 2:
                expected[a, b] += near
    np.testing.assert_allclose(weights, expected, atol=2e-5)
    without = graph.weights(passages=False, synonyms=False).toarray()
    assert not without[len(number) :].any()
    assert (graph.weights(synonyms=False).toarray() <= weights + 1e-9).all()


def test_a_failing_encoder_changes_nothing() -> None:
    def failing(texts: list[str]) -> NDArray[np.float32]:
        if "oslo" in texts:
            raise RuntimeError("no")
        return encode(texts)

    graph = PassageGraph(failing)
    graph.add([1], [[("Ana", "in", "Rome")]], encode(["a"]))
    before = canonical(graph)
    with pytest.raises(RuntimeError):
        graph.add([2], [[("Ana", "in", "Oslo")]], encode(["b"]))
    assert canonical(graph) == before


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("Where does Ana Blum live?", ["ana blum"]),
        ("What is Ana's city?", ["ana"]),
        ("is ana in rome", ["ana", "rome"]),
        ("Is rome where Ana lives?", ["ana"]),
        ("Wo ist ANA BLUM, Ana?", ["ana blum", "ana"]),
        ("When was 1990?", ["1990"]),
        ("What is it?", []),
        ("", []),
        ("???", []),
    ],
)
def test_what_a_question_names(question: str, named: list[str]) -> None:
    graph = PassageGraph(encode)
    told = [("Ana Blum", "met", "Ana"), ("Ana", "in", "Rome"), ("Ana", "since", "1990"), ("it", "is", "what")]
    graph.add([1], [told], encode(["a"]))
    assert [graph.phrases[number] for number in graph.named(question)] == named


def test_nearest_facts_are_the_nearest() -> None:
    graph = PassageGraph(encode)
    graph.add([1], [[(f"A{n}", "met", f"B{n}") for n in range(40)]], encode(["a"]))
    asked = encode(["question"])[0]
    numbers, worth = graph.nearest_facts(asked, 7)
    every = np.round(graph.fact_vectors @ asked, 5).astype(float)
    assert every[numbers].tolist() == sorted(every, reverse=True)[:7]
    # on the scale of all 40, whatever few of them are asked for
    assert np.allclose(worth, (every[numbers] - every.min()) / (every.max() - every.min()))
    assert worth[0] == 1.0 and worth[-1] > 0.0
    assert graph.nearest_facts(asked, 40)[1][-1] == 0.0
    assert len(graph.nearest_facts(asked, 500)[0]) == 40


def test_what_does_not_fit_is_refused() -> None:
    graph = PassageGraph(encode)
    graph.add([1], [[]], encode(["a"]))
    with pytest.raises(UsageError, match="in the graph already"):
        graph.add([1], [[]], encode(["a"]))
    with pytest.raises(UsageError, match="in the graph already"):
        graph.add([2, 2], [[], []], encode(["a", "b"]))
    with pytest.raises(UsageError, match="2 passages were given with 1 lists"):
        graph.add([2, 3], [[]], encode(["a", "b"]))
    with pytest.raises(UsageError, match="not in the graph"):
        graph.remove([5])
    assert graph.nearest_facts(encode(["a"])[0], 3)[0].tolist() == []
