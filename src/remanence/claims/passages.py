"""Questions over passages that are read as token vectors: LoCoMo's turns and MuSiQue's paragraphs."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.streams import cache
from remanence.streams.reading import DATA, below_data

ADVERSARIAL = 5  # LoCoMo's category of questions that have no answer


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
    conversations = _json("locomo", "locomo6.json")
    return (*(_locomo(sample) for sample in conversations), _musique())


def _json(*parts: str) -> Any:
    path = below_data(*parts)
    if path is None:
        raise UsageError(f"there is no {'/'.join(parts)} below the folder named by {DATA}: set it to where the data is")
    return json.loads(path.read_text(encoding="utf-8"))


def _locomo(sample: dict[str, Any]) -> Collection:
    talk = sample["conversation"]
    sessions = sorted((key for key in talk if re.fullmatch(r"session_\d+", key)), key=lambda key: int(key[8:]))
    turns = [turn for key in sessions for turn in talk[key]]
    texts = [
        f"{turn['speaker']}: {turn['text']}" + (f" ({turn['blip_caption']})" if turn.get("blip_caption") else "")
        for turn in turns
    ]
    places = {turn["dia_id"]: place for place, turn in enumerate(turns)}
    questions = []
    for asked in sample["qa"]:
        named = re.findall(r"D\d+:\d+", " ".join(asked.get("evidence", [])))
        found = frozenset(places[name] for name in named if name in places)
        if found and asked["category"] != ADVERSARIAL:
            questions.append((asked["question"], found))
    return Collection(f"locomo/{sample['sample_id']}", tuple(texts), tuple(questions))


def _musique() -> Collection:
    corpus = _json("musique", "corpus.json")
    places = {(passage["title"], passage["text"]): place for place, passage in enumerate(corpus)}
    questions = []
    for asked in _json("musique", "questions50.json"):
        supporting = [(p["title"], p["paragraph_text"]) for p in asked["paragraphs"] if p["is_supporting"]]
        questions.append((asked["question"], frozenset(places[key] for key in supporting)))
    return Collection("musique", tuple(f"{p['title']}: {p['text']}" for p in corpus), tuple(questions))


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
    kept = cache.recall(f"tokens-{key}")
    if kept is None:
        vectors = [found.astype(np.float16) for found in MiniLMTokens().encode(texts)]
        lengths = torch.tensor([len(found) for found in vectors])
        kept = {"vectors": torch.from_numpy(np.concatenate(vectors)), "lengths": lengths}
        cache.keep(f"tokens-{key}", kept)
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
