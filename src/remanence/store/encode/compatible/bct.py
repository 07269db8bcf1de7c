"""Backward-compatible training: the old encoder's class means are a second, frozen classifier.

What is remembered of the old encoder is a direction per class, while training; vectors are used as they are,
and their first numbers are compared with the old ones. It costs a second softmax per update and nothing after.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.store.encode.compatible.aligned import AlignedHead


@system("bct", place="store")
class BCT(AlignedHead):
    """Classification of the vectors, plus α times classification of their first numbers by the old class means.

    Parameters
    ----------
    inputs, old_dimension, dimension, hidden, lr, epochs, batch_size, seed:
        As in `EmbeddingHead`.
    influence:
        α, the weight of the second term.

    Raises
    ------
    UsageError
        If a value is out of range, or the old vectors are not given.

    Example
    -------
    >>> import torch
    >>> features, labels = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
    >>> from remanence.store.encode.compatible.head import EmbeddingHead
    >>> old = EmbeddingHead(4, 3, epochs=100, lr=0.03).fit(features, labels)(features).detach()
    >>> new = BCT(4, 3, dimension=5, epochs=100, lr=0.03, seed=1).fit(features, labels, old)
    >>> found = (new.to_old(new(features)) @ old.T).argmax(1)
    >>> bool((labels[found] == labels).all())
    True

    References
    ----------
    Shen, Xiong, Xia, Soatto: Towards Backward-Compatible Representation Learning, 2020, arXiv 2003.11942.

    Departures
    ----------
    A small head on features instead of a deep network. The old classifier's rows are the directions of the old
    vectors' class means, for classes that the old encoder never saw too. With a `dimension` above the old
    one, only the first numbers are held to the old space; the paper has equal dimensions.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        old_dimension: int,
        *,
        influence: Annotated[float, Field(ge=0, description="weight α of the old class means")] = 10.0,
        **others: Any,
    ) -> None:
        super().__init__(inputs, old_dimension, **others)
        self.influence = self.alignment = influence

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "influence": self.influence}
