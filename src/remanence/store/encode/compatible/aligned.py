"""What two compatible encoders share: one vector that a new classifier reads, and the old class means read too."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from remanence.store.encode.compatible.head import EmbeddingHead, classification, required


class AlignedHead(EmbeddingHead):
    """A head whose vectors are classified twice: by the new classifier, and their first numbers by the old class means.

    A subclass says by `_kept` how the vector that is kept follows from the one that the classifier reads, and sets
    `alignment`, what the second term weighs.
    """

    alignment: float

    def forward(self, features: Tensor) -> Tensor:
        return self._kept(self._plain(features))

    def _plain(self, features: Tensor) -> Tensor:
        """What the classifier reads: unit rows."""
        return functional.normalize(self.body(features), dim=1)

    def _kept(self, plain: Tensor) -> Tensor:
        return plain

    def _loss(
        self,
        features: Tensor,
        columns: Tensor,
        classifier: nn.Linear,
        old: Tensor | None,
        prototypes: Tensor | None,
        teacher: Tensor | None,
    ) -> Tensor:
        plain = self._plain(features)
        means = required(prototypes, type(self).__name__.lower())
        aligned = classification(self.to_old(self._kept(plain)), means, columns)
        return classification(plain, classifier.weight, columns) + self.alignment * aligned
