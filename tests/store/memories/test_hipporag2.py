"""HippoRAG 2: what it finds, and that its graph is that of the records that are there."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import remanence as rm
from remanence.errors import StateError, UsageError
from remanence.store import open as open_store
from remanence.store.memories.hipporag2 import HippoRAG2, HippoRAG2Given
from remanence.store.retrieve.extract import phrase
from remanence.store.store import Store

PASSAGES = [
    "Gisvi\nGisvi was born in Windhoek on 6 March 1982.",
    "Namibia\nThe Kalahari Sands is the most popular hotel in Windhoek.",
    "Oslo\nThe Grand is a hotel in Oslo.",
    "Borgata\nBorgata is a hotel in Atlantic City.",
    "Judith Viorst\nViorst is a graduate of Rutgers University.",
    "Station\nThe Station is operated by Rutgers University.",
    "the weather was fine and nothing happened",
]


class Words:
    """An encoder of words: a direction for each, by its hash."""

    name, dimension = "words#64", 64

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.forgotten: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        found = np.zeros((len(texts), 64), np.float32)
        for place, text in enumerate(texts):
            for word in phrase(text).split() or ["…"]:
                found[place, hashlib.sha256(word.encode()).digest()[0] % 64] += 1
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def fingerprint(self, text: str) -> str:
        return text

    def forget(self, fingerprints: Sequence[str]) -> bool:
        self.forgotten += fingerprints
        return True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "memory.db", encoder=Words(), background=False) as made:
        yield made


def bound(store: Store, **settings: Any) -> HippoRAG2:
    memory = HippoRAG2(**settings)
    memory.bind(store)
    return memory


def titles(hits: Sequence[rm.store.Hit]) -> list[str]:
    return [hit.text.split("\n")[0] for hit in hits]


def test_the_second_step_is_found_through_a_shared_name(store: Store) -> None:
    store.write_many(PASSAGES)
    asked = "What did Gisvi's home become?"
    assert titles(bound(store).read(asked, 2)) == ["Gisvi", "Namibia"]
    assert titles(store.read(asked, 2, mode="dense"))[1:] != ["Namibia"]
    assert titles(bound(store).read("What is operated by the school of Viorst?", 2)) == ["Station", "Judith Viorst"]


def test_a_question_without_names_or_facts_is_answered_by_vectors(store: Store) -> None:
    store.write_many(PASSAGES)
    asked = "nothing happened and the weather"
    memory = bound(store)
    assert titles(memory.read(asked, 7)) == titles(store.read(asked, 7, mode="dense"))
    assert memory.read(asked, 1, explain=True)[0].explain.keys() == {"passages"}


def test_what_put_it_there_adds_up(store: Store) -> None:
    store.write_many(PASSAGES)
    hits = bound(store, names=2.0).read("What is the hotel in Gisvi's city?", 5, explain=True)
    for hit in hits:
        assert sum(hit.explain.values()) == pytest.approx(hit.score, abs=1e-9)
    assert hits[0].explain["names"] > 0
    assert not bound(store).read("What is the hotel in Gisvi's city?", 1)[0].explain


@pytest.mark.parametrize("linked", [1, 2, 5, 100])
def test_passages_are_ranked_as_the_authors_rank_them(store: Store, linked: int) -> None:
    store.write_many(PASSAGES)
    memory = bound(store, linked=linked, recognise=False)
    asked = "What did Gisvi's home become?"
    graph, vector = memory.graph(), Words().encode([asked])[0]
    cosines = np.round(graph.fact_vectors @ vector, 5).astype(float)
    worth = (cosines - cosines.min()) / (cosines.max() - cosines.min())
    best = sorted(range(len(worth)), key=lambda n: (-worth[n], graph.facts[n]))[:linked]
    of_phrase: dict[str, list[float]] = {}
    for number in best:
        for end in (graph.facts[number][0], graph.facts[number][2]):
            passages = sum(end in phrase(text) for text in PASSAGES)
            of_phrase.setdefault(end, []).append(worth[number] / passages)
    means = {one: float(np.mean(values)) for one, values in of_phrase.items()}
    chosen = sorted(means, key=lambda one: (-means[one], one))[:linked]
    near = (graph.passage_vectors @ vector).astype(float)
    seeds = np.zeros(len(graph.phrases) + len(graph))
    for one in chosen:
        seeds[graph.phrases.index(one)] = means[one]
    seeds[len(graph.phrases) :] = 0.05 * (near - near.min()) / (near.max() - near.min())
    seeds /= seeds.sum()
    weights = graph.weights().toarray()
    total = weights.sum(axis=1, keepdims=True)
    moves = np.where(total > 0, weights / np.where(total > 0, total, 1), seeds)
    walked = np.linalg.solve(np.eye(len(seeds)) - 0.5 * moves.T, 0.5 * seeds)
    hits = memory.read(asked, len(PASSAGES))
    expected = dict(zip(graph.rows, walked[len(graph.phrases) :], strict=True))
    assert [hit.score for hit in hits] == pytest.approx([expected[hit.record.row] for hit in hits], abs=1e-7)
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-7)


@pytest.mark.parametrize(
    "off", [{"context": False}, {"synonyms": 1.5}, {"recognise": False}, {"names": 2.0}, {"damping": 0.0}]
)
def test_without_a_part_it_still_reads(store: Store, off: dict[str, Any]) -> None:
    store.write_many(PASSAGES)
    hits = bound(store, **off).read("Where was Gisvi born?", 3)
    assert titles(hits)[0] == "Gisvi"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_nothing_crosses_a_scope(store: Store) -> None:
    store.write(PASSAGES[0], scope="a")
    store.write(PASSAGES[1], scope="b")
    memory = bound(store)
    assert titles(memory.read("hotel in Gisvi's city", 5, "a")) == ["Gisvi"]
    assert memory.graph("b").phrases == bound(store).graph("b").phrases
    assert "gisvi" not in memory.graph("b").phrases
    assert len(memory.graph("*")) == 2
    assert memory.read("hotel in Gisvi's city", 5, "") == []


def test_an_empty_store_finds_nothing(store: Store) -> None:
    assert bound(store).read("Where was Gisvi born?", 3) == []


@settings(max_examples=12, deadline=None)
@given(st.randoms(use_true_random=False))
def test_after_any_changes_it_reads_like_one_that_only_knew_what_is_left(
    tmp_path_factory: Any, draw: random.Random
) -> None:
    encoder = Words()
    place = tmp_path_factory.mktemp("stores")
    asked = ["What is the hotel in Gisvi's city?", "Who is a graduate of Rutgers University?", "fine weather"]
    with open_store(place / "changed.db", encoder=encoder, background=False) as changed:
        memory = bound(changed)
        for _ in range(12):
            held = changed.list()
            chance = draw.random()
            if chance < 0.5 or not held:
                changed.write(draw.choice(PASSAGES))
            elif chance < 0.7:
                changed.revise(draw.choice(held).id, draw.choice(PASSAGES))
            elif chance < 0.9:
                changed.forget(draw.choice(held).id)
            else:
                memory.read(draw.choice(asked), 2)
        left = changed.list(newest=False)
        with open_store(place / "fresh.db", encoder=encoder, background=False) as fresh:
            fresh.write_many([{"text": record.text} for record in left])
            like = bound(fresh)
            assert sorted(memory.graph().phrases) == sorted(like.graph().phrases)
            assert sorted(memory.graph().facts) == sorted(like.graph().facts)
            for question in asked:
                assert [(hit.text, hit.score) for hit in memory.read(question, 5)] == [
                    (hit.text, pytest.approx(hit.score, abs=1e-9)) for hit in like.read(question, 5)
                ]


def test_passages_that_come_later_cost_only_their_own_encoding(store: Store) -> None:
    store.write_many(PASSAGES[:4])
    memory = bound(store)
    memory.graph()
    encoder = store.encoding.encoder
    assert isinstance(encoder, Words)
    encoder.texts.clear()
    store.write(PASSAGES[4])
    memory.graph()
    assert encoder.texts == [
        PASSAGES[4],
        "judith viorst",
        "graduate",
        "rutgers university",
        "judith viorst is graduate",
        "judith viorst is a graduate of rutgers university",
    ]


def test_forgetting_reaches_what_was_encoded_for_the_graph(store: Store) -> None:
    kept, gone = store.write(PASSAGES[0]), store.write(PASSAGES[4])
    memory = bound(store)
    memory.graph()
    store.forget(gone.id)
    encoder = store.encoding.encoder
    assert isinstance(encoder, Words)
    assert {"judith viorst", "rutgers university", "judith viorst is graduate", PASSAGES[4]} <= set(encoder.forgotten)
    assert "gisvi" not in encoder.forgotten
    assert not any("viorst" in one for one in memory.graph().phrases)
    assert memory.graph().rows == [kept.row]


def test_a_store_that_no_graph_was_made_of_forgets_its_texts_alone(store: Store) -> None:
    gone = store.write(PASSAGES[4])
    store.forget(gone.id)
    encoder = store.encoding.encoder
    assert isinstance(encoder, Words)
    assert encoder.forgotten == [PASSAGES[4]]


def test_given_facts_are_taken_as_they_are_and_others_passed_over(store: Store) -> None:
    bad = [["a", "b"], "x", 3, None, ["a", "b", 4], ["…", "is", "b"], ["Zoë", "knows", "Bob"]]
    store.write("Some text.", metadata={"triples": bad})
    store.write("No facts.", metadata={"triples": "none"})
    store.write("None at all.")
    memory = HippoRAG2Given()
    memory.bind(store)
    assert memory.graph().facts == [("zoe", "knows", "bob")]
    assert titles(memory.read("Who knows Bob?", 1)) == ["Some text."]


def test_another_encoder_makes_another_graph(store: Store) -> None:
    class Letters(Words):
        name, dimension = "letters#64", 64

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.ascontiguousarray(super().encode(texts)[:, ::-1])

    store.write_many(PASSAGES)
    memory = bound(store)
    before = memory.graph()
    asked = "What did Gisvi's home become?"
    found = titles(memory.read(asked, 3))
    store.change_encoder(Letters())
    assert titles(memory.read(asked, 3)) == found
    assert memory.graph() is not before
    assert memory.graph().phrases == before.phrases


def test_threads_may_read_and_write_at_once(store: Store) -> None:
    memory = bound(store)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(8):
                memory.write({"text": f"Writer{number} met Friend{turn} in Town{turn}."})
                memory.read(f"Where did Writer{number} meet Friend{turn}?", 3)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(memory.graph()) == 32


def test_a_copy_goes_its_own_way(store: Store) -> None:
    memory = bound(store)
    memory.write({"text": PASSAGES[0]})
    memory._store = None
    twin = copy.deepcopy(memory)
    assert twin.bind(store) is twin
    assert titles(twin.read("Where was Gisvi born?", 1)) == ["Gisvi"]


def test_a_store_without_vectors_is_refused(tmp_path: Path) -> None:
    with open_store(tmp_path / "words.db", encoder=None) as store:
        store.write("Ana met Bob.")
        with pytest.raises(StateError, match="open the store with an encoder"):
            bound(store).read("Who met Bob?", 1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"damping": 1.0}, "damping"),
        ({"linked": 0}, "linked"),
        ({"passages": 0.0}, "passages"),
        ({"names": -1.0}, "names"),
        ({"linke": 3}, "did you mean 'linked'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        HippoRAG2(**settings)


class Endpoint:
    """A real server that answers chat completions by a function of the request's JSON document."""

    def __init__(self, answer: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                document = next(json.loads(m["content"]) for m in request["messages"] if m["role"] == "user")
                endpoint.asked.append(document)
                message = {"role": "assistant", "content": answer(document)}
                body = json.dumps(
                    {
                        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
                    }
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def test_a_language_model_reads_once_and_recognises(store: Store) -> None:
    pytest.importorskip("openai")
    from remanence.errors import EndpointError
    from remanence.store.language import LanguageModel, LLMClient

    told = {
        "one": [{"subject": "Ana Blum", "relation": "lives in", "object": "Porto"}],
        "two": [{"subject": "Porto", "relation": "lies on", "object": "the Douro"}],
        "nonsense": "?",
    }

    def answer(document: dict[str, Any]) -> str:
        if "text" in document:
            return json.dumps({"facts": told[document["text"]]})
        wanted = [int(number) for number, fact in document["facts"].items() if "ana blum" in fact]
        return json.dumps({"numbers": [*wanted, 99]})

    endpoint = Endpoint(answer)
    try:
        model = LanguageModel("tiny", base_url=endpoint.url, api_key="k", retries=0)
        memory = HippoRAG2()
        memory.bind(store, LLMClient(model))
        memory.write({"text": "one", "speaker": "Ana"})
        memory.write({"text": "two"})
        assert endpoint.asked[0] == {"text": "one", "speaker": "Ana"}
        assert memory.graph().facts == [("ana blum", "lives in", "porto"), ("porto", "lies on", "the douro")]
        assert titles(memory.read("On which river does Ana live?", 2)) == ["one", "two"]
        assert len(endpoint.asked) == 3
        again = HippoRAG2()
        again.bind(store, LLMClient(model))
        assert again.graph().facts == memory.graph().facts
        assert len(endpoint.asked) == 3
        assert model.usage.tokens == 36
        with pytest.raises(EndpointError):
            memory.write({"text": "nonsense"})
        assert len(store) == 2
    finally:
        endpoint.close()


@pytest.mark.data
def test_it_finds_more_of_musique_than_vectors(tmp_path: Path) -> None:
    """On the passages of the 25 questions that nothing was settled on; bench/graph.py asks over all 1,890."""
    folder = Path(os.environ.get("REMANENCE_DATA", "")) / "musique"
    if not folder.is_dir():
        pytest.skip("REMANENCE_DATA names no folder that holds musique")
    pytest.importorskip("onnxruntime")
    asked = json.loads((folder / "questions50.json").read_text())[1::2]
    triples = {one["passage"]: one["extracted_triples"] for one in json.loads((folder / "openie.json").read_text())}
    texts: dict[str, None] = {}
    wanted = []
    for one in asked:
        passages = {f"{p['title']}\n{p['paragraph_text']}": p["is_supporting"] for p in one["paragraphs"]}
        wanted.append({text for text, supports in passages.items() if supports})
        # the passages that are nearest to a question are what misleads vectors; all would take a minute to encode
        texts |= dict.fromkeys(list(passages)[:9]) | dict.fromkeys(wanted[-1])
    with open_store(tmp_path / "musique.db", encoder="minilm", background=False) as store:
        store.write_many([{"text": text, "metadata": {"triples": triples[text]}} for text in texts], wait=True)

        def recall(hits: Any) -> float:
            return float(
                np.mean(
                    [
                        len({h.text for h in hits(q["question"])} & w) / len(w)
                        for q, w in zip(asked, wanted, strict=True)
                    ]
                )
            )

        vectors = recall(lambda question: store.read(question, 5, mode="dense"))
        for made in (HippoRAG2Given, HippoRAG2):
            memory = made()
            memory.bind(store)
            assert recall(lambda question, memory=memory: memory.read(question, 5)) > vectors + 0.05
