"""How many entries a cache may hold: bytes counted out among what a policy keeps, and entries among layers."""

from __future__ import annotations

from collections.abc import Sequence

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
    held:
        The layers that are kept to it.
    budget, tokens:
        Bytes of all rows and layers, or entries of a layer, or neither.
    slack:
        How many entries are let go at once when a layer is full; None for one in 32 of its capacity.

    Attributes
    ----------
    total:
        Entries of all layers of a row together; 0 before they were counted, -1 without a limit.
    weights:
        Bytes of an entry of a row in a layer, with a whole key and with a compressed one.
    """

    def __init__(
        self,
        policy: Policy,
        shape: Shape,
        held: Sequence[LayerCache],
        *,
        budget: int | None,
        tokens: int | None,
        slack: int | None = None,
    ) -> None:
        self.policy, self.shape, self.held = policy, shape, held
        self.budget, self.tokens, self.slack = budget, tokens, slack
        self.total, self.weights = 0, (1, 1)

    @property
    def _never_compressed(self) -> int:
        return self.policy.key_compression.whole if self.policy.key_compression is not None else 0

    def plan(self, keys: Tensor, values: Tensor) -> None:
        """Count the entries, once the batch is known: keys and values (batch, heads, n, features) as they come.

        Raises
        ------
        BudgetError
            If they are fewer than the policy never lets go.
        """
        if self.total:
            return
        self._count(keys, values)
        for held in self.held:
            self.assign(held, self.each)

    def _count(self, keys: Tensor, values: Tensor) -> None:
        moved = any(held.rotary is not None for held in self.held)
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

    def check(self) -> None:
        """Raise a `BudgetError` if the budget cannot hold even one sequence."""
        if self.budget is not None:
            self._plan_rows(1)
            self.total = 0

    def recount(self, rows: int) -> None:
        """Count the entries anew, for so many rows.

        Raises
        ------
        BudgetError
            If they are fewer than the policy never lets go; nothing has changed then.
        """
        before, self.total = self.total, 0
        try:
            self._plan_rows(rows)
        except BudgetError:
            self.total = before
            raise

    def _plan_rows(self, rows: int) -> None:
        like = torch.empty(rows, self.shape.heads, 0, self.shape.features, dtype=self.shape.dtype)
        self.plan(like, like)

    # Letting go

    def evict(self, layers: Sequence[LayerCache]) -> None:
        """Let go of what is beyond the capacity of these layers, so that one more token has room."""
        if self.total <= 0:
            return
        shares = self.policy.capacities(self.held, self.total)
        for held in layers:
            self.assign(held, shares[held.layer])
            if held.count >= held.capacity:
                least = min(self.policy.smallest() - 1, held.capacity - 1)
                self._shrink(held, max(least, held.capacity - self._slack(held.capacity)))
            held.compress()
            held.trim()

    def make_room(self, count: int) -> None:
        """Let go of what has no position before the tokens to come, if a budget allows more than the model has."""
        least = self.policy.smallest() - 1
        if self.total > 0 and type(self.policy).positioned is Policy.positioned and count >= least:
            for held in self.held:
                if held.count > count:
                    self._shrink(held, max(least, count - self._slack(count)))

    def _slack(self, capacity: int) -> int:
        """How many entries go at once."""
        return self.slack if self.slack is not None else max(1, capacity // 32)

    def _shrink(self, held: LayerCache, count: int) -> None:
        kept, gone = self.policy.choose(held, count)
        self.policy.merge(held, kept, gone)
        held.select(kept, close=self.policy.positioned(held) if self.policy.positions == "closed" else None)
