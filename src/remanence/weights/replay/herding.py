"""Herding: exemplars whose mean stays close to the mean of their class, and a memory that keeps them.

Source: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, 2017, arXiv:1611.07725.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from remanence.randomness import generator
from remanence.streams.examples import Examples
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Context
from remanence.weights.replay.memory import Memory


def herd(features: Tensor, count: int) -> Tensor:
    """Pick rows one by one so that the mean of the picked stays closest to the mean of all.

    Parameters
    ----------
    features:
        (n, width) of one class; each row is normalised to length one.
    count:
        How many to pick (at most n are).

    Returns
    -------
    Tensor
        (min(count, n),) int64: positions in the order in which they were picked; any beginning of it is
        what herding fewer rows would have picked.

    Example
    -------
    >>> herd(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 2).tolist()
    [2, 0]
    """
    rows = normalize(features.double(), dim=1)
    mean = rows.mean(0)
    own, towards = rows.square().sum(1), rows @ mean
    with_chosen = torch.zeros_like(own)  # each row's product with the sum of those picked
    chosen_sum, taken = torch.zeros_like(mean), torch.zeros_like(own)
    picks = []
    for k in range(1, min(count, len(rows)) + 1):
        distance = (own + 2 * with_chosen) / k**2 - 2 * towards / k + taken  # terms equal for all rows left out
        pick = int(distance.argmin())
        picks.append(pick)
        taken[pick] = torch.inf
        chosen_sum += rows[pick]
        with_chosen += rows @ rows[pick]
    return torch.tensor(picks, dtype=torch.int64)


class Exemplars(Memory):
    """A memory shared out equally among the classes seen, each row with its rank in the herding.

    Giving up rows means giving up the highest ranks first, so what stays of a class is what herding
    fewer rows would have kept.
    """

    @property
    def ranks(self) -> Tensor:
        return self.extra("rank")[: len(self)]

    def select(self, context: Context, examples: Examples, classes: int) -> Update:
        """Share the room out among `classes`, and herd those of the examples that are not held yet.

        Reads the examples once, in evaluation mode; returns what that cost.
        """
        share = max(1, self.size // max(classes, 1))
        if len(self):
            self.keep((self.ranks < share).nonzero().squeeze(1))
        found = list(context.chunks(examples))
        features = torch.cat([context.features(rows.x) for rows in found])
        x, y, ids = (torch.cat(column) for column in zip(*found, strict=True))
        held = set(self.y[: len(self)].tolist())
        for label in sorted(set(y.tolist()) - held):
            mine = (y == label).nonzero().squeeze(1)
            picks = mine[herd(features[mine], min(share, self.size - len(self))).to(mine.device)]
            if len(picks):
                slots = torch.arange(len(self), len(self) + len(picks))
                rows = Batch(x[picks], y[picks], ids[picks], len(picks))
                self.write(slots, rows, torch.arange(len(picks)), {"rank": torch.arange(len(picks))})
        return Update(forwards=len(y))

    def share(self, k: int, per_epoch: int, context: Context) -> Tensor:
        """Slots to rehearse beside update `k`, so that each row passes once in the `per_epoch` updates of an epoch."""
        epoch, place = divmod(k, per_epoch)
        order = torch.randperm(len(self), generator=generator(context.seed, "exemplars", context.experience, epoch))
        return order[place * len(self) // per_epoch : (place + 1) * len(self) // per_epoch]

    def balanced(self) -> Tensor:
        """Slots of equally many rows of each class, the first in their rank."""
        counts = torch.unique(self.y[: len(self)], return_counts=True)[1]
        order = torch.argsort(self.ranks, stable=True)
        grouped = order[torch.argsort(self.y[order], stable=True)]
        starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        within = torch.arange(len(self), device=counts.device) - starts
        return grouped[within < counts.min()].sort().values

    def resize(self, size: int, generator: torch.Generator) -> None:
        """Change the capacity; the highest ranks are given up first."""
        if len(self) > size:
            self.keep(torch.argsort(self.ranks, stable=True)[:size].sort().values)
        super().resize(size, generator)
