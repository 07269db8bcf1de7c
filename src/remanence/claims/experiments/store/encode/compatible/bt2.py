"""The claim of backward-compatible training with basis transformations."""

from __future__ import annotations

from typing import Any

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.claims.measures.upgrades import BATCH, EPOCHS, NEW_HIDDEN, OLD_DIMENSION, figures, upgrade
from remanence.randomness import derive

EXTRA = 16
RATES = [3e-3, 1e-2]
WEIGHTS = [1.0, 10.0]


def measure(side: str, seed: int, held_out: bool, *, lr: float = 3e-3, **settings: Any) -> Measured:
    """Train one new head on all classes and search with it the gallery of the old one and its own.

    A label names a kind of head; with ``#narrow`` its vectors have as many numbers as the old ones.
    """
    from remanence.store.encode.compatible.bct import BCT
    from remanence.store.encode.compatible.bt2 import BT2
    from remanence.store.encode.compatible.head import EmbeddingHead
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


CLAIM = Experiment(
    system="bt2",
    baseline="bct",
    says="A few numbers more per vector, added by orthonormal transformations, make new vectors both compatible with "
    "the old and good among themselves, where backward-compatible training trades one for the other.",
    measure=measure,
    data="omniglot, 68 to 136 classes",
    metric="mean CMC-1",
    settings={"bct#narrow": {"influence": 1.0}},
    search={"bt2": {"lr": RATES, "influence": WEIGHTS}, "bct": {"lr": RATES, "influence": WEIGHTS}},
    beside=("bct#narrow", "independent"),
    how="pixels of Omniglot's characters; the old network (64 numbers) knew 68 of the 136, the new one learns all; the "
    "680 test drawings are gallery and queries at once, a drawing never its own answer; mean CMC-1 is the mean of new "
    "queries over the old gallery and of new queries over their own; settings chosen on a fifth of the training "
    "drawings, which neither network saw",
    equal="bytes per new vector (80 numbers), and epochs; BT² trains a model alone first, as the paper has it, "
    "which doubles its updates; bct#narrow has 64 numbers, as in the paper",
    reduced="two layers on pixels instead of a residual network, Omniglot with 15 drawings per class instead of "
    "CIFAR-100 or ImageNet, 40 epochs for 100, 16 extra numbers beside 64 instead of 32 beside 128",
)
