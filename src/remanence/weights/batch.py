"""The rows of one update, and which rows of an experience each update takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import derive


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one update: the new ones first, then those a memory gave back.

    Parameters
    ----------
    x:
        Raw inputs (n, *shape), or activations where `entry` names the layer they enter at.
    y:
        Labels (n,) int64, values (n,) float32, soft labels (n, classes) float32, or ``None``.
    ids:
        Stable ids (n,) int64.
    fresh:
        How many rows, from the first, are new.
    origin:
        (n - fresh,) int64: the slot of the memory that each remembered row came from.
    weight:
        (n,) float32: weight of each row in the objective.
    mask:
        (n, classes) bool: the classes among which a row competes.
    entry:
        Layer at which `x` enters (latent replay); ``"head"`` for features.
    latents:
        Rows that enter in the middle of the network beside those of `x`: activations (m, …) by the name of
        the layer before which they enter, ``"head"`` for features. In `y`, `ids` and all else they stand
        behind the rows of `x`, in this order.
    extras:
        What a memory kept beside its rows (logits, task ids…), aligned with the remembered rows.
    """

    x: Tensor
    y: Tensor | None
    ids: Tensor
    fresh: int
    origin: Tensor | None = None
    weight: Tensor | None = None
    mask: Tensor | None = None
    entry: str | None = None
    extras: dict[str, Tensor] | None = None
    latents: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def with_latents(self, entry: str, x: Tensor, y: Tensor, ids: Tensor, origin: Tensor | None = None) -> Batch:
        """The batch with rows behind its own that enter before the layer `entry`: activations (m, …) and labels.

        Example
        -------
        >>> new = Batch(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([7, 8]), fresh=2)
        >>> both = new.with_latents("head", torch.ones(1, 3), torch.tensor([2]), torch.tensor([9]))
        >>> len(both), len(both.x), both.y.tolist()
        (3, 2, [0, 1, 2])
        """
        if self.y is None or self.weight is not None or self.mask is not None:
            raise UsageError("rows that enter at a layer were added to a batch without targets, or weighed already")
        held = self.latents or {}
        if held and entry != list(held)[-1] and entry in held:
            raise UsageError(f"rows that enter at {entry!r} were added behind others: add those of one layer together")
        joined = {**held, entry: torch.cat([held[entry], x]) if entry in held else x}
        known = [rows for rows in (self.origin, origin) if rows is not None]
        return replace(
            self,
            y=torch.cat([self.y, y]),
            ids=torch.cat([self.ids, ids]),
            origin=torch.cat(known) if known else None,
            latents=joined,
        )


class BatchSampler:
    """Which rows of an experience each update cuts: ``sampler[k]`` is a tensor of positions.

    It is a function of the position alone, so that a resumed run goes on where it was. A part
    that reorders, resamples or repeats returns another built on this one.
    """

    def __init__(self, length: int, indices: Callable[[int], Tensor]) -> None:
        self._length, self._indices = length, indices

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> Tensor:
        return self._indices(k)


def plain_sampler(rows: int, size: int, epochs: int, seed: int, experience: int, *, ordered: bool) -> BatchSampler:
    """Batches of `size` of an experience's `rows`, shuffled anew each epoch, or in order where time gave it.

    Example
    -------
    >>> sampler = plain_sampler(5, 2, 1, 0, 0, ordered=True)
    >>> [sampler[k].tolist() for k in range(len(sampler))]
    [[0, 1], [2, 3], [4]]
    """
    per_epoch = -(-rows // size)
    orders: dict[int, Tensor] = {}

    def indices(k: int) -> Tensor:
        epoch, place = divmod(k, per_epoch)
        if ordered:
            return torch.arange(place * size, min((place + 1) * size, rows))
        if epoch not in orders:
            orders.clear()
            draw = torch.Generator().manual_seed(derive(seed, "order", experience, epoch))
            orders[epoch] = torch.randperm(rows, generator=draw)
        return orders[epoch][place * size : (place + 1) * size]

    return BatchSampler(per_epoch * epochs, indices)
