"""An upgrade of the encoder measured: an old head that knew half of the classes, a new one that knows all."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence.claims.engine.experiment import Measured
from remanence.randomness import derive, generator
from remanence.store.encode.compatible.head import EmbeddingHead

OLD_DIMENSION, OLD_HIDDEN, NEW_HIDDEN = 64, 64, 256
EPOCHS, BATCH = 40, 256
HELD_OUT = 5  # one in so many of the training rows
EXTRA = 16
RATES = [3e-3, 1e-2]
WEIGHTS = [1.0, 10.0]


@dataclass(frozen=True)
class Upgrade:
    """Rows to train on, their old vectors, and rows that are both gallery and queries, with theirs."""

    features: Tensor
    labels: Tensor
    old: Tensor
    asked: Tensor
    asked_labels: Tensor
    asked_old: Tensor


@functools.lru_cache(maxsize=2)
def upgrade(source: str, seed: int, held_out: bool) -> Upgrade:
    """Which half of the classes the old head knew, and its weights, follow from the seed.

    With `held_out` a fifth of the training rows is kept from both heads and asked for; otherwise the test rows are.
    """
    from remanence.streams.sources import whole

    stream = whole(source)
    examples, test = stream.segments[0].examples, stream.tests[0]
    rows = examples.span(0, len(examples))
    x, y, asked, asked_labels = _numbers(rows.x), rows.y, _numbers(test.x), test.y
    if held_out:
        chosen = torch.zeros(len(y), dtype=torch.bool)
        chosen[torch.randperm(len(y), generator=generator(seed, "held out"))[: len(y) // HELD_OUT]] = True
        x, y, asked, asked_labels = x[~chosen], y[~chosen], x[chosen], y[chosen]
    classes = torch.unique(y)
    order = torch.randperm(len(classes), generator=generator(seed, "old classes"))
    known = torch.isin(y, classes[order[: len(classes) // 2]])
    head = EmbeddingHead(
        x.shape[1], OLD_DIMENSION, hidden=OLD_HIDDEN, epochs=EPOCHS, batch_size=BATCH, lr=3e-3, seed=derive(seed, "old")
    ).fit(x[known], y[known])
    with torch.no_grad():
        return Upgrade(x, y, head(x), asked, asked_labels, head(asked))


def _numbers(x: Tensor) -> Tensor:
    """Images as rows of pixels between 0 and 1, vectors as they are."""
    return x.flatten(1).float() / 255 if x.dtype == torch.uint8 else x


@torch.no_grad()
def retrieval(queries: Tensor, gallery: Tensor, labels: Tensor) -> tuple[float, float]:
    """CMC-1 and mean average precision where each row asks for the others of its class.

    Shapes
    ------
    queries and gallery (n, d) of the same n rows, labels (n,). A row is never its own answer.

    Example
    -------
    >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(rows, rows, torch.tensor([0, 0, 1, 1]))
    (1.0, 1.0)
    """
    first, precision = 0.0, 0.0
    for start in range(0, len(queries), 512):
        scores = queries[start : start + 512] @ gallery.T
        here = torch.arange(len(scores))
        scores[here, start + here] = -math.inf
        ranked = scores.argsort(dim=1, descending=True, stable=True)[:, :-1]
        hits = (labels[ranked] == labels[start : start + 512, None]).double()
        first += float(hits[:, 0].sum())
        places = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64)
        precisions = (hits * hits.cumsum(1) / places).sum(1) / hits.sum(1).clamp_min(1)
        precision += float(precisions.sum())
    return first / len(queries), precision / len(queries)


def figures(head: EmbeddingHead, given: Upgrade) -> dict[str, float]:
    """Cross-test (new queries, old gallery), self-test (new, new) and the old encoder alone."""
    with torch.no_grad():
        vectors = head(given.asked)
        cross = retrieval(head.to_old(vectors), given.asked_old, given.asked_labels)
        own = retrieval(vectors, vectors, given.asked_labels)
        before = retrieval(given.asked_old, given.asked_old, given.asked_labels)
    return {
        "mean CMC-1": (cross[0] + own[0]) / 2,
        "cross CMC-1": cross[0],
        "self CMC-1": own[0],
        "old CMC-1": before[0],
        "cross mAP": cross[1],
        "self mAP": own[1],
        "old mAP": before[1],
    }


def measure(side: str, seed: int, held_out: bool, *, lr: float = 3e-3, **settings: Any) -> Measured:
    """Train one new head on all classes and search with it the gallery of the old one and its own.

    A label names a kind of head; with ``#narrow`` its vectors have as many numbers as the old ones.
    """
    from remanence.store.encode.compatible.bct import BCT
    from remanence.store.encode.compatible.bt2 import BT2
    from remanence.store.encode.compatible.oca import OCA

    name, _, other = side.partition("#")
    given = upgrade("omniglot", seed, held_out)
    kinds: dict[str, type[EmbeddingHead]] = {"bct": BCT, "bt2": BT2, "oca": OCA, "independent": EmbeddingHead}
    kind = kinds[name]
    size = {"extra": EXTRA} if kind is BT2 else {"dimension": OLD_DIMENSION + (0 if other == "narrow" else EXTRA)}
    shared: dict[str, Any] = {"hidden": NEW_HIDDEN, "epochs": EPOCHS, "batch_size": BATCH, "seed": derive(seed, "new")}
    head = kind(given.features.shape[1], OLD_DIMENSION, lr=lr, **shared, **size, **settings)
    head.fit(given.features, given.labels, None if kind is EmbeddingHead else given.old)
    held = {"vectors": 4 * head.dimension * len(given.asked)}
    return Measured(figures(head, given), held, {"updates": head.updates})


SHARED: dict[str, Any] = {
    "baseline": "bct",
    "data": "omniglot, 68 to 136 classes",
    "metric": "mean CMC-1",
    "settings": {"bct#narrow": {"influence": 1.0}},
    "beside": ("bct#narrow", "independent"),
    "how": "pixels of Omniglot's characters; the old network (64 numbers) knew 68 of the 136, the new one learns all; the "
    "680 test drawings are gallery and queries at once, a drawing never its own answer; mean CMC-1 is the mean of new "
    "queries over the old gallery and of new queries over their own; settings chosen on a fifth of the training "
    "drawings, which neither network saw",
}
"""What claims about new heads say alike."""
