"""Encoders behind an endpoint: a real local server that answers well, badly, slowly and not at all."""

import importlib.util
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from remanence.errors import EndpointError, MissingExtra, UsageError
from remanence.store.encode import encoder
from remanence.store.encode.endpoint import Endpoint, TokenUsage

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openai") is None, reason="openai is not installed")


def _rows(texts: list[str]) -> list[dict[str, Any]]:
    return [{"object": "embedding", "index": k, "embedding": [len(t), 1.0, 2.0]} for k, t in enumerate(texts)]


class Server(ThreadingHTTPServer):
    """Answers ``/v1/embeddings`` as the test says; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.failures: list[int] = []
        self.wait = 0.0
        self.answer: Any = lambda texts: {"data": _rows(texts)[::-1], "usage": {"prompt_tokens": 5 * len(texts)}}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, **asked})
        self.server.keys.append(self.headers.get("Authorization"))
        time.sleep(self.server.wait)
        status = self.server.failures.pop(0) if self.server.failures else 200
        given = (
            self.server.answer(asked["input"])
            if status == 200
            else {"error": {"message": f"no: {self.server.keys[-1]}"}}
        )
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After-Ms", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def test_vectors_come_in_order_and_unit_length_and_tokens_are_counted(server: Server) -> None:
    there = Endpoint("tiny", base_url=server.url, batch=2)
    assert (there.name, there.dimension) == ("openai:tiny#3", 3)
    texts = ["a", "bbb", "", "dd", "\ud800"]
    vectors = there.encode(texts)
    expected = np.array([[len(text or " "), 1, 2] for text in texts], np.float32)
    assert np.allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert vectors.dtype == np.float32
    assert there.usage == TokenUsage(calls=4, texts=6, tokens=30)
    assert [len(asked["input"]) for asked in server.asked] == [1, 2, 2, 1]
    assert there.encode([]).shape == (0, 3)


def test_settings_come_from_the_environment_and_the_key_stays_hidden(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "hidden-key")
    there = encoder("openai:tiny", cache=False)
    assert server.keys == ["Bearer hidden-key"]
    assert "hidden-key" not in repr(there) + str(vars(there))
    server.failures = [401]
    with pytest.raises(EndpointError, match="status 401") as caught:
        there.encode(["a"])
    assert "hidden-key" not in str(caught.value)


def test_a_full_name_needs_no_question(server: Server) -> None:
    there = encoder("openai:tiny#3", cache=False, base_url=server.url)
    assert there.dimension == 3 and server.asked == []
    assert there.name == "openai:tiny#3"
    assert there.encode(["x" * 10_000]).shape == (1, 3)
    assert len(server.asked[0]["input"][0]) == 8000


def test_failures_that_pass_are_tried_again(server: Server) -> None:
    server.failures = [503, 429]
    there = Endpoint("tiny", base_url=server.url, dimension=3, retries=2)
    assert there.encode(["a"]).shape == (1, 3)
    assert len(server.asked) == 3
    server.failures = [500, 500]
    with pytest.raises(EndpointError, match="refused with status 500"):
        Endpoint("tiny", base_url=server.url, dimension=3, retries=1).encode(["a"])


def test_a_wrong_dimension_is_refused(server: Server) -> None:
    with pytest.raises(EndpointError, match=r"vectors of 3 numbers, expected 4"):
        encoder("openai:tiny#4", cache=False, base_url=server.url).encode(["a"])


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>not here</html>",
        b"",
        b"[]",
        b"{}",
        b'{"data": "nothing"}',
        b'{"data": [{"index": 0, "embedding": ["a", "b", "c"]}]}',
        b'{"data": [{"index": 0, "embedding": "AAAA"}]}',
        b'{"data": []}',
        b'{"data": [{"index": 1, "embedding": [1, 2, 3]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, 3]}, {"index": 0, "embedding": [1, 2, 3]}]}',
        b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [NaN, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b"[" * 5000,
    ],
)
def test_nonsense_gets_one_sentence(server: Server, answer: bytes) -> None:
    server.answer = lambda texts: answer
    there = Endpoint("tiny", base_url=server.url, dimension=3, retries=0)
    with pytest.raises(EndpointError) as caught:
        there.encode(["a"])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tiny at 127.0.0.1")


def test_a_first_answer_without_numbers_makes_no_encoder(server: Server) -> None:
    server.answer = lambda texts: {"data": [{"index": 0, "embedding": []}]}
    with pytest.raises(EndpointError, match="without numbers"):
        Endpoint("tiny", base_url=server.url)


def test_a_slow_or_absent_endpoint_is_given_up(server: Server) -> None:
    server.wait = 0.5
    with pytest.raises(EndpointError, match=r"did not answer within 0\.1 s"):
        Endpoint("tiny", base_url=server.url, timeout=0.1, retries=0, dimension=3).encode(["a"])
    with pytest.raises(EndpointError, match="cannot be reached"):
        Endpoint("tiny", base_url="http://127.0.0.1:9/v1", retries=0, dimension=3).encode(["a"])


def test_what_cannot_be_an_endpoint_is_refused_before_anything_is_sent(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="neither an endpoint nor a key"):
        Endpoint("tiny")
    with pytest.raises(UsageError, match="look like http"):
        Endpoint("tiny", base_url="localhost:80")
    with pytest.raises(UsageError, match="api_key must be"):
        Endpoint("tiny", base_url=server.url, api_key="line\nbreak")
    with pytest.raises(UsageError, match="timeout"):
        Endpoint("tiny", base_url=server.url, timeout=0)
    with pytest.raises(UsageError, match="name the endpoint's model"):
        encoder("openai", base_url=server.url)
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"remanence-memory\[lm\]"):
        Endpoint("tiny", base_url=server.url)
    assert server.asked == []
