"""What a cache holds as a whole: its layers, the rows of its batch, what they weigh, how it comes back."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from remanence.context.caches.layer_budget import LayerBudget
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Policy
from remanence.context.caches.row_positions import RowPositions
from remanence.context.caches.supported import Shape
from remanence.errors import UsageError
from remanence.state import write_state


class CacheContents:
    """What a cache holds of all layers, without how a model comes to it.

    Parameters
    ----------
    policy:
        What is kept.
    shape:
        Of the model.
    budget:
        Bytes of all rows and layers together, or None.
    tokens:
        Entries of a layer (on average, where the policy gives layers different shares), or None for no limit.
    slack:
        How many entries are let go at once when a layer is full; by default one in 32 of its capacity.
    name, settings:
        By which it can be made again.
    """

    def __init__(
        self,
        policy: Policy,
        shape: Shape,
        *,
        budget: int | None,
        tokens: int | None,
        slack: int | None = None,
        name: str = "",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.policy, self.shape = policy, shape
        self.name, self.settings = name, dict(settings or {})
        self.rows = RowPositions()
        closed = policy.positions == "closed"
        if closed and not shape.movable and (budget is not None or tokens is not None):
            raise UsageError(
                f"the policy {self.told} closes gaps between positions, and this model's keys cannot be moved: choose "
                "positions='original' where the policy has it, or a model with plain rotary positions"
            )
        self.held = [
            LayerCache(layer, policy.entry_stats, rotary if closed else None, policy.key_compression)
            for layer, rotary in enumerate(shape.rotary)
        ]
        self.layer_budget = LayerBudget(policy, shape, self.held, budget=budget, tokens=tokens, slack=slack)

    @property
    def told(self) -> str:
        """The policy's name in messages."""
        return self.name or type(self.policy).__name__

    # What it costs and what it saw

    @property
    def seen(self) -> int:
        """How many tokens were read."""
        return self.rows.seen

    @property
    def budget(self) -> int | None:
        """The most bytes that it holds after any call, or None."""
        return self.layer_budget.budget

    @property
    def nbytes(self) -> int:
        """Bytes of every tensor held."""
        own = [*self.policy.tensors().values(), *([self.rows.next] if self.rows.next is not None else [])]
        return sum(held.nbytes for held in self.held) + sum(t.untyped_storage().nbytes() for t in own)

    @property
    def counts(self) -> list[int]:
        """Entries of each layer."""
        return [held.count for held in self.held]

    @property
    def oldest(self) -> int:
        """The number of the oldest token of which any layer holds an entry."""
        found = [int(held.index[held.valid].min()) for held in self.held if not held.empty and bool(held.valid.any())]
        return min(found, default=self.seen)

    # What is done to it as a whole

    def trim(self) -> None:
        """Give back unused room, which would be filled by what comes next."""
        for held in self.held:
            held.trim(0)

    def drop(self, first: int, end: int) -> int:
        """Forget the tokens from `first` up to `end`: their entries become padding; how many entries that were."""
        return sum(held.drop(first, end) for held in self.held)

    def reset(self) -> None:
        """Forget everything."""
        for held in self.held:
            held.clear()
        self.rows.clear()
        self.layer_budget.total = 0
        self.policy.clear()

    # What generation asks of a cache

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """The batch becomes these rows of itself; where they are more, the budget holds fewer entries of each."""
        rows = self.rows.next
        if rows is None:
            return
        changed = len(beam_idx) != len(rows)
        if changed:
            self.layer_budget.recount(len(beam_idx))
        for held in self.held:
            held.reorder(beam_idx)
        self.rows.next = rows.index_select(0, beam_idx.to(rows.device))
        self.policy.reorder(beam_idx)
        if changed:
            self.layer_budget.evict(self.held)

    batch_select_indices = reorder_cache

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row comes several times in a row."""
        if self.rows.next is not None:
            self.reorder_cache(torch.arange(len(self.rows.next)).repeat_interleave(repeats))

    # After a restart

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cache as one safetensors file, whole or not at all."""
        write_state(path, *self.state())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors without unused room, and a structure for JSON, from which `load_state` goes on."""
        tensors = {f"{held.layer}.{name}": t for held in self.held for name, t in held.state().items()}
        tensors |= {f"policy.{name}": t for name, t in self.policy.tensors().items()}
        if self.rows.next is not None:
            tensors["base"] = self.rows.next
        structure = {
            "cache": self.name,
            "settings": self.settings,
            "budget": self.layer_budget.budget,
            "tokens": self.layer_budget.tokens,
            "slack": self.layer_budget.slack,
            "model": self.shape.fingerprint,
            "dtype": str(self.shape.dtype),
            "seen": self.seen,
            "total": self.layer_budget.total,
            "padded_left": self.rows.padded_left,
            "weights": list(self.layer_budget.weights),
            "capacities": [held.capacity for held in self.held],
            "policy": self.policy.structure(),
        }
        return tensors, structure

    def load_state(self, tensors: dict[str, Tensor], structure: dict[str, Any], device: torch.device) -> None:
        """Go on from what `save` wrote."""
        whole, compressed = structure["weights"]
        self.layer_budget.weights = (whole, compressed)
        for held in self.held:
            prefix = f"{held.layer}."
            held.load_state({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, device)
            self.layer_budget.assign(held, structure["capacities"][held.layer])
        self.policy.set_tensors(
            {n.removeprefix("policy."): t.to(device) for n, t in tensors.items() if n.startswith("policy.")}
        )
        self.policy.set_structure(structure["policy"])
        self.rows.next = tensors["base"].to(device) if "base" in tensors else None
        self.rows.seen, self.layer_budget.total = structure["seen"], structure["total"]
        self.rows.padded_left = structure["padded_left"]
