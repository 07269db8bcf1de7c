"""The cache that a model is given: it holds what a policy keeps, within its budget."""

from __future__ import annotations

import copy
import threading
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from remanence.context.caches.attach import attach, went_round
from remanence.context.caches.cache_contents import CacheContents
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import PAD, LayerCache
from remanence.context.caches.policy import Policy
from remanence.context.caches.supported import Shape
from remanence.errors import StateError, Unsupported, UsageError


class PolicyCache(CacheContents):
    """A cache of bounded size for a Hugging Face causal language model.

    Made by `remanence.context.cache`, as a cache of transformers (see `hugging_face`). After every call of the model it
    holds no more than its budget; `nbytes` is what it holds, `get_seq_length()` what it has seen.

    Parameters
    ----------
    policy, shape, given:
        As for `CacheContents`.
    """

    def __init__(self, policy: Policy, shape: Shape, **given: Any) -> None:
        super().__init__(policy, shape, **given)
        self.call: ForwardCall | None = None
        self.attached = False
        self._before: list[int] = []

    def attach(self, model: Any) -> AbstractContextManager[None]:
        """A block in which the model hands this cache what its policy needs: queries, attention, logits, padding.

        Inside, a call of the model that does not reach the cache raises.
        """
        return attach(self, model)

    # One call of the model, inside `attach`

    def enter(self, tokens: Tensor | None, shape: tuple[int, ...], mask: Tensor | None) -> Tensor:
        """A call begins: the positions of its new tokens, (batch, n)."""
        self._check_thread()
        self.abandon()
        batch, new = shape
        if new == 0:
            raise UsageError(
                f"the model was given no token that is new: `generate` takes the whole text, and reads what comes "
                f"after the {self.seen} tokens that the cache has seen"
            )
        known = self.rows.next
        device = known.device if known is not None else (tokens.device if tokens is not None else None)
        valid = self.rows.new_tokens(mask, batch, new)
        base = self.rows.rows(batch, device)
        at = torch.ones(batch, new, dtype=torch.int64, device=device) if valid is None else valid.long()
        at = at.cumsum(1)
        limit = self.shape.positions
        if int((base + at[:, -1]).max()) > limit and self.policy.positions == "closed":
            self.layer_budget.make_room(limit - new)
            self._rebase()
            base = self.rows.rows(batch, device)
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

    def check_reached(self) -> None:
        """Raise unless the call under way came to every layer, and read from it."""
        missed = [held.layer for held in self.held if self.call is not None and held.layer not in self.call.read]
        if missed:
            raise UsageError(
                f"{'layers' if len(missed) > 1 else 'layer'} {', '.join(map(str, missed))} of the model did not read from "
                "the cache that is attached to it: use a model whose every layer attends through the AttentionInterface"
            )

    def leave(self, logits: Tensor) -> None:
        """A call has ended: what no longer fits is let go."""
        call, base = self.call, self.rows.next
        if call is None or base is None:
            return
        self.call = None
        if "logits" in self.policy.sees:
            self.policy.on_logits(self.held, call.tokens, logits, call)
        base += call.length if call.valid is None else call.valid.sum(1)
        self.rows.seen += call.length
        self.policy.on_forward_end(self.held, base, self.shape.positions)
        self.layer_budget.evict(self.held)

    def abandon(self) -> None:
        """A call broke off: its tokens are dropped."""
        if self.call is not None:
            for held, count in zip(self.held, self._before, strict=True):
                held.truncate(min(held.count, count))
        self.call = None

    def _check_thread(self) -> None:
        if self.call is not None and self.call.thread != threading.get_ident():
            raise StateError("another thread reads with this cache now: give each thread a copy of its own")

    # Taking in

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """New keys and values of a layer, as transformers hands them over; what attention is to see of it."""
        held, keys, values = self.held[layer_idx], key_states, value_states
        self._check_thread()
        if self.attached and self.call is None:
            raise went_round()
        if not self.attached:
            self._check_unattached(len(keys))
        if keys.dtype != self.shape.dtype and not held.empty and keys.dtype != held.keys.dtype:
            raise StateError(f"keys of {keys.dtype} came to a cache of {held.keys.dtype}: use one dtype throughout")
        call, new = self.call, keys.shape[2]
        if layer_idx == 0:
            self.layer_budget.plan(keys, values)
        if call is None:
            return self._update_unattached(held, keys, values)
        index = torch.arange(self.seen, self.seen + new, dtype=torch.int32, device=keys.device).expand(len(keys), -1)
        if call.valid is not None:
            index = index.masked_fill(~call.valid.to(keys.device), PAD)
        held.append(keys, values, index, padded=call.valid is not None)
        call.handed[layer_idx] = (keys, values)
        return keys, values  # `attend` reads from what is held

    def _check_unattached(self, batch: int) -> None:
        if self.policy.sees:
            raise UsageError(
                f"the policy {self.told} needs the model's {' and '.join(sorted(self.policy.sees))}: read inside "
                "`with cache.attach(model):`"
            )
        if type(self.policy).attend is not Policy.attend:
            raise UsageError(
                f"the policy {self.told} has an attention of its own: read inside `with cache.attach(model):`"
            )
        if batch > 1:
            raise UsageError(
                f"{batch} sequences were read at once, some of which may be padded: read inside "
                "`with cache.attach(model):`, where the cache sees the padding"
            )

    def _update_unattached(self, held: LayerCache, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """There is no end of a call to wait for: what goes is let go while attention still sees it."""
        new = keys.shape[2]
        base = self.rows.rows(keys.shape[0], keys.device)
        if held.layer == 0:
            if int(base[0]) != self.seen:  # positions were counted anew when attached, and here follow what was seen
                for one in self.held:
                    if not one.empty:
                        one.move(torch.as_tensor(self.seen - int(base[0]), device=keys.device))
                base.fill_(self.seen)
            self.rows.seen += new
            base += new
        start = self.seen - new
        index = torch.arange(start, start + new, dtype=torch.int32, device=keys.device).expand(1, -1)
        held.append(keys, values, index)
        read = held.keys, held.values
        self.layer_budget.evict([held])
        return read

    def _rebase(self) -> None:
        """Count positions anew, so that the next token comes right after what is held."""
        base = self.rows.next
        filled = [self.policy.positioned(held).sum(2).amax(1) for held in self.held if not held.empty]
        if base is None or not filled:
            return
        by = torch.stack([longest.to(base.device) for longest in filled]).amax(0) - base
        for held in self.held:
            if not held.empty:
                held.move(by.view(-1, 1, 1).to(held.index.device) * self.policy.positioned(held))
        base += by

    # As a whole

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
