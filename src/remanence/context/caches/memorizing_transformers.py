"""Memorizing transformers: one layer looks up the nearest past keys, and a gate mixes what it finds with the window.

What is remembered are keys and values of past tokens of that layer, without positions. It costs as many bytes an entry as any cache
in that layer, and a search over past keys for every query; the other layers hold a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.bank import Found, Search, best, hidden
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.recalling import Recalling
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.randomness import generator
from remanence.registry import Paper, system


@system(
    "memorizing-transformers",
    paper=Paper("Memorizing Transformers", "Wu et al.", 2022, "2203.08913", 134),
    place="context",
    baseline="attention-sinks",
)
class MemorizingTransformers(Recalling):
    """kNN attention in one layer.

    Parameters
    ----------
    topk:
        Past keys that a query finds, in each head (1 or more).
    layer:
        The layer that looks them up, counted from the end if negative.
    gate:
        The bias b of the gate, whose sigmoid is the share of what was found in the output.
    search:
        ``"exact"`` compares a query with every key; ``"approximate"`` picks four times as many candidates by
        products in fewer dimensions (a random projection) and compares only those.
    recent:
        The window (tokens, 1 or more).
    sinks:
        First tokens that are never let go (0 or more).

    Example
    -------
    >>> MemorizingTransformers(topk=4).distance
    0

    References
    ----------
    Wu et al., Memorizing Transformers, 2022, arXiv:2203.08913.

    Departures
    ----------
    The model was not trained with a memory: the gate is one number given beforehand instead of one learned for each
    head, and keys are not normalised beyond what the model does. The window slides instead of being the last
    segment and a cache of the one before. Gradients never reached the memory in the paper either.
    """

    @validated
    def __init__(
        self,
        topk: Annotated[int, Field(ge=1, description="past keys that a query finds")] = 32,
        layer: Annotated[int, Field(description="the layer that looks them up")] = -2,
        gate: Annotated[float, Field(description="bias of the gate before the sigmoid")] = 0.0,
        search: Annotated[
            Literal["exact", "approximate"], Field(description="whether every key is compared")
        ] = "exact",
        recent: Annotated[int, Field(ge=1, description="tokens of the window")] = 64,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
    ) -> None:
        self.topk, self.layer, self.gate, self.search = topk, layer, gate, search
        self.recent, self.sinks = recent, sinks
        self._looks_up = -1

    @property
    def distance(self) -> int:
        return 0

    def capacities(self, layers: Sequence[LayerCache], total: int) -> list[int]:
        """What the layer that looks up needs, as far as the others keep their windows."""
        others, looks_up = len(layers) - 1, self._layer_of(layers)
        if not others:
            return [total]
        needed = layers[looks_up].count + layers[looks_up].count // 8
        window = min(total // len(layers), self.smallest() + max(1, self.recent // 8))
        each = max(window, min(total // len(layers), (total - needed) // others))
        shares = [each] * len(layers)
        shares[looks_up] = total - each * others
        return shares

    def _layer_of(self, layers: Sequence[LayerCache]) -> int:
        if not -len(layers) <= self.layer < len(layers):
            raise UsageError(f"layer {self.layer} shall look up, and the model has {len(layers)}: name one of them")
        return range(len(layers))[self.layer]

    def on_forward_end(self, layers: Sequence[LayerCache], base: Tensor, limit: int) -> None:
        self._looks_up = self._layer_of(layers)
        super().on_forward_end(layers, base, limit)

    def structure(self) -> dict[str, Any]:
        return {"looks_up": self._looks_up}

    def set_structure(self, structure: dict[str, Any]) -> None:
        self._looks_up = int(structure["looks_up"])

    def recalls(self, held: LayerCache) -> bool:
        return held.layer == self._looks_up

    def recalled(self, search: Search) -> Found:
        among, scores, packed = search.among, search.scores(), search.packed
        if self.search == "approximate":
            width = packed.shape[-1]
            draw = generator(0, "projection", width)
            projection = torch.randn(width, max(4, width // 4), generator=draw).to(packed)
            rough = (packed @ projection) @ (search.keys @ projection).mT
            candidates = best(rough.view(scores.shape), among, 4 * self.topk)
            found = best(scores.gather(-1, candidates.places), candidates.there, self.topk)
            return replace(found, places=candidates.places.gather(-1, found.places))
        return best(scores, among, self.topk)

    def shares(self, near: Tensor, seen: Tensor | None, far: Tensor, there: Tensor | None) -> Tensor:
        local, found = (
            torch.softmax(hidden(scores, some), -1, dtype=torch.float32)
            for scores, some in ((near, seen), (far, there))
        )
        # A query that finds nothing attends to the window alone
        some = 1.0 if there is None else there.any(-1, keepdim=True)
        share = (1 / (1 + math.exp(-self.gate))) * some
        return torch.cat([(1 - share) * local, share * found], -1)
