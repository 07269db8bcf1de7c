"""Questions over passages that are read as token vectors: LoCoMo's turns and MuSiQue's paragraphs."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from remanence import streams
from remanence.streams import decoded_cache
from remanence.streams.examples import Concatenated
from remanence.streams.experience import Segment, Stream, TestSet
from remanence.streams.text_rows import unpack


@dataclass(frozen=True)
class Collection:
    """Passages that one search goes over, and questions with the places of the passages that answer them."""

    name: str
    passages: tuple[str, ...]
    questions: tuple[tuple[str, frozenset[int]], ...]


@functools.cache
def collections() -> tuple[Collection, ...]:
    """The six conversations of LoCoMo, each a collection of its own, and MuSiQue.

    Raises
    ------
    UsageError
        If the files are not below REMANENCE_DATA.
    """
    conversations, musique = streams.parse("locomo"), streams.parse("musique")
    return (
        *(_collection(f"locomo/{segment.name}", segment, test) for segment, test in _pairs(conversations)),
        _joined(musique),
    )


def _pairs(stream: Stream) -> list[tuple[Segment, TestSet]]:
    tests = {test.name: test for test in stream.tests}
    return [(segment, tests[segment.name]) for segment in stream.segments]


def _collection(name: str, segment: Segment, test: TestSet) -> Collection:
    rows = segment.examples.span(0, len(segment.examples))
    texts = [f"{row['speaker']}: {row['text']}" if "speaker" in row else row["text"] for row in unpack(rows.x)]
    places = {number: place for place, number in enumerate(rows.ids.tolist())}
    questions = [
        (row["question"], frozenset(places[number] for number in numbers if number in places))
        for row, numbers in zip(unpack(test.x), test.y.tolist(), strict=True)
    ]
    return Collection(name, tuple(texts), tuple(questions))


def _joined(stream: Stream) -> Collection:
    """All experiences as one collection, with the questions on the whole."""
    whole = Segment(Concatenated([segment.examples for segment in stream.segments]))
    return _collection(stream.name, whole, stream.tests[-1])


def half(question: str) -> int:
    """Which half a question is in: 0 is searched on, 1 is reported."""
    return hashlib.sha256(question.encode()).digest()[0] % 2


def part(question: str, parts: int) -> int:
    """Which of so many parts of its half a question is in."""
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[1:5], "big") % parts


@functools.cache
def token_vectors(name: str) -> list[NDArray[np.float16]]:
    """The token vectors of a collection's passages, as float16; kept on disk, since both sides read them."""
    import torch

    from remanence.store.encode.tokens import MiniLMTokens

    texts = next(known.passages for known in collections() if known.name == name)
    key = hashlib.sha256("\x1f".join([MiniLMTokens.name, *texts]).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    kept = decoded_cache.recall(f"tokens-{key}")
    if kept is None:
        vectors = [found.astype(np.float16) for found in MiniLMTokens().encode(texts)]
        lengths = torch.tensor([len(found) for found in vectors])
        kept = {"vectors": torch.from_numpy(np.concatenate(vectors)), "lengths": lengths}
        decoded_cache.keep(f"tokens-{key}", kept)
    return np.split(kept["vectors"].numpy(), np.cumsum(kept["lengths"].numpy())[:-1])


def ndcg(ranked: list[int], relevant: frozenset[int], k: int = 10) -> float:
    """The normalised discounted cumulative gain of the first k, with gains of 0 and 1.

    >>> round(ndcg([3, 1, 2], frozenset({3, 2}), 3), 3)
    0.92
    """
    gain = sum(1 / np.log2(place + 2) for place, row in enumerate(ranked[:k]) if row in relevant)
    return float(gain / sum(1 / np.log2(place + 2) for place in range(min(k, len(relevant)))))


def recall(ranked: list[int], relevant: frozenset[int], k: int) -> float:
    """The share of the relevant that is among the first k."""
    return len(relevant.intersection(ranked[:k])) / len(relevant)
