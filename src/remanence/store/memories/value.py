"""The value of a case for a task: a network of one hidden layer over the pair of their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_FIRST, _BIAS = 10.0, -5.0
_BETAS, _TINY = (0.9, 0.999), 1e-8


class ValueNetwork:
    """Q(s, c) = sigmoid(w·(s∘c) + v·relu(A f + a) + b) with f = [s, c, s∘c, |s - c|]; ∘ multiplies entry by entry.

    It begins as w = 10, v = 0: the order of the cosine. Numpy in place of torch, since a store imports none; its
    gradients are tested against differences.

    Parameters
    ----------
    hidden:
        Units.
    lr:
        Learning rate of Adam.
    """

    def __init__(self, hidden: int, lr: float) -> None:
        self.hidden, self.lr, self.updates = hidden, lr, 0
        self.weights: dict[str, Array] = {}
        self._moments: dict[str, Array] = {}

    def _begin(self, dimension: int) -> None:
        draw = np.random.default_rng(0)
        scale = (2 / (4 * dimension)) ** 0.5
        self.weights = {
            "w": np.full(dimension, _FIRST, dtype=np.float32),
            "A": (draw.standard_normal((self.hidden, 4 * dimension)) * scale).astype(np.float32),
            "a": np.zeros(self.hidden, dtype=np.float32),
            "v": np.zeros(self.hidden, dtype=np.float32),
            "b": np.full(1, _BIAS, dtype=np.float32),
        }
        self._moments = {
            f"{m}.{name}": np.zeros_like(x) for m in ("first", "second") for name, x in self.weights.items()
        }

    def values(self, task: Array, cases: Array) -> Array:
        """The values (n,) of cases (n, d) for one task (d,)."""
        if not self.weights:  # asking changes nothing: the network begins when it first learns
            return _sigmoid(_FIRST * (cases @ task) + _BIAS)
        return _sigmoid(self._forward(np.broadcast_to(task, cases.shape), cases)[0])

    def _forward(self, tasks: Array, cases: Array) -> tuple[Array, Array, Array, Array]:
        product = tasks * cases
        pairs = np.concatenate([tasks, cases, product, np.abs(tasks - cases)], axis=1)
        units = np.maximum(pairs @ self.weights["A"].T + self.weights["a"], 0)
        return product @ self.weights["w"] + units @ self.weights["v"] + self.weights["b"], product, pairs, units

    def gradients(self, tasks: Array, cases: Array, labels: Array) -> tuple[float, dict[str, Array]]:
        """The mean cross entropy of labels (n,) and its gradients."""
        if not self.weights:
            self._begin(tasks.shape[-1])
        logits, product, pairs, units = self._forward(tasks, cases)
        loss = float(np.mean(np.logaddexp(0, logits) - labels * logits))
        error = (_sigmoid(logits) - labels) / len(labels)
        inner = np.outer(error, self.weights["v"]) * (units > 0)
        found = {
            "w": error @ product,
            "A": inner.T @ pairs,
            "a": inner.sum(0),
            "v": error @ units,
            "b": error.sum(keepdims=True),
        }
        return loss, {name: gradient.astype(np.float32) for name, gradient in found.items()}

    def learn(self, tasks: Array, cases: Array, labels: Array) -> float:
        """One step of Adam; the loss before it."""
        loss, gradients = self.gradients(tasks, cases, labels)
        self.updates += 1
        for name, gradient in gradients.items():
            first, second = self._moments[f"first.{name}"], self._moments[f"second.{name}"]
            first += (1 - _BETAS[0]) * (gradient - first)
            second += (1 - _BETAS[1]) * (gradient**2 - second)
            step = first / (1 - _BETAS[0] ** self.updates)
            spread = np.sqrt(second / (1 - _BETAS[1] ** self.updates))
            self.weights[name] -= (self.lr * step / (spread + _TINY)).astype(np.float32)
        return loss

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and moments by name."""
        return {**self.weights, **self._moments}

    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        self.weights = {name: array for name, array in arrays.items() if "." not in name}
        self._moments = {name: array for name, array in arrays.items() if "." in name}


def _sigmoid(x: Array) -> Array:
    found: Array = (0.5 * (1 + np.tanh(x / 2))).astype(np.float32)  # the same, without overflow
    return found
