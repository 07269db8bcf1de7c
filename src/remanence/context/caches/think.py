"""ThinK: heavy hitters whose older keys have lost the channels that queries make least of.

What is remembered are keys and values as `heavy-hitters` keeps them, where all keys but the newest are held without their
least important channels. It costs fewer bytes an entry, so that the same budget holds more of them, and a list of the
channels of each head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.heavy_hitters import HeavyHitters
from remanence.context.caches.key_compression import KeyCompression, Keys
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Positions
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

if TYPE_CHECKING:
    from remanence.context.caches.forward_call import ForwardCall
    from remanence.context.caches.supported import Shape


class Channels(KeyCompression):
    """Keys without the channels that matter least to the queries, chosen once for each row and head.

    The score of a channel is the norm of it over the observed queries times its norm over the keys, as the paper
    has it. Where keys are moved, the two channels that a rotary position turns together go or stay together.

    Parameters
    ----------
    ratio:
        λ: the share of channels that go (from 0, below 1).
    whole:
        How many of the newest entries keep whole keys (0 or more).
    """

    def __init__(self, ratio: float, whole: int) -> None:
        self.ratio, self.whole = ratio, whole

    def width(self, features: int) -> int:
        # An even number, so that it is the same with pairs and without
        return features - 2 * int(self.ratio * features / 2)

    def prepare(self, held: Keys) -> None:
        keys = held.keys.float() * held.valid.unsqueeze(-1)
        importance = held.besides.pop("queries") * keys.square().sum(2)
        held.besides["channels"] = self.choose(importance, held).to(torch.int16)

    def choose(self, importance: Tensor, held: Keys) -> Tensor:
        """The channels that stay, (batch, heads, width) ascending, by (batch, heads, features) squared scores."""
        features = importance.shape[2]
        width = self.width(features)
        if held.rotary is None:
            return importance.topk(width, 2).indices.sort(2).values
        half = len(held.rotary.frequencies)
        if 2 * half != features:
            raise UsageError(
                f"think was given a model whose positions turn {2 * half} of {features} channels, and closes gaps only "
                "where all are turned: choose positions='original'"
            )
        pairs = importance.view(*importance.shape[:2], 2, half).sum(2).topk(width // 2, 2).indices
        return torch.cat([pairs, pairs + half], 2).sort(2).values

    def compress(self, held: Keys, keys: Tensor) -> Tensor:
        return keys.gather(3, self._places(held, keys.shape[2]))

    def widen(self, held: Keys, compressed: Tensor, features: int) -> Tensor:
        wide = compressed.new_zeros(*compressed.shape[:3], features)
        return wide.scatter_(3, self._places(held, compressed.shape[2]), compressed)

    @staticmethod
    def _places(held: Keys, count: int) -> Tensor:
        channels = held.besides["channels"].long().unsqueeze(2)
        return channels.expand(*channels.shape[:2], count, channels.shape[3])


@system(
    "think",
    paper=Paper("ThinK: Thinner Key Cache by Query-Driven Pruning", "Xu et al.", 2024, "2407.21018", 138),
    place="context",
    baseline="heavy-hitters",
)
class ThinK(HeavyHitters):
    """Query-driven pruning of key channels, over heavy hitters.

    Parameters
    ----------
    ratio:
        λ: the share of key channels that go (from 0, below 1).
    whole:
        How many of the newest entries keep whole keys (0 or more; the authors' program keeps 32).
    observed:
        How many of the last queries say which channels matter (1 or more).
    recent_share, sinks, positions:
        As for `HeavyHitters`.

    Shapes
    ------
    Compressed keys are (batch, heads, count, width), where width is the number of channels that stay. Held for each layer besides: the
    squared channels of the observed queries (batch, heads, features), and later the channels (batch, heads, width).

    Example
    -------
    >>> ThinK(ratio=0.4).key_compression.width(64)
    40

    References
    ----------
    Xu et al., ThinK: Thinner Key Cache by Query-Driven Pruning, 2024, arXiv:2407.21018.

    Departures
    ----------
    Channels are chosen when the layer is full for the first time with whole keys, not at the end of the prompt, and
    then kept. With ``positions="closed"`` rotary pairs go together, since a key could not be moved otherwise; an even
    number of channels goes in any case. Where a call brings fewer queries than are observed, the mean of earlier ones
    counts for the rest. Attention is computed over keys widened with zeros, which gives what pruned queries give.
    """

    @validated
    def __init__(
        self,
        ratio: Annotated[float, Field(ge=0, lt=1, description="λ, the share of key channels that go")] = 0.4,
        whole: Annotated[int, Field(ge=0, description="newest entries with whole keys")] = 16,
        observed: Annotated[int, Field(ge=1, description="last queries that say which channels matter")] = 32,
        recent_share: Annotated[
            float, Field(ge=0, le=1, description="share of the entries that are the newest, never let go")
        ] = 0.5,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 0,
        positions: Annotated[Positions, Field(description="how positions are counted")] = "closed",
    ) -> None:
        HeavyHitters.__init__(self, recent_share=recent_share, sinks=sinks, positions=positions)
        self.observed, self.key_compression = observed, Channels(ratio, whole)

    def bytes_besides(self, shape: Shape) -> int:
        return shape.layers * shape.heads * shape.features * 4

    def on_attention(self, held: LayerCache, query: Tensor, weights: Tensor | None, call: ForwardCall) -> None:
        HeavyHitters.on_attention(self, held, query, weights, call)
        if held.older:
            return
        batch, _, new, features = query.shape
        squares = query.float().square().view(batch, held.index.shape[1], -1, new, features).sum(2)
        asked = squares.new_ones(batch, new) if call.valid is None else call.valid.to(squares)
        asked = asked * (asked.flip(1).cumsum(1).flip(1) <= self.observed)
        given = (squares * asked.view(batch, 1, new, 1)).sum(2) / self.observed
        earlier = (1 - asked.sum(1) / self.observed).view(-1, 1, 1)
        before = held.besides.get("queries")
        held.besides["queries"] = given if before is None else earlier * before + given
