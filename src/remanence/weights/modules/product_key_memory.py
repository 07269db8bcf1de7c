"""Product-key memory: a layer of very many values, of which an input reads the few whose keys its query is nearest to.

What is remembered lies in the values, one for each pair of sub-keys, and only the values that were read are
written by a gradient step. It costs n² × width numbers to hold, and to read 2 n products with half a query for
each head and the sum of heads × knn values, however large n² is.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.weights.modules.product_keys import ProductKeyLayer, ProductKeys, Values


@system(
    "product-key-memory",
    paper=Paper(
        "Large Memory Layers with Product Keys",
        "Lample, Sablayrolles, Ranzato, Denoyer, Jégou",
        2019,
        "1907.05242",
        116,
    ),
    baseline="dense",
)
class ProductKeyMemory(ProductKeyLayer):
    """Product-key memory, in place of a feed-forward layer.

    A query network q(x) = BatchNorm(W x + b) gives each head a query; the head scores every slot (i, j) by
    q₁·c_i + q₂·c'_j, keeps the `knn` best, and reads Σ softmax(score) · value. Heads have sub-keys of their own,
    share the values, and are summed. The paper trains values at four times the rate of all else: see
    `parameter_groups` in `product_keys`.

    Parameters
    ----------
    width:
        Features of an input and of an output (1 or more).
    keys:
        Sub-keys n in each half; n² values (1 or more).
    heads:
        Heads (1 or more).
    knn:
        Slots that a head reads (1 to n²).
    key_width:
        Numbers in a query, half for each sub-key (2 or more, even).
    batch_norm:
        Normalise queries over the batch, which spreads them over the keys.
    sparse:
        Give the values a gradient of only the rows that were read, for `torch.optim.SparseAdam`.

    Shapes
    ------
    ``forward(x)`` reads (…, width) and gives (…, width).

    Raises
    ------
    UsageError
        If a hyperparameter is out of range, or the last dimension of an input is not `width`.

    Example
    -------
    >>> import torch
    >>> memory = ProductKeyMemory(8, keys=16, knn=4, key_width=6)
    >>> tuple(memory(torch.zeros(2, 5, 8)).shape), memory.values.weight.shape[0]
    ((2, 5, 8), 256)

    References
    ----------
    Lample, Sablayrolles, Ranzato, Denoyer, Jégou, Large Memory Layers with Product Keys, 2019, arXiv:1907.05242.

    Departures
    ----------
    Of the knn² pairs of best sub-keys only those are summed that can be among the best knn, which changes no result.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of an input and of an output")],
        keys: Annotated[int, Field(ge=1, description="sub-keys n in each half; n² values")] = 512,
        heads: Annotated[int, Field(ge=1, description="heads")] = 4,
        knn: Annotated[int, Field(ge=1, description="slots that a head reads")] = 32,
        key_width: Annotated[int, Field(ge=2, description="numbers in a query")] = 512,
        batch_norm: Annotated[bool, Field(description="normalise queries over the batch")] = True,
        sparse: Annotated[bool, Field(description="sparse gradient of the values")] = False,
    ) -> None:
        query = nn.Sequential(nn.Linear(width, heads * key_width))
        if batch_norm:
            query.append(nn.BatchNorm1d(heads * key_width))
        super().__init__(query, ProductKeys(keys, key_width, heads, knn), Values(keys * keys, width, sparse=sparse))
