"""Softmax attention over what a cache holds, and what of it a new token may see."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from remanence.context.caches.forward_call import ForwardCall


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
