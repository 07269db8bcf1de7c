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

TOGETHER = 64
"""How many entries that leave are compared with the modes at once; no more than memory asks for."""


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
        held.mark("tokens")[leaving] = 1.0
        held.mark("touched")[leaving] = held.index[leaving].float()
        units = normalize(held.keys, dim=-1)
        places = leaving.any(1).any(0).nonzero().flatten()
        for first in range(0, len(places), TOGETHER):
            self._consolidate(held, leaving, bank, units, places[first : first + TOGETHER])

    def _consolidate(self, held: Held, leaving: Tensor, bank: Tensor, units: Tensor, places: Tensor) -> None:
        """Entries at a few places, in order; `bank` and `units` are kept up to date."""
        own = units[:, :, places]
        # Compared all at once, and again only with a mode that changed meanwhile
        cosine = own @ units.transpose(2, 3)
        for number, place in enumerate(places.tolist()):
            coming = leaving[:, :, place]
            nearest = cosine[:, :, number].masked_fill(~bank, -torch.inf).max(2)
            merged = coming & (nearest.values >= self.novelty)
            bank[:, :, place] |= coming & ~merged
            row, head = merged.nonzero(as_tuple=True)
            if len(row):
                slot = nearest.indices[row, head]
                self._average(held, row, head, slot, place)
                units[row, head, slot] = normalize(held.stored_keys[row, head, slot], dim=-1).to(units.dtype)
                cosine[row, head, :, slot] = (own[row, head] @ units[row, head, slot].unsqueeze(2)).squeeze(2)

    @staticmethod
    def _average(held: Held, row: Tensor, head: Tensor, slot: Tensor, place: int) -> None:
        """The entry at a place becomes part of the mode in a slot, and padding."""
        tokens = held.mark("tokens")[row, head, slot].unsqueeze(1)
        for vectors in (held.stored_keys, held.values):
            old, new = vectors[row, head, slot], vectors[row, head, place]
            vectors[row, head, slot] = ((old * tokens + new) / (tokens + 1)).to(vectors.dtype)
        held.mark("tokens")[row, head, slot] += 1
        held.mark("touched")[row, head, slot] = held.index[row, head, place].float()
        held.index[row, head, place] = PAD

    def recalled(self, held: Held, query: Tensor, scores: Tensor, reading: Reading) -> Tensor:
        """The modes nearest to the keys of the window, each seen from the token on whose key it is like."""
        away, front = self.away(held) & held.valid, self.front(held)
        keys, rank = held.keys, front.int().cumsum(2)
        last = reading.positions[:, -1].view(-1, 1, 1).to(rank.device)
        # Of all entries only those of the window are looked at, in as many places as the longest has
        places = front.int().sort(dim=2, descending=True, stable=True).indices[:, :, : int(rank[:, :, -1].max())]
        number = rank.gather(2, places)
        window = keys.gather(2, places.unsqueeze(3).expand(*places.shape, keys.shape[3]))
        if held.rotary is not None:
            window = held.rotary.turn(window, rank[:, :, -1:] - number - last)
        # The length of a key of the window makes no mode nearer than another
        lengths = keys.norm(dim=-1).clamp(min=1e-12).unsqueeze(2)
        hidden = torch.zeros_like(lengths).masked_fill_(~away.unsqueeze(2), -torch.inf)
        alike = (window @ keys.transpose(2, 3)).div_(lengths).add_(hidden)
        # The first token of the window that is nearest to a mode opens it to itself and to all after it
        never = torch.iinfo(rank.dtype).max
        order = number.masked_fill(~front.gather(2, places), never)
        opened = torch.full_like(rank, never).scatter_reduce(2, alike.max(3).indices, order, "amin")
        new = reading.length
        asked = rank[:, :, -1:] - torch.arange(new - 1, -1, -1, device=rank.device)
        seen = (opened.unsqueeze(2) <= asked.unsqueeze(3)) & away.unsqueeze(2)
        return seen.unsqueeze(2).expand(scores.shape)
