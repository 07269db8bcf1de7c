"""Averaging entries, one after another, into the modes that are most like them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from remanence.context.caches.layer_cache import SHORTEST

TOGETHER = 64
"""How many entries are compared with the modes at once; no more than memory asks for."""

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass
class Consolidation:
    """Entries of several rows that become parts of modes, or modes.

    It goes from entry to entry, as each may change what the next is compared with; for so little at a time numpy is
    faster than torch.

    Parameters
    ----------
    keys:
        (rows, n, features) float32 on the processor; those of modes are changed in place.
    lengths:
        (rows, n) float32: how long the keys of modes and of what comes are; 0 for the others.
    tokens:
        (rows, n) float32: how many tokens an entry stands for, changed in place.
    modes:
        (rows, n) bool: which entries are modes, changed in place.
    novelty:
        The cosine from which an entry is averaged into a mode.

    Attributes
    ----------
    merges:
        Row, mode and entry of each that was averaged, in order.
    """

    keys: Tensor
    lengths: Tensor
    tokens: Tensor
    modes: Tensor
    novelty: float

    def __post_init__(self) -> None:
        self.merges: list[tuple[Numbers, Numbers, int]] = []
        # Zeros for what is neither a mode nor comes, so that nothing is divided by 0
        self._units = self.keys / self.lengths.masked_fill(self.lengths == 0, torch.inf).unsqueeze(2)

    def merge(self, coming: Tensor) -> None:
        """Merge the entries ``coming`` (rows, n) bool from left to right."""
        for places in torch.split(coming.any(0).nonzero().flatten(), TOGETHER):
            self._merge(coming[:, places].numpy(), places)

    def _merge(self, coming: Flags, places: Tensor) -> None:
        own = self._units[:, places]
        # Compared all at once; again only with a mode that changed meanwhile, and with those that begin among them
        hidden = torch.zeros_like(self.lengths).masked_fill_(~self.modes, -torch.inf).unsqueeze(1)
        cosine = torch.baddbmm(hidden, own, self._units.transpose(1, 2)).numpy()
        nearest = cosine.argmax(2)
        highest = np.take_along_axis(cosine, nearest[:, :, None], 2)[:, :, 0]
        among = (own @ own.transpose(1, 2)).numpy()
        run = _Run(own.numpy(), cosine, highest, nearest)
        modes = self.modes.numpy()
        for number, place in enumerate(places.tolist()):
            run.look_again(number)
            merged = coming[:, number] & (run.highest[:, number] >= self.novelty)
            begun = np.flatnonzero(coming[:, number] & ~merged)
            if len(begun):
                modes[begun, place] = True
                run.begin(begun, place, among[begun, :, number])
            rows = np.flatnonzero(merged)
            if len(rows):
                slots = run.nearest[rows, number]
                run.change(number, rows, slots, self._average(rows, slots, place))
                self.merges.append((rows, slots, place))

    def _average(self, rows: Numbers, slots: Numbers, place: int) -> Floats:
        """The entry at a place becomes part of modes; their keys as unit vectors."""
        keys, tokens, units = self.keys.numpy(), self.tokens.numpy(), self._units.numpy()
        weight = tokens[rows, slots][:, None]
        mean: Floats = (keys[rows, slots] * weight + keys[rows, place]) / (weight + 1)
        keys[rows, slots] = mean
        tokens[rows, slots] += 1
        unit: Floats = mean / np.maximum(np.sqrt((mean * mean).sum(1, keepdims=True)), np.float32(SHORTEST))
        units[rows, slots] = unit
        return unit


@dataclass
class _Run:
    """A few entries beside all modes: ``own`` (rows, few, features), ``cosine`` (rows, few, n), the best of each."""

    own: Floats
    cosine: Floats
    highest: Floats
    nearest: Numbers

    def __post_init__(self) -> None:
        self._changed: Flags = np.zeros(len(self.own), dtype=np.bool_)

    def look_again(self, number: int) -> None:
        """Find the best of an entry anew in rows where modes have changed."""
        rows = np.flatnonzero(self._changed)
        if len(rows):
            cosine = self.cosine[rows, number]
            self.nearest[rows, number] = best = cosine.argmax(1)
            self.highest[rows, number] = cosine[np.arange(len(rows)), best]

    def begin(self, rows: Numbers, place: int, alike: Floats) -> None:
        """The entry at a place is a mode; ``alike`` (len(rows), few) are its cosines."""
        self.cosine[rows, :, place] = alike
        better = alike > self.highest[rows]
        self.nearest[rows] = np.where(better, place, self.nearest[rows])
        self.highest[rows] = np.where(better, alike, self.highest[rows])

    def change(self, number: int, rows: Numbers, slots: Numbers, units: Floats) -> None:
        """Modes have other keys now, to be compared with what comes after an entry."""
        after = self.own[rows, number + 1 :]
        self.cosine[rows, number + 1 :, slots] = (after @ units[:, :, None])[:, :, 0]
        self._changed[rows] = True
