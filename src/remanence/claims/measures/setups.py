"""Set-ups that claims about learners share: one stream and one way of training, so that a baseline is run once for all."""

from __future__ import annotations

from typing import Any

SPLIT = ["split", {"experiences": 5, "order": "shuffled"}]
SPLIT_MNIST: dict[str, Any] = {"source": "mnist", "scenarios": [SPLIT]}
SPLIT_CIFAR10: dict[str, Any] = {"source": "cifar10", "scenarios": [SPLIT]}
SPLIT_CLINC150: dict[str, Any] = {
    "source": "clinc150",
    "scenarios": [["split", {"experiences": 15, "order": "shuffled"}]],
}
PERMUTED_MNIST: dict[str, Any] = {"source": "mnist", "scenarios": [["permute", {"experiences": 10}]]}
MULTI_HOP: dict[str, Any] = {"source": "musique", "scenarios": [["fold", {"folds": 5}]]}


def one_pass(model: str, limit: int) -> dict[str, Any]:
    """Each example once in batches of 10, so many of each experience.

    >>> one_pass("linear", 500)
    {'model': 'linear', 'batch_size': 10, 'epochs': 1, 'limit': 500}
    """
    return {"model": model, "batch_size": 10, "epochs": 1, "limit": limit}


MLP, CNN, LINEAR = "mlp:100,100", "cnn:16", "linear"
"""What learns: two hidden layers on MNIST, a small convolutional network on CIFAR-10, a linear layer on sentence vectors."""

EWC_GRID: dict[str, list[Any]] = {"lr": [0.03, 0.1], "strength": [1.0, 3.0]}
"""Of elastic weight consolidation on permuted digits."""

EPISODIC: dict[str, Any] = {
    "stream": PERMUTED_MNIST,
    "training": one_pass(MLP, 1000),
    "equal": "passes over the stream and updates; the memory holds 500 rows (0.4 MB), the importances and anchors of EWC "
    "7 MB; what is computed on remembered rows at each step is on top, as in the paper",
}
"""What GEM and A-GEM are set beside EWC on."""

WALK: dict[str, Any] = {
    "baseline": "rag",
    "says": "A walk over the graph of facts and passages finds more of what a question of several steps needs than vectors do.",
    "stream": MULTI_HOP,
    "equal": "the same passages, encoder and number of passages returned; the graph and its vectors are on top, and derived",
}
"""What HippoRAG 2 is set beside retrieval on, whoever reads the facts."""
