"""EM-LLM: what left the window lies in events, cut where the text surprised, and whole events are recalled.

What is remembered are keys and values of past tokens with the number of their event, until the bank is full. It costs as many bytes an
entry as any cache and one number; a call compares its queries with all entries, once, to choose events.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from remanence.context.caches.bank import Found, Search, hidden
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.recalling import Recalling
from remanence.context.caches.segmentation import refined, surprise
from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system

if TYPE_CHECKING:
    from remanence.context.caches.supported import Shape


@system(
    "em-llm",
    paper=Paper("Human-inspired Episodic Memory for Infinite Context LLMs", "Fountas et al.", 2024, "2407.09450", 63),
    place="context",
    baseline="attention-sinks",
)
class EMLLM(Recalling):
    """Episodic memory: surprise and graph segmentation, recall by similarity and by contiguity.

    Parameters
    ----------
    similar:
        Events that are recalled because they are like the queries of a call (1 or more).
    contiguous:
        Events that are recalled because they stood beside one recalled lately (0 or more).
    gamma:
        γ: a token begins an event when its surprise is more than γ standard deviations above the mean.
    spread:
        τ: over how many tokens mean and deviation are taken (2 or more).
    refine:
        ``"modularity"`` or ``"conductance"``: boundaries move back to where the graph of keys is best cut; ``"none"``
        leaves them where the surprise was.
    refine_from_layer:
        The first layer whose keys the graph is made of, to the last; by default five eighths of the layers come before
        it, as in the authors' settings (20 of 32).
    largest:
        Tokens of an event at most (2 or more).
    recent, sinks:
        The window and the first tokens, in tokens.

    Example
    -------
    >>> sorted(EMLLM(gamma=2.0).sees)
    ['logits', 'queries']

    References
    ----------
    Fountas et al., Human-inspired Episodic Memory for Infinite Context LLMs, 2024, arXiv:2407.09450.

    Departures
    ----------
    An event is as like the queries of a call as the one of its tokens to which they would attend most, where the paper sums
    products with tokens chosen beforehand to represent it. The graph is that of the tokens of one call, without those
    before them, and events have no least size (theirs is 8). A cut ties whole degrees, not what lies inside alone, in
    the conductance.
    Recalled entries all seem to lie right before the window.
    """

    sees: ClassVar[frozenset[str]] = frozenset({"queries", "logits"})
    entry_stats: ClassVar[tuple[str, ...]] = ("away", "event")

    @validated
    def __init__(
        self,
        similar: Annotated[int, Field(ge=1, description="events recalled because they are like the queries")] = 4,
        contiguous: Annotated[int, Field(ge=0, description="events recalled because they stood beside one")] = 2,
        gamma: Annotated[float, Field(description="deviations above the mean that begin an event (γ)")] = 1.0,
        spread: Annotated[int, Field(ge=2, description="tokens over which surprise is averaged (τ)")] = 64,
        refine: Annotated[
            Literal["modularity", "conductance", "none"], Field(description="how boundaries are moved")
        ] = "modularity",
        refine_from_layer: Annotated[
            int | None, Field(ge=0, description="the first layer whose keys make the graph")
        ] = None,
        largest: Annotated[int, Field(ge=2, description="tokens of an event at most")] = 64,
        recent: Annotated[int, Field(ge=1, description="tokens of the window")] = 64,
        sinks: Annotated[int, Field(ge=0, description="first tokens that are never let go")] = 4,
    ) -> None:
        self.similar, self.contiguous, self.gamma, self.spread = similar, contiguous, gamma, spread
        self.refine, self.refine_from_layer, self.largest = refine, refine_from_layer, largest
        self.recent, self.sinks = recent, sinks
        self._own: dict[str, Tensor] = {}

    # Events

    def on_logits(self, layers: Sequence[LayerCache], tokens: Tensor | None, logits: Tensor, call: ForwardCall) -> None:
        batch = logits.shape[0]
        if not self._own:
            like = logits.float()
            self._own = {
                "last": like[:, -1] * 0,
                "past": like.new_full((batch, self.spread), torch.nan),
                "event": torch.zeros(batch, dtype=torch.int64, device=logits.device),
                "length": torch.zeros(batch, dtype=torch.int64, device=logits.device),
                "neighbours": torch.full(
                    (batch, len(layers), max(1, self.contiguous)), -1, dtype=torch.int64, device=logits.device
                ),
            }
        before = torch.cat([self._own["last"].unsqueeze(1).to(logits.dtype), logits[:, :-1]], 1)
        said = tokens if tokens is not None else logits.argmax(-1)
        surprises = surprise(before, said)
        valid = call.valid if call.valid is not None else torch.ones_like(said, dtype=torch.bool)
        events = torch.stack([self._cut(row, surprises[row], valid[row], layers, call) for row in range(batch)])
        for held in layers:
            held.stat("event")[:, :, -call.length :] = events.unsqueeze(1).to(held.index.device)
        self._own["last"] = logits[:, -1].float().clone()

    def _cut(
        self, row: int, surprises: Tensor, valid: Tensor, layers: Sequence[LayerCache], call: ForwardCall
    ) -> Tensor:
        """The number of the event of each new token of one row."""
        past, event, length = self._own["past"][row], int(self._own["event"][row]), int(self._own["length"][row])
        # Numbers one after another, for which lists are many times faster than tensors
        lately = [one for one in past.tolist() if not math.isnan(one)]
        starts, numbers = [], []
        for at, (own, there) in enumerate(zip(surprises.tolist(), valid.tolist(), strict=True)):
            if there:
                if length and (own > self._threshold(lately) or length >= self.largest):
                    event, length = event + 1, 0
                    starts.append(at)
                length += 1
                lately = [*lately, own][-self.spread :]
            numbers.append(float(event))
        found = torch.tensor(numbers)
        past.copy_(torch.tensor([math.nan] * (self.spread - len(lately)) + lately))
        self._own["event"][row], self._own["length"][row] = event, length
        if self.refine == "none" or not starts:
            return found
        moved = self._refined(starts, self.graph(layers, call, row))
        self._own["length"][row] += starts[-1] - moved[-1]
        return found[starts[0]] - 1 + torch.bucketize(torch.arange(len(found)), torch.tensor(moved), right=True).float()

    def _threshold(self, lately: list[float]) -> float:
        """The surprise above which an event begins: so many deviations above the mean of what came lately."""
        if len(lately) < 2:
            return math.inf
        mean = sum(lately) / len(lately)
        squares = sum((one - mean) ** 2 for one in lately)
        return mean + self.gamma * math.sqrt(squares / (len(lately) - 1))

    def graph(self, layers: Sequence[LayerCache], call: ForwardCall, row: int) -> Tensor:
        """How the new tokens of a row hang together, (n, n): products of their keys without positions, of all heads of
        the later layers added up.
        """
        first = self.refine_from_layer if self.refine_from_layer is not None else 5 * len(layers) // 8
        if first >= len(layers):
            raise UsageError(f"the graph was to be made from layer {first} on, and the model has {len(layers)}")
        ties = torch.zeros(call.length, call.length, device=layers[0].index.device)
        for held in layers[first:]:
            keys = held.keys[row, :, -call.length :].float()
            if held.rotary is not None:
                keys = held.rotary.turn(keys, -call.positions[row].to(keys.device))
            if call.valid is not None:
                keys = keys * call.valid[row, :, None].to(keys)
            ties += (keys @ keys.transpose(1, 2)).sum(0).to(ties)
        return ties

    def _refined(self, starts: list[int], ties: Tensor) -> list[int]:
        """Each boundary moves back to the best cut after the one before it, seen with half an event around."""
        moved, before = [], 0
        for start in starts:
            if start - before > 1:
                half = (start - before) // 2
                low, high = max(0, before - half), min(len(ties), start + half)
                part = ties[low:high, low:high]
                start = low + refined(part, self.refine, before + 1 - low, start - low)
            moved.append(start)
            before = start
        return moved

    # Recall

    def recalled(self, search: Search) -> Found:
        among, scores = search.among, search.scores()
        # What queries would attend to, not plain products, in which one head or one direction common to all drowns the rest
        shares = hidden(scores, among).softmax(-1, torch.float32)
        alike = shares.mean((2, 3)).amax(1)
        # All heads of a layer hold the same tokens
        events = search.bank.of(search.held.stat("event"))[:, 0]
        rows = [
            self._recall(
                row, search.held.layer, events[row], alike[row], None if among is None else among[row, 0, 0, 0]
            )
            for row in range(len(events))
        ]
        places = pad_sequence(rows, batch_first=True, padding_value=-1) if len(rows) > 1 else rows[0].unsqueeze(0)
        there = None if len(rows) == 1 else (places >= 0)[:, None, None, None]
        places = places.clamp(min=0)
        chosen = scores.gather(-1, places[:, None, None, None].expand(*scores.shape[:4], -1))
        return Found(places.unsqueeze(1).expand(-1, scores.shape[1], -1), there, chosen)

    def _recall(self, row: int, layer: int, events: Tensor, alike: Tensor, among: Tensor | None) -> Tensor:
        """Which places of the bank one row recalls, (k,) int64; their `events` ascend."""
        if among is not None:
            places = among.nonzero().flatten()
            return places[self._recall(row, layer, events[places], alike[places], None)]
        if not len(events):
            return events.new_zeros(0, dtype=torch.int64)
        similar = self._likest(events, alike)
        beside = [number for one in similar for number in (one - 1, one + 1)] if self.contiguous else []
        queue = known = self._own["neighbours"][row, layer].tolist() if self.contiguous else []
        spans = self._spans(events, {*similar, *beside, *queue})
        new = [number for number in beside if number in spans and number not in {*similar, *queue}]
        queue = (new + queue)[: self.contiguous]
        if queue != known:
            self._own["neighbours"][row, layer] = torch.tensor(queue)
        wanted = sorted(spans[number] for number in {*similar, *queue} if number in spans)
        return torch.cat([torch.arange(*span, device=events.device) for span in wanted])

    def _likest(self, events: Tensor, alike: Tensor) -> list[int]:
        """The events of the tokens that are most alike, the first of them first."""
        count = min(len(events), 16 * self.similar)
        while True:
            found = list(dict.fromkeys(events[alike.topk(count).indices].int().tolist()))
            if len(found) >= self.similar or count == len(events):
                return found[: self.similar]
            count = min(len(events), 4 * count)

    @staticmethod
    def _spans(events: Tensor, numbers: set[int]) -> dict[int, tuple[int, int]]:
        """Where among ascending `events` those of these numbers are, first and end; without those that are not there."""
        asked = sorted(numbers)
        given = torch.tensor(asked, dtype=events.dtype, device=events.device)
        firsts, ends = (torch.searchsorted(events, given, right=right).tolist() for right in (False, True))
        return {number: (first, end) for number, first, end in zip(asked, firsts, ends, strict=True) if end > first}

    # What is kept besides entries

    def bytes_besides(self, shape: Shape) -> int:
        return 4 * (shape.vocabulary + self.spread) + 8 * (2 + shape.layers * max(1, self.contiguous))

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._own)

    def clear(self) -> None:
        self._own = {}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._own = {name: tensor.clone() for name, tensor in tensors.items()}

    def reorder(self, rows: Tensor) -> None:
        self._own = {name: tensor.index_select(0, rows.to(tensor.device)) for name, tensor in self._own.items()}
