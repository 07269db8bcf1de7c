"""Attention over what a cache holds, and the way to it: the model's own attention function is swapped while reading."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from remanence.errors import Diverged, StateError, UsageError

if TYPE_CHECKING:
    from remanence.context.caches.cache import PolicyCache

_NUMBERS = itertools.count()


@dataclass
class ForwardCall:
    """One call of the model.

    Parameters
    ----------
    tokens:
        (batch, n) int64, or None where embeddings were given.
    valid:
        (batch, n) bool: which new tokens are no padding; None where all are.
    length:
        How many tokens are new.
    positions:
        (batch, n) int64: the positions of the new tokens.
    first:
        Whether no token came before and none is padding: each token then sees those up to itself.
    mask:
        What the new tokens may see of a layer without padding, (1, 1, n, count); layers of as many entries share it.
    shared:
        What a policy found out about the call that holds for all layers, by name.
    """

    tokens: Tensor | None
    valid: Tensor | None
    length: int
    positions: Tensor
    first: bool = False
    mask: Tensor | None = None
    shared: dict[str, Any] = field(default_factory=dict)


def attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor | None,
    scaling: float,
    *,
    weights: bool,
    causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention with grouped queries.

    Parameters
    ----------
    query:
        (batch, query heads, n, features).
    keys, values:
        (batch, heads, count, features); the query heads are a multiple of the heads.
    visible:
        (batch, heads, n, count) bool, or broadcast to it, or None. A query that sees nothing gets numbers of no
        meaning.
    scaling:
        Factor of the scores.
    weights:
        Whether to give the weights too.
    causal:
        Whether there is an entry for each query, and `visible` are those up to it: this is faster.

    Returns
    -------
    output, weights:
        (batch, query heads, n, features) and (batch, query heads, n, count) or None.
    """
    batch, queries, new, width = query.shape
    heads, count = keys.shape[1:3]
    group = queries // heads
    if causal and not weights and new > 1:
        keys, values = (some if group == 1 else some.repeat_interleave(group, 1) for some in (keys, values))
        return scaled_dot_product_attention(query, keys, values, is_causal=True, scale=scaling), None
    # One row of queries for each head of the keys, so that keys are not repeated
    packed = query.reshape(batch, heads, group * new, width)
    if not weights:
        seen = None if visible is None else visible.expand(-1, -1, new, -1).repeat(1, 1, group, 1)
        output = scaled_dot_product_attention(packed, keys, values, attn_mask=seen, scale=scaling)
        return output.view(batch, queries, new, -1), None
    scores = packed @ keys.transpose(2, 3)
    scores = scores.mul_(scaling) if not scores.requires_grad else scores * scaling
    if visible is not None:
        # Added, which is faster than to fill; half of the lowest number, so that a score below 0 does not make it -inf
        hidden = torch.zeros(visible.shape, dtype=scores.dtype, device=scores.device)
        hidden.masked_fill_(~visible, torch.finfo(scores.dtype).min / 2)
        scores = (scores.view(batch, heads, group, new, count) + hidden.unsqueeze(2)).view(scores.shape)
    shares = torch.softmax(scores, -1, dtype=torch.float32).to(query.dtype)
    output = shares @ values
    return output.view(batch, queries, new, -1), shares.view(batch, queries, new, -1)


def visible(index: Tensor, call: ForwardCall, seen: int) -> Tensor | None:
    """What the new tokens may see: entries that are no padding and no younger than they.

    Parameters
    ----------
    index:
        (batch, heads, count), the new entries last.
    call:
        The call.
    seen:
        Tokens before it.

    Returns
    -------
    (batch, heads, n, count) bool or, where no entry is padding, (1, 1, n, count); None if every new token sees
    everything.
    """
    count, new = index.shape[2], call.length
    if int(index.min()) < 0:
        at = seen + torch.arange(new, device=index.device)
        return (index.unsqueeze(2) <= at.view(1, 1, -1, 1)) & (index.unsqueeze(2) >= 0)
    if new == 1:
        return None
    if call.mask is None or call.mask.shape[3] != count:
        everything = torch.ones(1, 1, new, count, dtype=torch.bool, device=index.device)
        call.mask = everything.tril(count - new)
    return call.mask


@contextmanager
def attach(cache: PolicyCache, model: Any) -> Iterator[None]:
    """Inside, the model hands the cache what its policy needs; afterwards the model is as it was."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if cache.attached:
        raise StateError("the cache is inside `with cache.attach(model):` already: leave that block first")
    before = model.config._attn_implementation
    # "eager" is a function of each model's file and has no entry of its own; sdpa computes the same
    original = ALL_ATTENTION_FUNCTIONS.get(before, sdpa_attention_forward)
    original_mask = ALL_MASK_ATTENTION_FUNCTIONS.get(before if before != "eager" else "sdpa")
    name = f"remanence-{next(_NUMBERS)}"

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **rest: Any
    ) -> tuple[Tensor, Tensor | None]:
        if cache.call is None:
            given: tuple[Tensor, Tensor | None] = original(module, query, key, value, mask, **rest)
            return given
        scaling = rest.get("scaling") or module.head_dim**-0.5
        output, shares = cache.attend(module.layer_idx, query, scaling)
        return output.transpose(1, 2).contiguous(), shares

    def mask(*args: Any, **rest: Any) -> Tensor | None:
        if cache.call is not None or original_mask is None:
            return None
        made: Tensor | None = original_mask(*args, **rest)
        return made

    def enter(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if given.get("past_key_values") is not cache:
            return None
        tokens = given.get("input_ids", args[0] if args else None)
        embedded = given.get("inputs_embeds")
        given_as = tokens if tokens is not None else embedded
        if given_as is None:
            raise UsageError("the model was called with neither input_ids nor inputs_embeds: give one by name")
        given["position_ids"] = cache.enter(tokens, tuple(given_as.shape[:2]), given.pop("attention_mask", None))
        if "logits" in cache.policy.sees:
            given.pop("logits_to_keep", None)  # every new token is to be heard
        return args, given

    def leave(_: Any, __: tuple[Any, ...], ___: dict[str, Any], output: Any) -> None:
        if cache.call is None:
            return
        logits = output.logits if hasattr(output, "logits") else output[0]
        if not bool(torch.isfinite(logits[:, -1]).all()):
            cache.abandon()
            raise Diverged(
                f"the model's logits are NaN or infinite after {cache.seen} tokens: check its weights and dtype; "
                "go on from a copy or a saved cache of before"
            )
        cache.leave(logits)

    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, mask)
    hooks = [
        model.register_forward_pre_hook(enter, with_kwargs=True),
        model.register_forward_hook(leave, with_kwargs=True),
    ]
    cache.attached = True
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation(before)
        cache.attached = False
        cache.abandon()
        ALL_ATTENTION_FUNCTIONS._global_mapping.pop(name, None)
        ALL_MASK_ATTENTION_FUNCTIONS._global_mapping.pop(name, None)
