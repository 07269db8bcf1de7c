"""Cross-modal backward compatibility: a projection from a new encoder's space into the old one, learnt from texts.

What is remembered is a two-layer projection and a low-rank change per modality; the new encoder and the old
vectors stay as they are. It costs one pass of both encoders over some texts, a few pairs of images and texts
that only the new one reads, and a small product per query.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from remanence.errors import Diverged, StateError, UsageError
from remanence.hyperparameters import validated
from remanence.randomness import derive, generator, global_generator
from remanence.registry import Paper, system
from remanence.state import read_state, write_state

Modality = Literal["text", "image"]


class LowRank(nn.Module):
    """x ↦ x + B A x with A (rank, dimension) and B (dimension, rank); B is zero at first, and nothing changes."""

    def __init__(self, dimension: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(dimension, rank, bias=False)
        self.up = nn.Linear(rank, dimension, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.up(self.down(x))
        return changed


@system(
    "xbt",
    paper=Paper(
        "Towards Cross-modal Backward-compatible Representation Learning for Vision-Language Models",
        "Jang, Lim",
        2024,
        "2405.14715",
        371,
    ),
    place="store",
    baseline="pairs-only",
    variant="projection and low-rank changes on the vectors of frozen encoders",
)
class XBT(nn.Module):
    """Cross-modal backward-compatible training.

    `pretrain` learns the projection φ from vectors that both encoders gave the same texts, with noise on the
    new ones that stands for the distance between a text's vector and an image's. `supervise` then learns a
    low-rank change per modality from pairs of images and texts that the new encoder alone has read, so that
    the two of a pair meet in the old space; φ stays as it is. Both use the symmetric contrastive loss over
    cosines divided by the temperature, in which rows of equal texts count as one another's.

    Parameters
    ----------
    new_dimension, old_dimension:
        Of the two spaces.
    hidden:
        Width between the two layers of φ.
    noise:
        Length, on average, of the Gaussian noise on a new text vector of length 1 (0 or more).
    rank:
        Of the change per modality (1 or more).
    temperature:
        What cosines are divided by (above 0).
    lr, lr_pairs:
        Adam's learning rate at first, for φ and for the changes.
    epochs, epochs_pairs, batch_size:
        Passes over the texts and over the pairs; rows per update.
    seed:
        From which every random number is derived.

    Raises
    ------
    UsageError
        If a value is out of range, or vectors of another dimension are given.
    Diverged
        If a loss is no longer finite.

    Example
    -------
    >>> draw = torch.Generator().manual_seed(0)
    >>> new = functional.normalize(torch.randn(64, 12, generator=draw), dim=1)
    >>> old = functional.normalize(new @ torch.randn(12, 8, generator=draw), dim=1)
    >>> space = XBT(12, 8, epochs=40, lr=0.01, noise=0.0).pretrain(new, old)
    >>> found = (space.to_old(new) @ old.T).argmax(1)
    >>> bool((found == torch.arange(64)).float().mean() > 0.9)
    True

    References
    ----------
    Jang, Lim: Towards Cross-modal Backward-compatible Representation Learning for Vision-Language Models, 2024,
    arXiv 2405.14715.

    Departures
    ----------
    Written from the abstract and summaries, the whole text not being at hand: that the noise is Gaussian, that
    both losses are contrastive, and the sizes are this library's choices. The paper's low-rank changes lie inside
    the new encoder's layers; here they change the vectors that it gives.
    """

    runner: ClassVar[str] = "remanence.runner:UNSTREAMED"
    """Of no stream: it is measured by an experiment of its own."""

    @validated
    def __init__(
        self,
        new_dimension: int,
        old_dimension: int,
        *,
        hidden: Annotated[int, Field(ge=1, description="width of the projection")] = 512,
        noise: Annotated[float, Field(ge=0, description="length of the noise on text vectors")] = 0.3,
        rank: Annotated[int, Field(ge=1, description="of the change per modality")] = 8,
        temperature: Annotated[float, Field(gt=0, description="what cosines are divided by")] = 0.07,
        lr: Annotated[float, Field(gt=0, description="learning rate of the projection")] = 1e-3,
        lr_pairs: Annotated[float, Field(gt=0, description="learning rate of the changes")] = 1e-3,
        epochs: Annotated[int, Field(ge=0, description="passes over the texts")] = 30,
        epochs_pairs: Annotated[int, Field(ge=0, description="passes over the pairs")] = 30,
        batch_size: Annotated[int, Field(ge=2, description="rows per update")] = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = self.dimension = self.new_dimension = new_dimension
        self.old_dimension, self.hidden, self.noise, self.rank = old_dimension, hidden, noise, rank
        self.temperature, self.lr, self.lr_pairs = temperature, lr, lr_pairs
        self.epochs, self.epochs_pairs, self.batch_size, self.seed = epochs, epochs_pairs, batch_size, seed
        self.updates = 0
        with global_generator(derive(seed, "projection")):
            self.projection = nn.Sequential(
                nn.Linear(new_dimension, hidden), nn.GELU(), nn.Linear(hidden, old_dimension)
            )
            self.changes = nn.ModuleDict({name: LowRank(new_dimension, rank) for name in ("text", "image")})

    def forward(self, vectors: Tensor) -> Tensor:
        """The new encoder's vectors as they are, scaled to length 1."""
        return functional.normalize(vectors, dim=1)

    def to_old(self, vectors: Tensor, modality: Modality = "text") -> Tensor:
        """New vectors of one modality in the old space, unit rows (n, old_dimension)."""
        return functional.normalize(self.projection(self.changes[modality](vectors)), dim=1)

    @torch.inference_mode()
    def embed(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same as `forward` on arrays."""
        found: NDArray[np.float32] = self(torch.from_numpy(np.ascontiguousarray(features, np.float32))).numpy()
        return found

    @torch.enable_grad()
    def pretrain(self, new_texts: Tensor, old_texts: Tensor) -> Self:
        """Learn φ from what the two encoders gave the same texts, (n, new_dimension) and (n, old_dimension)."""
        self._check(new_texts, self.new_dimension, "new vectors of the texts")
        self._check(old_texts, self.old_dimension, "old vectors of the texts")
        if len(new_texts) != len(old_texts):
            raise UsageError(f"{len(new_texts)} new and {len(old_texts)} old vectors were given: give as many of each")
        draw = generator(self.seed, "noise")
        scale = self.noise / self.new_dimension**0.5
        optimizer = torch.optim.Adam(self.projection.parameters(), self.lr)
        for rows in self._batches(len(new_texts), self.epochs, optimizer, "texts"):
            new, old = new_texts[rows], old_texts[rows]
            noisy = functional.normalize(new + scale * torch.randn(new.shape, generator=draw), dim=1)
            found = functional.normalize(self.projection(noisy), dim=1)
            self._step(optimizer, contrastive(found, old, equal(new), self.temperature))
        return self

    @torch.enable_grad()
    def supervise(self, new_images: Tensor, new_texts: Tensor) -> Self:
        """Learn the change of each modality from pairs that the new encoder read, both (n, new_dimension)."""
        self._check(new_images, self.new_dimension, "new vectors of the images")
        self._check(new_texts, self.new_dimension, "new vectors of the texts")
        if len(new_images) != len(new_texts):
            raise UsageError(f"{len(new_images)} images and {len(new_texts)} texts were given: give as many of each")
        optimizer = torch.optim.Adam(self.changes.parameters(), self.lr_pairs)
        for rows in self._batches(len(new_images), self.epochs_pairs, optimizer, "pairs"):
            texts = new_texts[rows]
            images = self.to_old(new_images[rows], "image")
            self._step(optimizer, contrastive(images, self.to_old(texts), equal(texts), self.temperature))
        return self

    def _batches(self, count: int, epochs: int, optimizer: torch.optim.Optimizer, of: str) -> Iterator[Tensor]:
        each = -(-count // self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * each))
        for epoch in range(epochs):
            order = torch.randperm(count, generator=generator(self.seed, of, epoch))
            for rows in torch.split(order, self.batch_size):
                yield rows
                schedule.step()

    def _step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        if not bool(torch.isfinite(loss)):
            raise Diverged(f"the loss of XBT became {float(loss.detach())}: lower the learning rate")
        self.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        self.updates += 1

    def _check(self, vectors: Tensor, dimension: int, what: str) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != dimension or not len(vectors):
            raise UsageError(f"{what} have the shape {tuple(vectors.shape)}, expected (1 or more, {dimension})")

    def arguments(self) -> dict[str, Any]:
        """What it was built with."""
        names = ("new_dimension", "old_dimension", "hidden", "noise", "rank", "temperature", "lr", "lr_pairs")
        return {name: getattr(self, name) for name in (*names, "epochs", "epochs_pairs", "batch_size", "seed")}

    def save(self, path: str | os.PathLike[str], **told: str) -> None:
        """Write weights and settings, and whatever is told beside, as one safetensors file."""
        write_state(path, self.state_dict(), {"head": type(self).__name__, "arguments": self.arguments(), **told})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Build one from what `save` wrote.

        Raises
        ------
        StateError
            If the file is missing, torn, or something else.
        """
        tensors, structure = read_state(path)
        if structure.get("head") != cls.__name__:
            raise StateError(f"{path} holds {structure.get('head', 'no head')}, not XBT: load it as what it is")
        try:
            found = cls(**structure["arguments"])
            found.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError, UsageError) as error:
            raise StateError(f"{path} does not fit its own description ({str(error).splitlines()[0]})") from None
        return found.eval()


def equal(texts: Tensor) -> Tensor:
    """Which rows are of equal texts (n, n), by their unit vectors."""
    return texts @ texts.T > 1 - 1e-5


def contrastive(one: Tensor, other: Tensor, same: Tensor, temperature: float) -> Tensor:
    """The symmetric contrastive loss of unit rows; where several are the same, each is as right as another."""
    logits = one @ other.T / temperature
    wanted = same.float() + torch.eye(len(same)) * (~same.diagonal()).float()
    right = wanted / wanted.sum(1, keepdim=True)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
