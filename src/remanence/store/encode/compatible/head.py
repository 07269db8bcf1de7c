"""A head that turns features into unit vectors by which things of one class are found, trained with no regard to others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from remanence.errors import Diverged, StateError, UsageError
from remanence.hyperparameters import validated
from remanence.randomness import derive, generator, global_generator
from remanence.state import read_state, write_state

SHARPNESS = 16.0
"""What cosines are multiplied with before a softmax: unscaled, those of a hundred classes hardly differ in it."""


class EmbeddingHead(nn.Module):
    """Features to unit vectors, by classification.

    Two layers map features to z (dimension), kept as z / |z|. While it learns, a linear classifier without
    bias reads the vectors; it is thrown away after.

    Parameters
    ----------
    inputs:
        Numbers per feature vector.
    old_dimension:
        Of the stored vectors; the first so many numbers of a vector are what is compared with them.
    dimension:
        Of the vectors (`old_dimension` or more); as many as the old ones where it is left out.
    hidden:
        Width of the layer between.
    lr, epochs, batch_size:
        Adam's learning rate at first, which falls by a cosine; passes over the data; rows per update.
    seed:
        From which every random number is derived.

    Raises
    ------
    UsageError
        If a value is out of range, or data does not fit the head.
    Diverged
        If the loss is no longer finite.

    Example
    -------
    >>> features, labels = torch.eye(4).repeat(8, 1), torch.arange(4).repeat(8)
    >>> head = EmbeddingHead(4, 3, epochs=100, lr=0.03).fit(features, labels)
    >>> vectors = head(features)
    >>> vectors.shape, bool((labels[(vectors @ vectors.T).argmax(1)] == labels).all())
    (torch.Size([32, 3]), True)
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"
    """Of no stream: it is measured by an experiment of its own."""

    @validated
    def __init__(
        self,
        inputs: int,
        old_dimension: int,
        *,
        dimension: Annotated[int | None, Field(ge=1, description="numbers per vector")] = None,
        hidden: Annotated[int, Field(ge=1, description="width of the layer between")] = 256,
        lr: Annotated[float, Field(gt=0, description="Adam's learning rate at first")] = 1e-3,
        epochs: Annotated[int, Field(ge=0, description="passes over the data")] = 100,
        batch_size: Annotated[int, Field(ge=1, description="rows per update")] = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inputs, self.old_dimension = inputs, old_dimension
        self.dimension = old_dimension if dimension is None else dimension
        if self.dimension < old_dimension:
            raise UsageError(
                f"vectors of {self.dimension} numbers were asked for, and the old ones have {old_dimension}: ask for as "
                "many or more"
            )
        self.hidden, self.lr, self.epochs, self.batch_size, self.seed = hidden, lr, epochs, batch_size, seed
        self.updates = 0
        with global_generator(derive(seed, "head")):
            self.body = self._body()

    def _body(self) -> nn.Module:
        return nn.Sequential(nn.Linear(self.inputs, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.dimension))

    def forward(self, features: Tensor) -> Tensor:
        """Unit vectors (n, dimension) of features (n, inputs)."""
        return functional.normalize(self.body(features), dim=1)

    def to_old(self, vectors: Tensor) -> Tensor:
        """The first numbers of the vectors, scaled to length 1 (n, old_dimension)."""
        return functional.normalize(vectors[:, : self.old_dimension], dim=1)

    @torch.inference_mode()
    def embed(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same as `forward` on arrays."""
        found: NDArray[np.float32] = self(torch.from_numpy(np.ascontiguousarray(features, np.float32))).numpy()
        return found

    @torch.enable_grad()
    def fit(self, features: Tensor, labels: Tensor, old: Tensor | None = None) -> Self:
        """Train on rows with their classes, and on the old encoder's vectors of the same rows where those count.

        Shapes
        ------
        features (n, inputs), labels (n,) whole numbers, old (n, old_dimension) unit rows.
        """
        self._check(features, labels, old)
        classes, columns = torch.unique(labels, return_inverse=True)
        prototypes = None if old is None else class_means(old, columns, len(classes))
        teacher = self._teacher(features, labels)
        with global_generator(derive(self.seed, "classifier")):
            classifier = nn.Linear(self._read(), len(classes), bias=False)
        self.train()
        for rows in self._batches(len(features), [*self.parameters(), *classifier.parameters()]):
            of_teacher = None if teacher is None else teacher[rows]
            of_old = None if old is None else old[rows]
            self._step(self._loss(features[rows], columns[rows], classifier, of_old, prototypes, of_teacher))
        return self.eval()

    def _read(self) -> int:
        """How many numbers the classifier reads."""
        return self.dimension

    def _teacher(self, features: Tensor, labels: Tensor) -> Tensor | None:
        """Vectors of a model that was trained before, where a method needs them."""
        return None

    def _loss(
        self,
        features: Tensor,
        columns: Tensor,
        classifier: nn.Linear,
        old: Tensor | None,
        prototypes: Tensor | None,
        teacher: Tensor | None,
    ) -> Tensor:
        return classification(self(features), classifier.weight, columns)

    def _batches(self, count: int, parameters: list[nn.Parameter]) -> Iterator[Tensor]:
        """Rows of one update after another; the optimizer steps as the schedule says."""
        each = -(-count // self.batch_size)
        self._optimizer = torch.optim.Adam(parameters, self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, max(1, self.epochs * each))
        for epoch in range(self.epochs):
            order = torch.randperm(count, generator=generator(self.seed, "order", epoch))
            for rows in torch.split(order, self.batch_size):
                yield rows
                schedule.step()
        del self._optimizer

    def _step(self, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise Diverged(f"the loss of {type(self).__name__} became {float(loss.detach())}: lower the learning rate")
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self.updates += 1

    def _check(self, features: Tensor, labels: Tensor, old: Tensor | None) -> None:
        if features.ndim != 2 or features.shape[1] != self.inputs or len(labels) != len(features) or not len(features):
            raise UsageError(
                f"features of shape {tuple(features.shape)} and {len(labels)} labels were given, expected "
                f"(1 or more, {self.inputs}) and as many"
            )
        if old is not None and tuple(old.shape) != (len(features), self.old_dimension):
            raise UsageError(
                f"old vectors of shape {tuple(old.shape)} were given, expected {(len(features), self.old_dimension)}"
            )

    def arguments(self) -> dict[str, Any]:
        """What it was built with."""
        names = ("inputs", "old_dimension", "dimension", "hidden", "lr", "epochs", "batch_size", "seed")
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | os.PathLike[str], **told: str) -> None:
        """Write weights and settings, and whatever is told beside, as one safetensors file, whole or not at all."""
        write_state(path, self.state_dict(), {"head": type(self).__name__, "arguments": self.arguments(), **told})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Build a head from what `save` wrote.

        Raises
        ------
        StateError
            If the file is missing, torn, or of another kind of head.
        """
        tensors, structure = read_state(path)
        if structure.get("head") != cls.__name__:
            raise StateError(
                f"{path} holds {structure.get('head', 'no head')}, not {cls.__name__}: load it as what it is"
            )
        try:
            head = cls(**structure["arguments"])
            head.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError, UsageError) as error:
            raise StateError(f"{path} does not fit its own description ({str(error).splitlines()[0]})") from None
        return head.eval()


def classification(vectors: Tensor, weight: Tensor, columns: Tensor) -> Tensor:
    """The cross entropy of scaled products of unit vectors (n, d) with the rows of a classifier (classes, d)."""
    return functional.cross_entropy(SHARPNESS * vectors @ weight.T, columns)


def class_means(old: Tensor, columns: Tensor, classes: int) -> Tensor:
    """The direction of the mean old vector of each class (classes, d): a classifier for the old space."""
    sums = torch.zeros(classes, old.shape[1], dtype=old.dtype).index_add_(0, columns, old)
    return functional.normalize(sums, dim=1)


def required(old: Tensor | None, who: str) -> Tensor:
    """The old vectors, without which nothing can be made compatible with them."""
    if old is None:
        raise UsageError(f"{who} needs the old encoder's vectors of the rows it learns from: pass old=…")
    return old
