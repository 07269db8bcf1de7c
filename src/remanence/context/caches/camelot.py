"""CAMELoT: what leaves the window is consolidated into modes, averages of keys and values that are like one another.

What is remembered are the modes, how many tokens each stands for, and when it was last added to; the oldest give way to what is new. It
costs as many bytes a mode as any cache an entry, and a comparison of the window's keys with all modes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from remanence.context.caches.attention import Reading
from remanence.context.caches.held import PAD, Held
from remanence.context.caches.recalling import Recalling
from remanence.hyperparameters import validated
from remanence.systems import Paper, system


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
    beats="attention-sinks",
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
    >>> Camelot(novelty=0.9).marks
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

    marks: ClassVar[tuple[str, ...]] = ("away", "tokens", "touched")

    @validated
    def __init__(
        self,
        novelty: Annotated[float, Field(ge=-1, le=1, description="the cosine from which keys are averaged")] = 0.95,
        recent: Annotated[int, Field(ge=1, description="tokens of the window")] = 64,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
    ) -> None:
        self.novelty, self.recent, self.sinks = novelty, recent, sinks

    def worth(self, held: Held) -> Tensor:
        return held.mark("touched").double().masked_fill(~self.away(held), torch.inf)

    def sent_away(self, held: Held, leaving: Tensor) -> None:
        """Consolidate: each entry that leaves is averaged into the mode most like it, or becomes a mode."""
        bank = self.away(held) & held.valid & ~leaving
        if held.rotary is not None and held.stored_keys.dtype in (torch.float16, torch.bfloat16):
            # Keys that are held as they came cannot be averaged: those of the bank are held as attention sees them
            held.stored_keys[leaving] = held.keys[leaving]
            held.mark("turned")[leaving] = 0
        units = normalize(held.keys, dim=-1)
        for place in leaving.any(1).any(0).nonzero().flatten().tolist():
            coming = leaving[:, :, place]
            cosine = (units @ units[:, :, place].unsqueeze(-1)).squeeze(-1)
            nearest = cosine.masked_fill(~bank, -torch.inf).max(2)
            merged = coming & (nearest.values >= self.novelty)
            self._average(held, merged, nearest.indices, place, units)
            fresh = coming & ~merged
            now = held.index[:, :, place].float()
            held.mark("tokens")[:, :, place] = torch.where(fresh, 1.0, held.mark("tokens")[:, :, place])
            held.mark("touched")[:, :, place] = torch.where(fresh, now, held.mark("touched")[:, :, place])
            held.index[:, :, place].masked_fill_(merged, PAD)
            bank[:, :, place] = fresh

    @staticmethod
    def _cosine(one: Tensor, other: Tensor) -> Tensor:
        return normalize(one, dim=-1) @ normalize(other, dim=-1).transpose(2, 3)

    @staticmethod
    def _average(held: Held, merged: Tensor, mode: Tensor, place: int, units: Tensor) -> None:
        row, head = merged.nonzero(as_tuple=True)
        if not len(row):
            return
        slot = mode[row, head]
        tokens = held.mark("tokens")[row, head, slot].unsqueeze(1)
        for vectors in (held.stored_keys, held.values):
            old, new = vectors[row, head, slot], vectors[row, head, place]
            vectors[row, head, slot] = ((old * tokens + new) / (tokens + 1)).to(vectors.dtype)
        units[row, head, slot] = normalize(held.stored_keys[row, head, slot], dim=-1).to(units.dtype)
        held.mark("tokens")[row, head, slot] += 1
        held.mark("touched")[row, head, slot] = held.index[row, head, place].float()

    def recalled(self, held: Held, query: Tensor, scores: Tensor, reading: Reading) -> Tensor:
        """The modes nearest to the keys of the window, each seen from the token on whose key it is like."""
        away, front = self.away(held) & held.valid, self.front(held)
        keys = held.keys
        rank = front.int().cumsum(2)
        last = reading.positions[:, -1].view(-1, 1, 1).to(rank.device)
        if held.rotary is not None:
            position = last - (rank[:, :, -1:] - rank)
            keys = held.rotary.turn(keys, torch.where(front, -position, 0))
        cosine = self._cosine(keys, keys).masked_fill(~away.unsqueeze(2), -torch.inf)
        nearest = cosine.argmax(3)
        # the first token of the window that is nearest to a mode opens it to itself and to all after it
        order = rank.masked_fill(~front, torch.iinfo(rank.dtype).max)
        opened = torch.full_like(order, torch.iinfo(rank.dtype).max).scatter_reduce(2, nearest, order, "amin")
        new = reading.length
        asked = rank[:, :, -1:] - torch.arange(new - 1, -1, -1, device=rank.device)
        seen = (opened.unsqueeze(2) <= asked.unsqueeze(3)) & away.unsqueeze(2)
        return seen.unsqueeze(2).expand(scores.shape)
