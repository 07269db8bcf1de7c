"""What every cache policy decides: which entries of a layer are worth keeping, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from remanence.context.caches.attention import attention, visible
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.key_compression import KeyCompression
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.supported import Shape
from remanence.errors import UsageError

Positions = Literal["closed", "original"]


class Policy:
    """A way to keep a cache small.

    A subclass says in `sees` what it must see besides keys and values, in `entry_stats` which numbers it keeps with each
    entry, and overrides `score`; those that change what they keep, or what a query reads, override more. Its
    hyperparameters are those of its constructor. Sinks, the newest entries, padding, positions, budgets, batches,
    grouped queries, saving and freeing are the business of the cache.

    Attributes
    ----------
    sees:
        Of ``"attention"`` (weights, given to `on_attention`), ``"queries"`` (given to `on_attention` without weights) and
        ``"logits"`` (given to `on_logits`). With any of them the model must be read inside ``with cache.attach(model):``.
    entry_stats:
        Names of numbers (float32) kept with each entry; a new entry has 0.
    rows_apart:
        Whether a row of a batch is read as it would be alone; not so where rows share a decision, such as how many
        entries a layer may hold.
    sinks, recent:
        The first and the newest entries of a row, which are never let go (tokens, 0 or more).
    positions:
        ``"closed"``: where entries are let go the gap is closed, so that positions never exceed what the model was
        trained for; ``"original"``: every entry keeps the distance that its token has in the text.
    key_compression:
        How the keys of older entries are held in fewer numbers; None where all are held whole.
    """

    runner: ClassVar[str] = "remanence.context.runner:POLICY"
    small: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it is quick to test."""
    tasks: ClassVar[frozenset[str]] = frozenset({"answering"})
    training_settings_used: ClassVar[frozenset[str]] = frozenset()
    """No training setting: nothing is trained."""
    sees: ClassVar[frozenset[str]] = frozenset()
    entry_stats: ClassVar[tuple[str, ...]] = ()
    rows_apart: ClassVar[bool] = True
    sinks: int = 0
    recent: int = 1
    positions: Positions = "closed"
    key_compression: KeyCompression | None = None

    def newest(self, capacity: int) -> int:
        """How many of the newest entries a layer never lets go when it may hold so many; by default `recent`."""
        return self.recent

    def score(self, held: LayerCache) -> Tensor:
        """(batch, heads, count), or broadcast to it: entries of the lowest score go first. By default the oldest do."""
        return held.index.double()

    def merge(self, held: LayerCache, kept: Tensor, gone: Tensor) -> None:
        """Change entries that stay, just before others go.

        Parameters
        ----------
        held:
            The layer; marks may be changed in place, keys and values by `held.replace`.
        kept, gone:
            (batch, heads, m) int64: places of the entries that stay, and of those that go; among the latter
            may be padding.
        """

    def on_attention(self, held: LayerCache, query: Tensor, weights: Tensor | None, call: ForwardCall) -> None:
        """A layer has answered a call of the model; its new entries are the last ones.

        Parameters
        ----------
        held:
            The layer with the new entries.
        query:
            (batch, query heads, n, features), rotated.
        weights:
            (batch, query heads, n, count) attention, or None if only queries were asked for.
        call:
            The call: how many tokens are new, which of them are padding.
        """

    def on_logits(self, layers: Sequence[LayerCache], tokens: Tensor | None, logits: Tensor, call: ForwardCall) -> None:
        """The model has answered: ``logits`` (batch, n, vocabulary) at the new ``tokens`` (batch, n)."""

    def on_forward_end(self, layers: Sequence[LayerCache], base: Tensor, limit: int) -> None:
        """A call has ended, and nothing was let go yet.

        Parameters
        ----------
        layers:
            With the new entries.
        base:
            (batch,) int64: the position of the next token.
        limit:
            How many positions the model has.
        """

    def positioned(self, held: LayerCache) -> Tensor:
        """(batch, heads, count) bool: the entries that have a place in the sequence of positions, by default all."""
        return held.valid

    def visible(self, held: LayerCache, call: ForwardCall, seen: int) -> Tensor | None:
        """What the new tokens may see after `seen` others of the entries that are seen by their order, by default all.

        As `attention.visible` gives it.
        """
        return visible(held.index, call, seen)

    def attend(
        self, held: LayerCache, query: Tensor, visible: Tensor | None, scaling: float, call: ForwardCall
    ) -> tuple[Tensor, Tensor | None]:
        """What queries read from a layer, new entries included.

        Parameters
        ----------
        held:
            The layer with the new entries.
        query:
            (batch, query heads, n, features), rotated.
        visible:
            (batch, heads, n, m) bool, or broadcast to it: what a query may see of the entries that are seen by their
            order, as `visible` gave it; None where it may see all of them.
        scaling:
            Factor of the scores.
        call:
            The call.

        Returns
        -------
        output, weights:
            (batch, query heads, n, features), and the attention (batch, query heads, n, count) if the policy
            needs it.
        """
        asked = "attention" in self.sees
        return attention(query, held.keys, held.values, visible, scaling, weights=asked, causal=call.first)

    def capacities(self, layers: Sequence[LayerCache], total: int) -> list[int]:
        """Entries for each layer, `total` of them together at most; by default the same for all.

        Asked before entries are let go; the answer may differ from call to call.
        """
        return [total // len(layers)] * len(layers)

    def bytes_per_entry(self, keys: Tensor, values: Tensor, *, turned: bool) -> int:
        """Bytes that an entry of one row takes in a layer: keys and values (batch, heads, n, features) as they come."""
        heads = keys.shape[1]
        vectors = keys.shape[3] * keys.element_size() + values.shape[3] * values.element_size()
        return heads * (vectors + 4 + 4 * len(self.entry_stats) + 4 * turned)

    def bytes_besides(self, shape: Shape) -> int:
        """The most bytes that it holds for one row of a batch besides the entries: in `held.besides` of all layers."""
        return 0

    def smallest(self) -> int:
        """The fewest entries of a layer that it can work with: what is never let go, and room for a new one."""
        kept = self.sinks + max(1, self.recent) + 1
        return kept if self.key_compression is None else max(kept, self.key_compression.whole + 2)

    # What is kept besides entries. What belongs to one layer goes to `held.besides`, where all of this is done

    def tensors(self) -> dict[str, Tensor]:
        """Tensors that the policy itself holds; counted, saved and reopened."""
        return {}

    def set_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""

    def structure(self) -> dict[str, Any]:
        """JSON-able; what else it must remember."""
        return {}

    def set_structure(self, structure: dict[str, Any]) -> None:
        """Take back what `structure` gave."""

    def clear(self) -> None:
        """Forget what is kept besides entries."""

    def reorder(self, rows: Tensor) -> None:
        """The batch becomes these rows of itself (beam search)."""

    # Used by the cache

    def choose(self, held: LayerCache, capacity: int) -> tuple[Tensor, Tensor]:
        """Places of the entries that stay and of those that go, each (batch, heads, m) int64 and ascending."""
        recent = self.newest(capacity)
        if capacity < self.sinks + recent:
            raise UsageError(
                f"layer {held.layer} may hold {capacity} entries, fewer than {self.sinks} sinks and {recent} "
                "recent ones: give a larger budget or fewer of these"
            )
        index, valid = held.index, held.valid
        scores = self.score(held).expand(index.shape).clone()
        rank = valid.int().cumsum(2)
        after = valid.int().flip(2).cumsum(2).flip(2)
        if self.sinks:
            scores[index.ge(0) & (index < self._first(index, valid) + self.sinks)] = torch.inf
        scores[(after <= recent) & (rank > 0)] = torch.inf
        scores[~valid] = -torch.inf
        # Of equal score the newer stay
        order = scores.sort(dim=2, stable=True).indices
        gone, kept = order[:, :, : held.count - capacity], order[:, :, held.count - capacity :]
        return kept.sort(2).values, gone.sort(2).values

    @staticmethod
    def _first(index: Tensor, valid: Tensor) -> Tensor:
        """The number of the first token of each row that is still there, (batch, heads, 1)."""
        return index.masked_fill(~valid, torch.iinfo(index.dtype).max).amin(2, keepdim=True)
