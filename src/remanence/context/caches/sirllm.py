"""SirLLM: sinks, a window, and between them the tokens that surprised the model most.

What is remembered are keys and values of the tokens with the highest token entropy, the negative log-probability that
the model gave them when they came; entropies fade from round to round, so that newer surprises win. It costs a fixed
number of entries in every layer, one number with each, and the logits of the last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Policy, Positions
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

if TYPE_CHECKING:
    from remanence.context.caches.forward_call import ForwardCall
    from remanence.context.caches.supported import Shape


@system(
    "sirllm",
    paper=Paper("SirLLM: Streaming Infinite Retentive LLM", "Yao et al.", 2024, "2405.12528", 439),
    place="context",
    baseline="attention-sinks",
)
class SirLLM(Policy):
    """Token entropy decides what stays between the sinks and the newest tokens.

    Parameters
    ----------
    recent_share:
        The share of a layer's entries that are its newest and never let go (0 to 1); the paper gives window and
        entropy tokens as many entries each.
    decay:
        What stored entropies are multiplied by at each round (0 to 1). A call of the model with more than one token
        begins a round.
    sinks:
        First tokens that are never let go (0 or more).
    positions:
        ``"closed"`` counts positions within the cache, as the paper does; ``"original"`` as in the text.

    Shapes
    ------
    Marks are (batch, heads, count): the same for all layers and heads.

    Example
    -------
    >>> SirLLM(recent_share=0.25).newest(64)
    16

    References
    ----------
    Yao et al., SirLLM: Streaming Infinite Retentive LLM, 2024, arXiv:2405.12528.

    Departures
    ----------
    The entropy of a call's first token is taken from the logits of the call before, which are held for it; the
    authors' program gives it the largest entropy of the round, as we do for the first token of all. A round is a call
    with more than one token; in the paper it is a turn of a dialogue.
    """

    sees: ClassVar[frozenset[str]] = frozenset({"logits"})
    entry_stats: ClassVar[tuple[str, ...]] = ("entropy",)

    @validated
    def __init__(
        self,
        recent_share: Annotated[
            float, Field(ge=0, le=1, description="share of the entries that are the newest, never let go")
        ] = 0.5,
        decay: Annotated[float, Field(ge=0, le=1, description="factor of stored entropies at each round")] = 1.0,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        self.recent_share, self.decay, self.sinks, self.positions = recent_share, decay, sinks, positions

    def newest(self, capacity: int) -> int:
        return max(self.recent, min(int(capacity * self.recent_share), capacity - self.sinks))

    def score(self, held: LayerCache) -> Tensor:
        return held.stat("entropy")

    def bytes_besides(self, shape: Shape) -> int:
        return shape.vocabulary * shape.dtype.itemsize

    def on_logits(self, layers: Sequence[LayerCache], tokens: Tensor | None, logits: Tensor, call: ForwardCall) -> None:
        if tokens is None:
            raise UsageError("sirllm was given embeddings, and needs the tokens to say how surprising they are")
        entropy = self._entropies(layers[0], tokens, logits, call)
        for held in layers:
            marks = held.stat("entropy")
            earlier = held.count - call.length
            if call.length > 1:
                marks[:, :, :earlier].mul_(self.decay)
            marks[:, :, earlier:] = entropy.unsqueeze(1)

    def _entropies(self, first: LayerCache, tokens: Tensor, logits: Tensor, call: ForwardCall) -> Tensor:
        """-log p of each new token given those before it, (batch, n); the logits of the last one are held."""
        valid = torch.ones_like(tokens, dtype=torch.bool) if call.valid is None else call.valid
        before = first.besides.get("logits")
        # The logits that predicted each token: those at the token before it, padding skipped
        place = torch.arange(call.length, device=tokens.device).expand_as(tokens)
        last = torch.where(valid, place, -1).cummax(1).values
        teller = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], 1)
        told = logits.gather(1, teller.clamp(min=0).unsqueeze(-1).expand(*tokens.shape, logits.shape[-1]))
        known = teller >= 0
        if before is not None:
            told = torch.where(known.unsqueeze(-1), told, before.to(told).unsqueeze(1))
            known = torch.ones_like(known)
        log_p = torch.log_softmax(told.float(), -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        entropy = (-log_p).masked_fill(~(known & valid), 0.0)
        entropy = torch.where(known, entropy, entropy.amax(1, keepdim=True)).masked_fill(~valid, 0.0)
        heard = logits.gather(1, last[:, -1:].clamp(min=0).unsqueeze(-1).expand(-1, 1, logits.shape[-1]))[:, 0]
        if before is not None:
            heard = torch.where(last[:, -1:] >= 0, heard, before.to(heard))
        first.besides["logits"] = heard.detach().to(first.values.dtype).clone()
        return entropy
