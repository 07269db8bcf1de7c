"""The cache that a model is given as ``past_key_values``: it holds what a policy keeps, within its budget."""

from __future__ import annotations

import copy
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from remanence.context.caches import attention
from remanence.context.caches.attention import ForwardCall
from remanence.context.caches.layer_budget import LayerBudget
from remanence.context.caches.layer_cache import PAD, LayerCache
from remanence.context.caches.policy import Policy
from remanence.context.caches.supported import Shape
from remanence.errors import BudgetError, StateError, Unsupported, UsageError
from remanence.state import write_state


class PolicyCache:
    """A cache of bounded size for a Hugging Face causal language model.

    Made by `remanence.context.cache`, as a cache of transformers (see `hugging_face`). After every call of the model it holds no more than its budget; `nbytes` is
    what it holds, `get_seq_length()` what it has seen.

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
        self.budget, self.tokens, self.slack = budget, tokens, slack
        self.name, self.settings = name, dict(settings or {})
        closed = policy.positions == "closed"
        if closed and shape.rotary is None and (budget is not None or tokens is not None):
            raise UsageError(
                f"the policy {name or type(policy).__name__} closes gaps between positions, and this model's keys "
                "cannot be moved: choose positions='original' where the policy has it, or a model with plain rotary positions"
            )
        rotary = shape.rotary if closed else None
        self.held = [
            LayerCache(layer, policy.entry_stats, rotary, policy.key_compression) for layer in range(shape.layers)
        ]
        self.seen = 0
        self.base: Tensor | None = None
        """The position of the next token of each row, (batch,) int64; None before anything was read."""
        self.call: ForwardCall | None = None
        self.attached = False
        self._padded_left: bool | None = None
        self._layer_budget = LayerBudget(policy, shape, budget=budget, tokens=tokens)
        self._before: list[int] = []

    # What it costs and what it saw

    @property
    def nbytes(self) -> int:
        """Bytes of every tensor held."""
        own = [*self.policy.tensors().values(), *([self.base] if self.base is not None else [])]
        return sum(held.nbytes for held in self.held) + sum(t.untyped_storage().nbytes() for t in own)

    @property
    def counts(self) -> list[int]:
        """Entries of each layer."""
        return [held.count for held in self.held]

    def attach(self, model: Any) -> AbstractContextManager[None]:
        """A block in which the model hands this cache what its policy needs: queries, attention, logits, padding."""
        return attention.attach(self, model)

    # One call of the model, inside `attach`

    def enter(self, tokens: Tensor | None, shape: tuple[int, ...], mask: Tensor | None) -> Tensor:
        """A call begins: the positions of its new tokens, (batch, n)."""
        self.abandon()
        batch, new = shape
        if new == 0:
            raise UsageError(
                f"the model was given no token that is new: `generate` takes the whole text, and reads what comes "
                f"after the {self.seen} tokens that the cache has seen"
            )
        device = self.base.device if self.base is not None else (tokens.device if tokens is not None else None)
        valid = None
        if mask is not None:
            if mask.dim() != 2 or mask.shape[0] != batch or mask.shape[1] < new:
                raise UsageError(
                    f"the attention mask is {tuple(mask.shape)}, expected (batch, tokens): 1 for a token, 0 for padding"
                )
            valid = mask[:, -new:].bool()
            if bool(valid.all()):
                valid = None
            else:
                self._check_padding(valid)
        base = self._rows(batch, device)
        at = torch.ones(batch, new, dtype=torch.int64, device=device) if valid is None else valid.long()
        at = at.cumsum(1)
        limit = self.shape.positions
        if int((base + at[:, -1]).max()) > limit and self.policy.positions == "closed":
            self._make_room(limit - new)
            self._rebase()
            base = self._rows(batch, device)
        if int((base + at[:, -1]).max()) > limit:
            most = limit - int(base.max())
            raise UsageError(
                f"{new} tokens after {self.seen} go beyond the {limit} positions of the model: "
                + (f"read at most {most} at once" if most > 0 else "use a policy that closes gaps, or a shorter text")
            )
        positions = (base[:, None] + at - 1).clamp(min=0)
        first = valid is None and self.seen == 0
        self.call, self._before = ForwardCall(tokens, valid, new, positions, first), self.counts
        return positions

    def attend(self, layer: int, query: Tensor, scaling: float) -> tuple[Tensor, Tensor | None]:
        """What the new tokens read from a layer."""
        held, call = self.held[layer], self.call
        if call is None:
            raise StateError("no call of the model is under way: read inside `with cache.attach(model):`")
        seen = self.policy.visible(held, call, self.seen)
        output, weights = self.policy.attend(held, query, seen, scaling, call)
        if call.valid is not None:  # padding may have seen nothing, and NaN at it would reach others as 0 · NaN
            output = output.masked_fill(~call.valid.to(output.device)[:, None, :, None], 0.0)
        if self.policy.sees & {"attention", "queries"}:
            self.policy.on_attention(held, query, weights, call)
        return output, weights

    def leave(self, logits: Tensor) -> None:
        """A call has ended: what no longer fits is let go."""
        call = self.call
        if call is None or self.base is None:
            return
        self.call = None
        if "logits" in self.policy.sees:
            self.policy.on_logits(self.held, call.tokens, logits, call)
        self.base += call.length if call.valid is None else call.valid.sum(1)
        self.seen += call.length
        self.policy.on_forward_end(self.held, self.base, self.shape.positions)
        self._evict(self.held)

    def abandon(self) -> None:
        """A call broke off: its tokens are dropped."""
        if self.call is not None:
            for held, count in zip(self.held, self._before, strict=True):
                held.truncate(min(held.count, count))
        self.call = None

    # Taking in

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """New keys and values of a layer, as transformers hands them over; what attention is to see of it."""
        held, keys, values = self.held[layer_idx], key_states, value_states
        if not self.attached and self.policy.sees:
            raise UsageError(
                f"the policy {self.name or type(self.policy).__name__} needs the model's "
                f"{' and '.join(sorted(self.policy.sees))}: read inside `with cache.attach(model):`"
            )
        if not self.attached and type(self.policy).attend is not Policy.attend:
            raise UsageError(
                f"the policy {self.name or type(self.policy).__name__} has an attention of its own: read inside "
                "`with cache.attach(model):`"
            )
        if not self.attached and keys.shape[0] > 1:
            raise UsageError(
                f"{keys.shape[0]} sequences were read at once, some of which may be padded: read inside "
                "`with cache.attach(model):`, where the cache sees the padding"
            )
        if keys.dtype != self.shape.dtype and not held.empty and keys.dtype != held.keys.dtype:
            raise StateError(f"keys of {keys.dtype} came to a cache of {held.keys.dtype}: use one dtype throughout")
        call, new = self.call, keys.shape[2]
        if held.layer == 0:
            self._plan(keys, values)
        if call is None:
            return self._update_unattached(held, keys, values)
        index = torch.arange(self.seen, self.seen + new, dtype=torch.int32, device=keys.device).expand(
            keys.shape[0], -1
        )
        if call.valid is not None:
            index = index.masked_fill(~call.valid.to(keys.device), PAD)
        held.append(keys, values, index, padded=call.valid is not None)
        return keys, values  # `attend` reads from what is held

    def _update_unattached(self, held: LayerCache, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Outside `attach` there is no end of a call to wait for: what goes is let go while attention still sees it."""
        new = keys.shape[2]
        base = self._rows(keys.shape[0], keys.device)
        if held.layer == 0:
            if (
                int(base[0]) != self.seen
            ):  # positions were counted anew inside `attach`, and here they follow what was seen
                for one in self.held:
                    if not one.empty:
                        one.move(torch.as_tensor(self.seen - int(base[0]), device=keys.device))
                base.fill_(self.seen)
            self.seen += new
            base += new
        start = self.seen - new
        index = torch.arange(start, start + new, dtype=torch.int32, device=keys.device).expand(1, -1)
        held.append(keys, values, index)
        read = held.keys, held.values
        self._evict([held])
        return read

    def _rows(self, batch: int, device: torch.device | None) -> Tensor:
        if self.base is None:
            self.base = torch.zeros(batch, dtype=torch.int64, device=device)
        if len(self.base) != batch:
            raise UsageError(
                f"{batch} sequences came to a cache that holds {len(self.base)}: make a cache for each batch"
            )
        return self.base

    def _check_padding(self, valid: Tensor) -> None:
        first, last = valid[:, 0], valid[:, -1]
        inner = (valid[:, 1:].int() - valid[:, :-1].int()).abs().sum(1) > 1
        left, right = bool((~first & last).any()), bool((first & ~last).any())
        if (
            bool(inner.any())
            or (left and right)
            or (right and self._padded_left)
            or (left and self._padded_left is False)
        ):
            raise UsageError("the batch is padded on the left and on the right: pad all its rows on one side")
        if left or right:
            self._padded_left = left

    def _make_room(self, count: int) -> None:
        """Let go of what has no position before the tokens to come, if a budget allows more than the model has."""
        least = self.policy.smallest() - 1
        if self._layer_budget.total > 0 and type(self.policy).positioned is Policy.positioned and count >= least:
            for held in self.held:
                if held.count > count:
                    self._shrink(held, max(least, count - self._slack(count)))

    def _rebase(self) -> None:
        """Count positions anew, so that the next token comes right after what is held."""
        filled = [self.policy.positioned(held).sum(2).amax(1) for held in self.held if not held.empty]
        if self.base is None or not filled:
            return
        by = torch.stack([longest.to(self.base.device) for longest in filled]).amax(0) - self.base
        for held in self.held:
            if not held.empty:
                held.move(by.view(-1, 1, 1).to(held.index.device) * self.policy.positioned(held))
        self.base += by

    # Keeping to the budget

    def check_budget(self) -> None:
        """Raise a `BudgetError` if the budget cannot hold even one sequence."""
        if self.budget is not None:
            like = torch.empty(1, self.shape.heads, 0, self.shape.features, dtype=self.shape.dtype)
            self._plan(like, like)
            self._layer_budget.total = 0

    def _plan(self, keys: Tensor, values: Tensor) -> None:
        """How many entries all layers of a row may hold together."""
        if self._layer_budget.total:
            return
        self._layer_budget.count(keys, values, moved=self.held[0].rotary is not None)
        for held in self.held:
            self._layer_budget.assign(held, self._layer_budget.each)

    def _evict(self, layers: list[LayerCache]) -> None:
        """Let go of what is beyond the capacity, so that one more token has room."""
        if self._layer_budget.total <= 0:
            return
        shares = self.policy.capacities(self.held, self._layer_budget.total)
        for held in layers:
            self._layer_budget.assign(held, shares[held.layer])
            if held.count >= held.capacity:
                least = min(self.policy.smallest() - 1, held.capacity - 1)
                self._shrink(held, max(least, held.capacity - self._slack(held.capacity)))
            held.compress()
            held.trim()

    def _slack(self, capacity: int) -> int:
        """How many entries go at once."""
        return self.slack if self.slack is not None else max(1, capacity // 32)

    def _shrink(self, held: LayerCache, count: int) -> None:
        kept, gone = self.policy.choose(held, count)
        self.policy.merge(held, kept, gone)
        held.select(kept, close=self.policy.positioned(held) if self.policy.positions == "closed" else None)

    def trim(self) -> None:
        """Give back unused room, which would be filled by what comes next."""
        for held in self.held:
            held.trim(0)

    def drop(self, first: int, end: int) -> int:
        """Forget the tokens from `first` up to `end`: their entries become padding; how many entries that were."""
        return sum(held.drop(first, end) for held in self.held)

    @property
    def oldest(self) -> int:
        """The number of the oldest token of which any layer holds an entry."""
        found = [int(held.index[held.valid].min()) for held in self.held if not held.empty and bool(held.valid.any())]
        return min(found, default=self.seen)

    # What generation asks of a cache

    def reset(self) -> None:
        """Forget everything."""
        for held in self.held:
            held.clear()
        self.seen, self.base, self._layer_budget.total, self._padded_left = 0, None, 0, None
        self.policy.clear()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """The batch becomes these rows of itself; where they are more, the budget holds fewer entries of each."""
        if self.base is None:
            return
        changed = len(beam_idx) != len(self.base)
        if changed:
            self._recount(len(beam_idx))
        for held in self.held:
            held.reorder(beam_idx)
        self.base = self.base.index_select(0, beam_idx.to(self.base.device))
        self.policy.reorder(beam_idx)
        if changed:
            self._evict(self.held)

    def _recount(self, rows: int) -> None:
        before = self._layer_budget.total
        like = torch.empty(rows, self.shape.heads, 0, self.shape.features, dtype=self.shape.dtype)
        self._layer_budget.total = 0
        try:
            self._plan(like, like)
        except BudgetError:
            self._layer_budget.total = before
            raise

    batch_select_indices = reorder_cache

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row comes several times in a row."""
        if self.base is not None:
            self.reorder_cache(torch.arange(len(self.base)).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Refused: what was let go cannot come back."""
        raise Unsupported(
            "a bounded cache cannot be cropped, as what it let go is gone: copy it before, and go on from the copy"
        )

    def copy(self) -> PolicyCache:
        """Another cache that goes on from here by itself."""
        if self.attached:
            raise StateError("a cache cannot be copied inside `with cache.attach(model):`: leave the block first")
        return copy.deepcopy(self)

    # After a restart

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the cache as one safetensors file, whole or not at all."""
        write_state(path, *self.state())

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors without unused room, and a structure for JSON, from which `load_state` goes on."""
        tensors = {f"{held.layer}.{name}": t for held in self.held for name, t in held.state().items()}
        tensors |= {f"policy.{name}": t for name, t in self.policy.tensors().items()}
        if self.base is not None:
            tensors["base"] = self.base
        structure = {
            "cache": self.name,
            "settings": self.settings,
            "budget": self.budget,
            "tokens": self.tokens,
            "slack": self.slack,
            "model": self.shape.fingerprint,
            "dtype": str(self.shape.dtype),
            "seen": self.seen,
            "total": self._layer_budget.total,
            "padded_left": self._padded_left,
            "weights": list(self._layer_budget.weights),
            "capacities": [held.capacity for held in self.held],
            "policy": self.policy.structure(),
        }
        return tensors, structure

    def load_state(self, tensors: dict[str, Tensor], structure: dict[str, Any], device: torch.device) -> None:
        """Go on from what `save` wrote."""
        whole, compressed = structure["weights"]
        self._layer_budget.weights = (whole, compressed)
        for held in self.held:
            prefix = f"{held.layer}."
            held.load_state({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, device)
            self._layer_budget.assign(held, structure["capacities"][held.layer])
        self.policy.set_tensors(
            {n.removeprefix("policy."): t.to(device) for n, t in tensors.items() if n.startswith("policy.")}
        )
        self.policy.set_structure(structure["policy"])
        self.base = tensors["base"].to(device) if "base" in tensors else None
        self.seen, self._layer_budget.total = structure["seen"], structure["total"]
        self._padded_left = structure["padded_left"]
