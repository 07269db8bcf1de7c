"""Another encoder: the old vectors serve until the new are complete, and a compatible one needs no new vectors."""

import threading

import numpy as np
import pytest

from remanence.errors import StateError
from remanence.store.database.sqlite import SqliteDatabase
from remanence.store.store import Store
from remanence.store.where import Filter


class Letters:
    """How often each of the first letters occurs, unit length."""

    def __init__(self, dimension, name=None):
        self.dimension, self.name = dimension, name or f"letters#{dimension}"
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def encode(self, texts):
        self.begun.set()
        self.go.wait(10)
        found = np.array([[1 + text.lower().count(chr(97 + k)) for k in range(self.dimension)] for text in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class Compatible(Letters):
    compatible_with = "letters#8"

    def to_old(self, vectors):
        cut = vectors[:, :8]
        return cut / np.linalg.norm(cut, axis=1, keepdims=True)


@pytest.fixture
def open_with(tmp_path):
    opened = []

    def opening(encoder):
        opened.append(Store(SqliteDatabase(tmp_path / "m.db"), encoder, background=False))
        return opened[-1]

    yield opening
    for store in opened:
        store.close()


def test_everything_is_encoded_anew_and_the_old_vectors_go(open_with):
    store = open_with(Letters(8))
    store.write_many(["aaaa", "bbbb", "cccc"], wait=True)
    store.change_encoder(Letters(16))
    (space,) = store.database.spaces()
    assert (space.name, space.dimension, space.serving) == ("letters#16", 16, True)
    rows = store.database.matching(Filter(scope=None, history=True))
    assert store.database.vectors(space, rows)[1].shape == (3, 16)
    assert store.read("bbb", k=1, mode="dense")[0].text == "bbbb"
    assert store.check() == []


def test_the_old_vectors_serve_in_the_meantime_and_what_is_written_then_is_in_both(open_with):
    store, slow = open_with(Letters(8)), Letters(16)
    store.write_many(["aaaa", "bbbb"], wait=True)
    slow.go.clear()
    store.change_encoder(slow, wait=False)
    slow.begun.wait(10)
    assert store.read("bbb", k=1, mode="dense")[0].text == "bbbb"
    assert store.encoding.encoder.name == "letters#8"
    store.write("dddd", wait=True)
    slow.go.set()
    store.encoding._changing.join(10)
    assert store.encoding.encoder.name == "letters#16"
    assert store.read("ddd", k=1, mode="dense")[0].text == "dddd"


def test_a_stopped_change_goes_on(open_with):
    store = open_with(Letters(8))
    store.write_many([f"text {k}" for k in range(200)], wait=True)
    slow = Letters(16)
    slow.go.clear()
    store.change_encoder(slow, wait=False)
    slow.begun.wait(10)
    store.encoding._stop.set()
    slow.go.set()
    store.encoding._changing.join(10)
    assert [space.serving for space in store.database.spaces()] == [True, False]
    again = open_with(Letters(8))
    left = again.database.queue_length(again.database.spaces()[1])
    assert 0 < left < 200
    again.change_encoder(Letters(16))
    assert [space.name for space in again.database.spaces()] == ["letters#16"]


def test_a_store_open_elsewhere_says_so_instead_of_comparing_what_cannot_be_compared(open_with):
    here, there = open_with(Letters(8)), open_with(Letters(8))
    here.write("aaaa", wait=True)
    there.change_encoder(Letters(8, "others#8"))
    with pytest.raises(StateError, match="changed to 'others#8'"):
        here.read("a", mode="dense")


def test_another_encoder_is_refused_and_a_compatible_one_searches_the_old_vectors(open_with):
    open_with(Letters(8)).write_many(["aaaa", "bbbb"], wait=True)
    with pytest.raises(StateError, match=r"from the encoder 'letters#8'.*change_encoder"):
        open_with(Letters(16))
    store = open_with(Compatible(16, "new#16"))
    assert store.encoding.waiting() == 0
    assert store.read("bbb", k=1, mode="dense")[0].text == "bbbb"
    store.write("cccc", wait=True)
    assert store.read("ccc", k=1, mode="dense")[0].text == "cccc"
    store.change_encoder(Letters(16))
    assert store.read("ccc", k=1, mode="dense")[0].text == "cccc"


@pytest.mark.parametrize("wrong", ["shape", "nan"])
def test_a_wrong_vector_is_not_kept(open_with, wrong):
    class Wrong(Letters):
        def encode(self, texts):
            return np.zeros((len(texts), 3)) if wrong == "shape" else np.full((len(texts), 8), np.nan, dtype=np.float32)

    store = open_with(Wrong(8))
    with pytest.raises(StateError, match=r"expected \(1, 8\)" if wrong == "shape" else "not finite"):
        store.write("aaaa", wait=True)
    assert len(store) == 1
    assert store.encoding.waiting() == 1
