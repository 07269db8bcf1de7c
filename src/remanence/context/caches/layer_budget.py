"""How many entries a cache may hold: bytes counted out among what a policy keeps, and entries among layers."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Policy
from remanence.context.caches.supported import Shape
from remanence.errors import BudgetError

_UNLIMITED = 1 << 40


class LayerBudget:
    """The entries that a budget stands for.

    Parameters
    ----------
    policy, shape:
        Of the cache and of the model.
    budget, tokens:
        Bytes of all rows and layers, or entries of a layer, or neither.

    Attributes
    ----------
    total:
        Entries of all layers of a row together; 0 before they were counted, -1 without a limit.
    weights:
        Bytes of an entry of a row in a layer, with a whole key and with a compressed one.
    """

    def __init__(self, policy: Policy, shape: Shape, *, budget: int | None, tokens: int | None) -> None:
        self.policy, self.shape, self.budget, self.tokens = policy, shape, budget, tokens
        self.total, self.weights = 0, (1, 1)

    @property
    def _never_compressed(self) -> int:
        return self.policy.key_compression.whole if self.policy.key_compression is not None else 0

    def count(self, keys: Tensor, values: Tensor, *, moved: bool) -> None:
        """Count the entries, once the batch is known: keys and values (batch, heads, n, features) as they come.

        Raises
        ------
        BudgetError
            If they are fewer than the policy never lets go.
        """
        turned = moved and keys.dtype in (torch.float16, torch.bfloat16)
        whole = compressed = self.policy.bytes_per_entry(keys, values, turned=turned)
        if self.policy.key_compression is not None:
            saved = keys.shape[3] - self.policy.key_compression.width(keys.shape[3])
            compressed -= keys.shape[1] * saved * keys.element_size()
        self.weights = (whole, compressed)
        if self.budget is None:
            self.total = self.shape.layers * self.tokens if self.tokens is not None else -1
            return
        rows = keys.shape[0]
        own = sum(t.untyped_storage().nbytes() for t in self.policy.tensors().values())
        # Of each row: the position of its next token, what the policy holds besides, and keys that are never compressed
        besides = 8 + -(-own // rows) + self.policy.bytes_besides(self.shape)
        besides += self.shape.layers * self._never_compressed * (whole - compressed)
        self.total = max(0, self.budget // rows - besides) // compressed
        least = self.shape.layers * self.policy.smallest()
        if self.total < least:
            raise BudgetError(
                f"a budget of {self.budget} bytes holds {self.total // self.shape.layers} entries of "
                f"{compressed} bytes in each layer for each of {rows} sequence(s), fewer than the "
                f"{self.policy.smallest()} that the policy never lets go: give at least "
                f"{rows * (least * compressed + besides)} bytes"
            )

    @property
    def each(self) -> int:
        """Entries of a layer where all have the same share."""
        return self.total // self.shape.layers if self.total > 0 else _UNLIMITED

    def assign(self, held: LayerCache, capacity: int) -> None:
        """So many entries a layer may hold, and so many as weigh no more while their keys are whole."""
        whole, compressed = self.weights
        held.capacity = capacity
        held.whole = (self._never_compressed * (whole - compressed) + capacity * compressed) // whole
