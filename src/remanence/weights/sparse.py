"""Masks and pruned tensors that weigh what they hold: a bit for each entry, and the entries that are left."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import UsageError


class PackedMask(nn.Module):
    """A mask of any shape in one bit for each entry, an eighth of what a bool tensor takes.

    Parameters
    ----------
    kind:
        The kind of bytes it is counted under.

    Example
    -------
    >>> mask = PackedMask()
    >>> mask.put(torch.eye(4, dtype=torch.bool))
    >>> mask.bits.nbytes, bool((mask.unpacked() == torch.eye(4)).all())
    (2, True)
    """

    def __init__(self, kind: str = "statistics") -> None:
        super().__init__()
        self.kind = kind
        self.shape: tuple[int, ...] = (0,)
        self.register_buffer("bits", torch.empty(0, dtype=torch.uint8))
        self.bits: Tensor

    def put(self, mask: Tensor) -> None:
        """Keep a bool mask."""
        if mask.dtype != torch.bool:
            raise UsageError(f"a mask of {mask.dtype} was given to pack, expected torch.bool")
        flat = mask.flatten().to(torch.uint8)
        filled = torch.cat([flat, flat.new_zeros(-len(flat) % 8)]).view(-1, 8)
        self.bits = (filled << torch.arange(8, dtype=torch.uint8, device=mask.device)).sum(1).to(torch.uint8)
        self.shape = tuple(mask.shape)

    def unpacked(self) -> Tensor:
        """The mask as a bool tensor."""
        places = torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        flat = (self.bits.unsqueeze(1) >> places) & 1
        return flat.flatten()[: math.prod(self.shape)].view(self.shape).bool()

    def structure(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.shape = tuple(structure["shape"])


class SparseTensor(nn.Module):
    """A tensor of which most entries are zero: those that are not, in order, and where they lie.

    Where they lie takes a bit for each entry, or four bytes for each that is left, whichever is less.

    Parameters
    ----------
    kind:
        The kind of bytes it is counted under.

    Example
    -------
    >>> pruned = SparseTensor()
    >>> pruned.put(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
    >>> pruned.dense().tolist(), pruned.values.tolist()
    ([[0.0, 2.0], [0.0, 0.0]], [2.0])
    """

    def __init__(self, kind: str = "snapshots") -> None:
        super().__init__()
        self.kind = kind
        self.mask = PackedMask(kind)
        self.register_buffer("values", torch.empty(0))
        self.register_buffer("places", torch.empty(0, dtype=torch.int32))
        self.values: Tensor
        self.places: Tensor

    def put(self, dense: Tensor) -> None:
        """Keep the entries that are not zero."""
        there = dense != 0
        self.values = dense[there].detach().clone()
        by_place = 32 * len(self.values) < dense.numel() <= torch.iinfo(torch.int32).max
        self.mask.put(torch.empty(0, dtype=torch.bool) if by_place else there)
        self.mask.shape = tuple(dense.shape)
        self.places = there.flatten().nonzero().squeeze(1).int() if by_place else self.places.new_empty(0)

    def dense(self) -> Tensor:
        """The whole tensor."""
        whole = self.values.new_zeros(math.prod(self.mask.shape))
        at = self.places.long() if len(self.places) else self._unpacked()
        whole[at] = self.values
        return whole.view(self.mask.shape)

    def _unpacked(self) -> Tensor:
        if not len(self.values):
            return self.places.long()
        return self.mask.unpacked().flatten().nonzero().squeeze(1)
