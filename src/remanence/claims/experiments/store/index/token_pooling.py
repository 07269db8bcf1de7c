"""The claim of token pooling."""

from __future__ import annotations

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.passages import collections, half, ndcg, part, recall, token_vectors
from remanence.store.index.token_pooling import TokenPooling, Vectors

PARTS = 5


class Dropping(TokenPooling):
    """As many of a document's vectors as pooling keeps, chosen at random."""

    generator: np.random.Generator

    def reduce(self, vectors: Vectors) -> Vectors:
        first, rest = vectors[: self.protected], vectors[self.protected :]
        wanted = max(1, len(rest) // self.factor)
        if wanted >= len(rest):
            return vectors
        kept: NDArray[np.int64] = np.sort(self.generator.choice(len(rest), wanted, replace=False))
        return np.concatenate([first, rest[kept]])


def measure(side: str, seed: int, held_out: bool, *, factor: int = 4, protected: int = 0) -> Measured:
    """Index all passages and ask one fifth of the questions of one half, another fifth for each seed."""
    from remanence.store.encode.tokens import MiniLMTokens

    scores: dict[str, list[float]] = {}
    held = kept = 0
    for known in collections():
        asked = [
            (text, relevant)
            for text, relevant in known.questions
            if half(text) == int(not held_out) and part(text, PARTS) == seed % PARTS
        ]
        index = TokenPooling(factor=factor, protected=protected)
        if side.startswith("token-dropping"):
            index = Dropping(factor=factor, protected=protected)
            index.generator = np.random.default_rng([seed, factor, len(known.passages)])
        vectors = token_vectors(known.name)
        index.add(range(len(vectors)), [v.astype(np.float32) for v in vectors])
        held, kept = held + index.nbytes, kept + index.vectors
        source = known.name.partition("/")[0]
        for query, (_, relevant) in zip(MiniLMTokens().encode([text for text, _ in asked]), asked, strict=True):
            ranked = [row for row, _ in index.search(query, k=10)]
            found = {"nDCG@10": ndcg(ranked, relevant), "recall@5": recall(ranked, relevant, 5)}
            for name, value in found.items():
                scores.setdefault(name, []).append(value)
                scores.setdefault(f"{name} {source}", []).append(value)
    return Measured({name: fmean(values) for name, values in scores.items()}, {"vectors": held}, {"vectors": kept})


_GRID = {"protected": [0, 1]}

CLAIM = Experiment(
    system="token-pooling",
    baseline="token-dropping",
    says="Keeping the means of like token vectors, a quarter as many, finds better than dropping as many at random.",
    measure=measure,
    data="locomo and musique passages",
    metric="nDCG@10",
    settings={
        "token-pooling": {"factor": 4},
        "token-dropping": {"factor": 4},
        "unpooled": {"factor": 1},
        **{
            f"{side}#{factor}": {"factor": factor}
            for side in ("token-pooling", "token-dropping")
            for factor in (2, 3, 6)
        },
        "one-vector": {"factor": 1_000_000},
    },
    search={"token-pooling": _GRID, "token-dropping": _GRID},
    beside=(
        "unpooled",
        "token-pooling#2",
        "token-dropping#2",
        "token-pooling#3",
        "token-dropping#3",
        "token-pooling#6",
        "token-dropping#6",
        "one-vector",
    ),
    how="the 3,435 turns of six LoCoMo conversations, each searched alone, and 1,890 passages of MuSiQue; token "
    "vectors of MiniLM, not trained for late interaction; settings chosen on one half of the questions, a fifth "
    "of the other half asked for each seed, which also draws what is dropped; nDCG@10 over all questions asked",
    equal="bytes: both keep as many float16 vectors of each document; queries are not pooled",
    reduced="a sentence encoder of 384 dimensions instead of ColBERT's 128, exact search instead of HNSW and PLAID, two "
    "small collections instead of BEIR and LoTTE",
)
