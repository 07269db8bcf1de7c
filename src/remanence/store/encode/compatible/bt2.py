"""Backward-compatible training with basis transformations: a few numbers more hold what the old space cannot.

A vector is an independently good vector and a few numbers in the old space, turned so that the first part of it
lies in the old space; the turns are orthonormal, so that nothing of the good vector is lost. It costs a model
that is trained without regard to the old one first, and two small rotations per text.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.randomness import derive
from remanence.registry import Paper, system
from remanence.store.encode.compatible.head import EmbeddingHead, classification, required
from remanence.store.encode.compatible.rotation import Rotation


@system(
    "bt2",
    paper=Paper(
        "BT²: Backward-compatible Training with Basis Transformation",
        "Zhou, Li, Shrivastava, Zhao, Torralba, Tian, Lim",
        2023,
        "2211.03989",
        354,
    ),
    place="store",
    baseline="bct",
    variant="one update of the encoder, a head on features",
)
class BT2(EmbeddingHead):
    """Basis transformations.

    With φ (m numbers, unit length) the good vector and ψ (o numbers) a linear map of the features' code into
    the old space, of which the first e (unit length) are added, the vector is

        v = [R₂ u₁; u₂],   u = [ψ₁…ψₑ / |ψ₁…ψₑ|; c R₁ φ],

    with u₁ the first o numbers of u and R₁, R₂ rotations, divided by √(1 + c²). So ⟨v, v'⟩ is that of
    [ψₑ; c φ]: what φ knows is all there. R₂ u₁ is held to the old vectors. The loss is

        CE(φ) + λ₁ (1 - cos(φ, φ')) + λ₂ CE_old(R₂ u₁) + λ₃ (1 - cos(R₂ u₁, old)),

    with φ' the vectors of a model trained alone, and CE_old the classification by the old class means.

    Parameters
    ----------
    inputs, old_dimension, hidden, lr, epochs, batch_size, seed:
        As in `EmbeddingHead`.
    new_dimension:
        m, numbers of the good vector; as many as the old ones where it is left out.
    extra:
        e, numbers that are added (1 to `old_dimension`); vectors have m + e.
    spread:
        c, how much the good vector weighs.
    match_new, influence, match_old:
        λ₁, λ₂ and λ₃.

    Raises
    ------
    UsageError
        If a value is out of range, m + e is less than the old dimension, or the old vectors are not given.

    Example
    -------
    >>> features, labels = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
    >>> old = EmbeddingHead(4, 3, epochs=100, lr=0.03).fit(features, labels)(features).detach()
    >>> new = BT2(4, 3, extra=2, epochs=100, lr=0.03, seed=1).fit(features, labels, old)
    >>> vectors = new(features)
    >>> found = (new.to_old(vectors) @ old.T).argmax(1)
    >>> vectors.shape, bool((labels[found] == labels).all())
    (torch.Size([32, 5]), True)

    References
    ----------
    Zhou et al., BT²: Backward-compatible Training with Basis Transformation, 2022, arXiv 2211.03989, and the
    authors' published settings for CIFAR-100, which are the defaults.

    Departures
    ----------
    A small head on features instead of a deep network, cosines are multiplied by 16 before a softmax, and the
    rotations are Cayley's map of antisymmetric matrices, and begin as the identity.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        old_dimension: int,
        *,
        new_dimension: Annotated[int | None, Field(ge=1, description="m, numbers of the good vector")] = None,
        extra: Annotated[int, Field(ge=1, description="e, numbers added")] = 32,
        spread: Annotated[float, Field(gt=0, description="c, weight of the good vector")] = 2.0,
        match_new: Annotated[float, Field(ge=0, description="λ₁, to the model trained alone")] = 1.0,
        influence: Annotated[float, Field(ge=0, description="λ₂, of the old class means")] = 10.0,
        match_old: Annotated[float, Field(ge=0, description="λ₃, to the old vectors")] = 5.0,
        **others: Any,
    ) -> None:
        self.new_dimension = old_dimension if new_dimension is None else new_dimension
        if extra > old_dimension:
            raise UsageError(
                f"{extra} extra numbers were asked for, and the old space has {old_dimension}: ask for fewer"
            )
        self.extra, self.spread = extra, spread
        self.match_new, self.influence, self.match_old = match_new, influence, match_old
        others.pop("dimension", None)
        super().__init__(inputs, old_dimension, dimension=self.new_dimension + extra, **others)
        self.turn_new, self.turn_old = Rotation(self.new_dimension), Rotation(old_dimension)

    def _body(self) -> nn.Module:
        code = self.new_dimension + self.old_dimension
        return nn.ModuleDict(
            {
                "code": nn.Sequential(nn.Linear(self.inputs, self.hidden), nn.ReLU(), nn.Linear(self.hidden, code)),
                "old": nn.Linear(code, self.old_dimension),
            }
        )

    def _read(self) -> int:
        return self.new_dimension

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """φ (n, m), unit rows, and the first numbers of ψ (n, e), unit rows."""
        body = cast(nn.ModuleDict, self.body)
        code = body["code"](features)
        old = body["old"](functional.relu(code))
        return (
            functional.normalize(code[:, : self.new_dimension], dim=1),
            functional.normalize(old[:, : self.extra], dim=1),
        )

    def merged(self, good: Tensor, old: Tensor) -> Tensor:
        """v (n, m + e) of φ and the added numbers, unit rows."""
        u = torch.cat([old, self.turn_new(self.spread * good)], dim=1)
        v = torch.cat([self.turn_old(u[:, : self.old_dimension]), u[:, self.old_dimension :]], dim=1)
        return v / math.sqrt(1 + self.spread**2)

    def forward(self, features: Tensor) -> Tensor:
        return self.merged(*self.parts(features))

    def _teacher(self, features: Tensor, labels: Tensor) -> Tensor | None:
        alone = EmbeddingHead(
            self.inputs,
            self.new_dimension,
            hidden=self.hidden,
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=derive(self.seed, "alone"),
        ).fit(features, labels)
        self.updates += alone.updates
        with torch.no_grad():
            found: Tensor = alone(features)
        return found

    def _loss(
        self,
        features: Tensor,
        columns: Tensor,
        classifier: nn.Linear,
        old: Tensor | None,
        prototypes: Tensor | None,
        teacher: Tensor | None,
    ) -> Tensor:
        old, prototypes = required(old, "bt2"), required(prototypes, "bt2")
        good, added = self.parts(features)
        held = self.to_old(self.merged(good, added))
        loss = classification(good, classifier.weight, columns)
        loss = loss + self.influence * classification(held, prototypes, columns)
        loss = loss + self.match_old * (1 - (held * old).sum(1).mean())
        if teacher is not None:
            loss = loss + self.match_new * (1 - (good * teacher).sum(1).mean())
        return loss

    def arguments(self) -> dict[str, Any]:
        names = ("new_dimension", "extra", "spread", "match_new", "influence", "match_old")
        return {**super().arguments(), **{name: getattr(self, name) for name in names}}
