"""Memory layers at scale: product-key lookups of several layers in one shared pool of values, gated by the input.

What is remembered lies in the pool, which all layers read and write; each has sub-keys, a gate and a projection
of its own. The pool costs n² × width numbers once, however many layers share it, and a read costs little more
than two products with width × width matrices.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.weights.modules.product_keys import ProductKeyLayer, ProductKeys, Values


@system(
    "memory-layers",
    paper=Paper(
        "Memory Layers at Scale",
        "Berges, Oğuz, Haziza, Yih, Zettlemoyer, Ghosh",
        2024,
        "2412.09764",
        106,
    ),
    baseline="dense",
)
class MemoryLayers(ProductKeyLayer):
    """Memory+, a product-key memory whose output is gated by its input, in place of a feed-forward layer.

    With the sum y of the values that an input x reads, it gives W₂ (y ⊙ silu(W₁ x)).

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
    normalise:
        Normalise queries and sub-keys (qk-normalisation), which keeps large memories in small models stable.
    pool:
        The values, to share them with other layers; its own if left out.
    sparse:
        Give the values a gradient of only the rows that were read, for `torch.optim.SparseAdam`.

    Shapes
    ------
    ``forward(x)`` reads (…, width) and gives (…, width).

    Raises
    ------
    UsageError
        If a hyperparameter is out of range, a shared pool has another size, or an input another width.

    Example
    -------
    >>> first, second = MemoryLayers.sharing(2, 8, keys=16, knn=4, key_width=6)
    >>> first.values is second.values, sum(p.numel() for p in nn.ModuleList([first, second]).parameters())
    (True, 3536)

    References
    ----------
    Berges, Oğuz, Haziza, Yih, Zettlemoyer, Ghosh, Memory Layers at Scale, 2024, arXiv:2412.09764.

    Departures
    ----------
    Qk-normalisation is a layer normalisation of both halves of queries and sub-keys with learned gains, after
    which scores are divided by √key_width; the authors' code has none of it, the paper names it without an equation.
    The pool lies on one device: it is not split over several.
    """

    @validated
    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="features of an input and of an output")],
        keys: Annotated[int, Field(ge=1, description="sub-keys n in each half; n² values")] = 1024,
        heads: Annotated[int, Field(ge=1, description="heads")] = 4,
        knn: Annotated[int, Field(ge=1, description="slots that a head reads")] = 32,
        key_width: Annotated[int, Field(ge=2, description="numbers in a query")] = 512,
        normalise: Annotated[bool, Field(description="qk-normalisation")] = False,
        pool: Annotated[Values | None, Field(description="values shared with other layers")] = None,
        sparse: Annotated[bool, Field(description="sparse gradient of the values")] = False,
    ) -> None:
        if pool is not None and pool.weight.shape[1] != width:
            raise UsageError(
                f"the pool holds values of width {pool.weight.shape[1]}, and the layer's is {width}: give both one width"
            )
        query = nn.Linear(width, heads * key_width)
        nn.init.xavier_uniform_(query.weight)
        values = Values(keys * keys, width, sparse=sparse) if pool is None else pool
        super().__init__(query, ProductKeys(keys, key_width, heads, knn, normalise=normalise), values)
        self.gate = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        for layer in (self.gate, self.project):
            nn.init.normal_(layer.weight, std=width**-0.5)

    @classmethod
    def sharing(
        cls, layers: int, width: int, *, keys: int = 1024, sparse: bool = False, **settings: Any
    ) -> list[MemoryLayers]:
        """As many layers with one pool; settings are those of the constructor."""
        pool = Values(keys * keys, width, sparse=sparse)
        return [cls(width, keys=keys, pool=pool, **settings) for _ in range(layers)]

    def forward(self, x: Tensor) -> Tensor:
        """What inputs (…, width) read, gated and projected, (…, width)."""
        fetched = super().forward(x)
        projected: Tensor = self.project(fetched * silu(self.gate(x)))
        return projected

    def flops(self) -> int:
        """Multiplications and additions for one input, the sorting left out."""
        return super().flops() + 4 * self.width * self.width
