"""CAMELoT: what leaves the window is consolidated into modes, averages of keys and values that are like one another.

What is remembered are the modes, how many tokens each stands for, and when it was last added to; the oldest give way to what is new. It
costs as many bytes a mode as any cache an entry, and a comparison of each new key with all modes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.bank import Found, Search, hidden
from remanence.context.caches.consolidation import Consolidation
from remanence.context.caches.layer_cache import PAD, SHORTEST, LayerCache
from remanence.context.caches.recalling import Recalling
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

CLOSED = -1.0
"""The place of no mode."""


@system(
    "camelot",
    paper=Paper(
        "CAMELoT: Towards Large Language Models with Training-Free Consolidated Associative Memory",
        "He et al.",
        2024,
        "2402.13449",
        78,
    ),
    place="context",
    baseline="attention-sinks",
)
class Camelot(Recalling):
    """A consolidated associative memory beside the window.

    Parameters
    ----------
    novelty:
        The threshold R: a key whose cosine with the nearest mode is at least this is averaged into it, another
        begins a mode of its own (-1 to 1).
    recent:
        The window (tokens, 1 or more).
    sinks:
        First tokens that are never let go (0 or more).

    Example
    -------
    >>> Camelot(novelty=0.9).entry_stats
    ('away', 'tokens', 'touched')

    References
    ----------
    He et al., CAMELoT: Towards Large Language Models with Training-Free Consolidated Associative Memory, 2024,
    arXiv:2402.13449.

    Departures
    ----------
    Tokens are consolidated when they leave the window, one by one, instead of with every window. Modes are counted
    within the budget of the whole cache. Similarity is the cosine, and the age of a mode is the number of its
    latest token. Sinks are kept.
    """

    entry_stats: ClassVar[tuple[str, ...]] = ("away", "tokens", "touched")
    """How many tokens a mode stands for, and the number of the latest of them; of an entry of the window the place of
    the mode nearest to it, or `CLOSED` where an entry before it is nearest to the same mode."""

    @validated
    def __init__(
        self,
        novelty: Annotated[float, Field(ge=-1, le=1, description="the cosine from which keys are averaged")] = 0.95,
        recent: Annotated[int, Field(ge=1, description="tokens of the window")] = 64,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
    ) -> None:
        self.novelty, self.recent, self.sinks = novelty, recent, sinks

    def score(self, held: LayerCache) -> Tensor:
        return held.stat("touched").double().masked_fill(~self.away(held), torch.inf)

    def sent_away(self, held: LayerCache, leaving: Tensor) -> None:
        """Consolidate: each entry that leaves is averaged into the mode most like it, or becomes a mode."""
        if held.rotary is not None and held.stored_keys.dtype in (torch.float16, torch.bfloat16):
            # Keys that are held as they came cannot be averaged: those of the bank are held as attention sees them
            held.stored_keys[leaving] = held.keys[leaving]
            held.stat("turned")[leaving] = 0
        held.stat("tokens")[leaving] = 1.0
        held.stat("touched")[leaving] = held.index[leaving].float()
        keys, tokens, modes, coming = (
            some.flatten(0, 1).cpu()
            for some in (held.keys, held.stat("tokens").clone(), self.away(held) & ~leaving, leaving)
        )
        lengths = held.stat("away").flatten(0, 1).cpu()
        work = Consolidation(keys.float().clone(), lengths, tokens, modes, self.novelty)
        work.merge(coming)
        if work.merges:
            self._follow(held, work)

    @staticmethod
    def _follow(held: LayerCache, work: Consolidation) -> None:
        """Hold modes and the rest of them as they are after a consolidation."""
        device, heads = held.index.device, held.index.shape[1]
        flat = torch.cat(
            [torch.as_tensor(np.stack([rows, slots, np.full_like(rows, at)])) for rows, slots, at in work.merges], 1
        )
        modes, mode = torch.unique(flat[:2], dim=1, return_inverse=True)
        row, _, place = flat.to(device)
        came = (row // heads, row % heads, place)
        rows, slots = modes.to(device)
        changed, mode = (rows // heads, rows % heads, slots), mode.to(device)
        before = held.stat("tokens")[changed].unsqueeze(1)
        after = work.tokens[modes[0], modes[1]].to(device).unsqueeze(1)
        keys = work.keys[modes[0], modes[1]].to(device)
        values = held.values
        total = values[changed] * before
        total.index_add_(0, mode, values[came].to(total.dtype))
        values[changed] = (total / after).to(values.dtype)
        held.stored_keys[changed] = keys.to(values.dtype)
        held.stat("away")[changed] = keys.norm(dim=1).clamp(min=SHORTEST)
        held.stat("tokens")[changed] = after.squeeze(1)
        latest = held.index[came].float()
        held.stat("touched")[changed] = torch.zeros_like(keys[:, 0]).scatter_reduce(0, mode, latest, "amax")
        held.stat("away")[came] = 0.0
        held.index[came] = PAD

    def recalled(self, search: Search) -> Found:
        """The modes nearest to the keys of the window, each seen from the token on whose key it is like."""
        held, bank = search.held, search.bank
        # Which entries are of the window, and the number of each among them
        if bank.tidy:
            front = None
            rank = torch.arange(1, held.count - (bank.end - bank.first) + 1, device=search.keys.device)
            rank = rank.expand(*search.keys.shape[:2], -1)
        else:
            front = (bank.outside(held.index) != PAD) & (bank.outside(held.stat("away")) == 0)
            rank = front.cumsum(2)
        self._compare(search, front, rank)
        touched = bank.outside(held.stat("touched"))
        nearest = touched.long().clamp(0, search.keys.shape[2] - 1)
        opens = (touched >= 0)[:, :, None, None]
        if front is not None:
            opens = opens & front[:, :, None, None]
        if not bank.whole:  # a head without a mode is near to none
            opens = opens & (search.lengths.gather(2, nearest) > 0)[:, :, None, None]
        new = search.call.length
        if new > 1:
            asked = rank[:, :, -1:] - torch.arange(new - 1, -1, -1, device=rank.device)
            opens = opens & (rank.unsqueeze(2) <= asked.unsqueeze(3)).unsqueeze(2)
        return Found(nearest, opens)

    def _compare(self, search: Search, front: Tensor | None, rank: Tensor) -> None:
        """Note at each entry of the window which mode it opens; those that were compared with these modes have it."""
        held, bank, call = search.held, search.bank, search.call
        known = held.follows.get("compared", 0)
        held.follows["compared"] = held.count
        touched = held.stat("touched")
        if front is None and known == held.count - 1 and call.length == 1:
            if "back" not in call.shared and held.rotary is not None:
                call.shared["back"] = held.rotary.angles(-call.positions.to(touched.device).unsqueeze(1))
            key = held.keys[:, :, known:]
            nearest = self._nearest(
                search, key if held.rotary is None else held.rotary.apply(key, *call.shared["back"])
            )
            opened = (bank.outside(touched)[:, :, :-1] == nearest).any(2, keepdim=True)
            touched[:, :, known:] = torch.where(opened, CLOSED, nearest)
            return
        keys = bank.outside(held.keys)
        if held.rotary is not None:
            last = call.positions[:, -1].view(-1, 1, 1).to(rank.device)
            keys = held.rotary.turn(keys, rank[:, :, -1:] - rank - last)
        nearest = self._nearest(search, keys)
        # The first token of the window that is nearest to a mode opens it to itself and to all after it
        ordered, order = (nearest if front is None else nearest.masked_fill(~front, CLOSED)).sort(dim=2, stable=True)
        again = torch.zeros_like(nearest, dtype=torch.bool)
        again.scatter_(2, order[:, :, 1:], ordered[:, :, 1:] == ordered[:, :, :-1])
        nearest = nearest.masked_fill(again, CLOSED)
        if bank.apart:
            touched[:, :, : bank.first] = nearest[:, :, : bank.first]
            touched[:, :, bank.end :] = nearest[:, :, bank.first :]
        elif front is not None:
            touched[front] = nearest[front]

    @staticmethod
    def _nearest(search: Search, keys: Tensor) -> Tensor:
        """The place of the mode nearest to each of ``keys`` (batch, heads, n, features) without positions, float32."""
        # The length of a key of the window makes no mode nearer than another
        alike = (keys @ search.keys.mT) / search.lengths.clamp(min=SHORTEST).unsqueeze(2)
        among = search.among
        return hidden(alike, None if among is None else among.squeeze(2)).argmax(3).float()
