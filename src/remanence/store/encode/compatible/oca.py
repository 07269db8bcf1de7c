"""Orthogonal compatible aligned vectors: more numbers than the old ones, and a rotation between two readings.

What classifies and what is compared with the old vectors read one vector in two bases, so that each may have the
directions it needs while the geometry is the same. It costs the extra numbers per vector, and one rotation while
it is trained or used.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.encode.compatible.aligned import AlignedHead
from remanence.store.encode.compatible.rotation import Rotation


@system(
    "oca",
    paper=Paper(
        "Backward-Compatible Aligned Representations via an Orthogonal Transformation Layer",
        "Ricci, Biondi, Pernici, Del Bimbo",
        2024,
        "2408.08793",
        421,
    ),
    place="store",
    baseline="bct",
    variant="one update of the encoder, a head on features",
)
class OCA(AlignedHead):
    """Orthogonal compatible alignment.

    With h the head's unit vector, the vector kept is v = R h, R a learnt rotation, so that ⟨v, v'⟩ = ⟨h, h'⟩.
    The classifier reads h; the first numbers of v, scaled to length 1, are classified by the old class means:

        CE(h) + λ CE_old(v₁…v_old).

    Parameters
    ----------
    inputs, old_dimension, dimension, hidden, lr, epochs, batch_size, seed:
        As in `EmbeddingHead`; what `dimension` has beyond the old one are the extra numbers.
    alignment:
        λ, the weight of the second term.

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
    >>> new = OCA(4, 3, dimension=5, epochs=100, lr=0.03, seed=1).fit(features, labels, old)
    >>> found = (new.to_old(new(features)) @ old.T).argmax(1)
    >>> bool((labels[found] == labels).all())
    True

    References
    ----------
    Ricci, Biondi, Pernici, Del Bimbo: Backward-Compatible Aligned Representations via an Orthogonal
    Transformation Layer, 2024, arXiv 2408.08793.

    Departures
    ----------
    Written from the abstract and summaries, the whole text not being at hand: that the classifier is free and
    linear, that the class means of old vectors are the old prototypes for all classes, and that the weight of
    the two terms is a constant are this library's choices. A small head on features instead of a deep network.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        old_dimension: int,
        *,
        alignment: Annotated[float, Field(ge=0, description="λ, weight of the old class means")] = 1.0,
        **others: Any,
    ) -> None:
        super().__init__(inputs, old_dimension, **others)
        self.alignment = alignment
        self.turn = Rotation(self.dimension)

    def _kept(self, plain: Tensor) -> Tensor:
        turned: Tensor = self.turn(plain)
        return turned

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "alignment": self.alignment}
