"""Product keys: the exact nearest of n² keys found among n in each half, and the values that they fetch.

What is remembered are the sub-keys and one value for each pair of them; they are written by gradient and read
by the few slots a query selects. A lookup costs 2 n products of half a query and a sort of about k ln k sums,
where comparing all keys would cost n².
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from remanence.errors import UsageError


@functools.lru_cache(maxsize=64)
def _reachable(count: int, keys: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The pairs of ranks, from 0, that can be among the best `count` sums.

    A pair of ranks i and j has (i + 1)(j + 1) − 1 pairs that are at least as good, so it is needed only while
    (i + 1)(j + 1) ≤ count: some k ln k of the k² pairs.
    """
    pairs = [(i, j) for i in range(min(count, keys)) for j in range(min(count // (i + 1), keys))]
    first, second = zip(*pairs, strict=True)
    return first, second


def product_topk(first: Tensor, second: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best sums of one score from each half, exactly.

    Parameters
    ----------
    first, second:
        (…, n) scores of the sub-keys of each half.
    count:
        How many sums (1 to n²).

    Shapes
    ------
    Returns the sums (…, count), best first, and their slots (…, count) int64, where sub-keys i and j make up
    slot ``n × i + j``.

    Raises
    ------
    UsageError
        If the halves differ in shape, or more sums are asked for than there are.

    Example
    -------
    >>> sums, slots = product_topk(torch.tensor([5.0, 1.0, 4.0]), torch.tensor([0.0, 3.0, 1.0]), 3)
    >>> sums.tolist(), slots.tolist()
    ([8.0, 7.0, 6.0], [1, 7, 2])
    """
    if first.shape != second.shape:
        raise UsageError(
            f"the halves have scores {tuple(first.shape)} and {tuple(second.shape)}, expected one shape: "
            "give both halves as many sub-keys"
        )
    keys = first.shape[-1]
    if not 1 <= count <= keys * keys:
        raise UsageError(
            f"{count} slots were asked for, and {keys} sub-keys a half make {keys * keys}: ask for 1 to that"
        )
    best_first, place_first = first.topk(min(count, keys), dim=-1)
    best_second, place_second = second.topk(min(count, keys), dim=-1)
    ranks = _reachable(count, keys)
    row, column = (torch.tensor(rank, device=first.device) for rank in ranks)
    sums, chosen = (best_first[..., row] + best_second[..., column]).topk(count, dim=-1)
    slots = place_first.gather(-1, row[chosen]) * keys + place_second.gather(-1, column[chosen])
    return sums, slots


class ProductKeys(nn.Module):
    """Sub-keys of several heads, and the best slots of a query.

    Parameters
    ----------
    keys:
        Sub-keys n in each half; they address n² slots (1 or more).
    width:
        Numbers in a query, half for each sub-key (2 or more, even).
    heads:
        Heads, each with sub-keys of its own (1 or more).
    knn:
        Slots that a head selects (1 to n²).
    normalise:
        Normalise halves of queries and sub-keys to zero mean and unit variance, with a learned gain.
    """

    def __init__(self, keys: int, width: int, heads: int, knn: int, *, normalise: bool = False) -> None:
        super().__init__()
        if width % 2:
            raise UsageError(f"a query of {width} numbers has no two halves: give an even number")
        if knn > keys * keys:
            raise UsageError(f"knn is {knn}, and {keys} sub-keys a half make {keys * keys} slots: ask for at most that")
        self.count, self.width, self.heads, self.knn = keys, width, heads, knn
        self.keys = nn.Parameter(torch.empty(2, heads, keys, width // 2))
        bound = 1 / math.sqrt(width // 2)  # as a linear layer's over half a query; normalised keys forget their length
        nn.init.uniform_(self.keys, -bound, bound)
        self.norms = nn.ModuleList(nn.LayerNorm(width // 2) for _ in range(2)) if normalise else None

    @property
    def slots(self) -> int:
        """How many slots there are."""
        return self.count * self.count

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and slots (rows, heads, knn) of queries (rows, heads, width)."""
        halves = queries.view(*queries.shape[:2], 2, self.width // 2)
        keys, scale = self.keys, 1.0
        if self.norms is not None:
            halves, keys, scale = self.norms[0](halves), self.norms[1](keys), 1 / math.sqrt(self.width)
        first, second = (scale * torch.einsum("rhd,hkd->rhk", halves[:, :, half], keys[half]) for half in range(2))
        return product_topk(first, second, self.knn)

    def flops(self) -> int:
        """Multiplications and additions of one lookup, the sorting left out."""
        return 2 * self.heads * self.count * self.width


class Values(nn.Module):
    """A pool of values, of which each row reads a weighted sum of a few.

    Parameters
    ----------
    slots:
        Values (1 or more).
    width:
        Numbers in a value (1 or more).
    sparse:
        Give a gradient that holds only the rows that were read, for `torch.optim.SparseAdam`.
    """

    def __init__(self, slots: int, width: int, *, sparse: bool = False) -> None:
        super().__init__()
        self.sparse = sparse
        self.weight = nn.Parameter(torch.empty(slots, width))
        nn.init.normal_(self.weight, std=width**-0.5)

    def forward(self, slots: Tensor, weights: Tensor) -> Tensor:
        """Sums (rows, width) over the slots (rows, …) with their weights (rows, …)."""
        return embedding_bag(
            slots.flatten(1), self.weight, mode="sum", sparse=self.sparse, per_sample_weights=weights.flatten(1)
        )


def parameter_groups(model: nn.Module, lr: float, values_lr: float) -> list[dict[str, Any]]:
    """Groups for an optimizer: all but the values, then the values with a rate of their own and no weight decay.

    A value gets a gradient only when it is read, so it needs a higher rate than what every example moves.
    A pool that several layers share is named once.

    >>> model = nn.Sequential(nn.Linear(2, 2), Values(9, 2))
    >>> [(len(group["params"]), group["lr"]) for group in parameter_groups(model, 0.1, 0.4)]
    [(2, 0.1), (1, 0.4)]
    """
    pools = {id(module.weight) for module in model.modules() if isinstance(module, Values)}
    parameters = list(model.parameters())
    return [
        {"params": [parameter for parameter in parameters if id(parameter) not in pools], "lr": lr},
        {
            "params": [parameter for parameter in parameters if id(parameter) in pools],
            "lr": values_lr,
            "weight_decay": 0.0,
        },
    ]


@dataclass(frozen=True)
class KeyUsage:
    """How evenly slots are read.

    Parameters
    ----------
    used:
        The share of slots that were read at all (0 to 1).
    divergence:
        Kullback–Leibler divergence of the weights read from a uniform use of all slots, in nats (0 or more).
    """

    used: float
    divergence: float


def key_usage(read: Tensor) -> KeyUsage:
    """Statistics of the weights that each slot was read with, summed over many inputs, (slots,).

    >>> key_usage(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    KeyUsage(used=0.5, divergence=0.6931471805599453)
    """
    if not bool((read > 0).any()):
        raise UsageError("no slot was read: give the weights of at least one input")
    share = read.double() / read.double().sum()
    return KeyUsage(float((read > 0).double().mean()), math.log(len(read)) + float(torch.xlogy(share, share).sum()))


class ProductKeyLayer(nn.Module):
    """A query network, product keys and a pool of values: what layers over product keys have in common.

    Parameters
    ----------
    query:
        From inputs (rows, width) to queries (rows, heads × key width).
    keys:
        The sub-keys.
    values:
        The pool, as many values as the keys address.
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"
    """A layer learns from no stream by itself."""

    def __init__(self, query: nn.Module, keys: ProductKeys, values: Values) -> None:
        super().__init__()
        if len(values.weight) != keys.slots:
            raise UsageError(
                f"the pool holds {len(values.weight)} values, and {keys.count} sub-keys a half make {keys.slots} slots: "
                "give every layer that shares it as many keys"
            )
        self.query, self.keys, self.values = query, keys, values

    @property
    def width(self) -> int:
        """Features of an input and of an output."""
        return self.values.weight.shape[1]

    def select(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Slots and weights (rows, heads, knn) that inputs (…, width) read."""
        if not x.dim() or x.shape[-1] != self.width:
            raise UsageError(f"{type(self).__name__} was given {tuple(x.shape)}, expected (…, {self.width})")
        queries = self.query(x.reshape(-1, self.width)).view(-1, self.keys.heads, self.keys.width)
        scores, slots = self.keys(queries)
        return slots, scores.softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        """What inputs (…, width) read, (…, width)."""
        fetched: Tensor = self.values(*self.select(x))
        return fetched.view(x.shape)

    @torch.no_grad()
    def read(self, x: Tensor) -> Tensor:
        """The weights that each slot is read with by inputs (…, width), summed, (slots,)."""
        slots, weights = self.select(x)
        return weights.new_zeros(self.keys.slots).index_add_(0, slots.flatten(), weights.flatten())

    def usage(self, x: Tensor) -> KeyUsage:
        """How evenly inputs (…, width) read the slots; for more than one batch add up what `read` gives."""
        return key_usage(self.read(x))

    def flops(self) -> int:
        """Multiplications and additions for one input, the sorting left out."""
        heads = self.keys.heads
        return 2 * self.width * heads * self.keys.width + self.keys.flops() + 2 * heads * self.keys.knn * self.width
