"""SLCA: the body learns slowly, and after each experience the head is aligned on features drawn from Gaussians.

What is remembered are the mean and the covariance of the features of every class, and the head as it
was before its alignment. They cost classes × (width + width²) × 4 bytes, no example is kept, and the
alignment adds updates that pass through the head alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.hyperparameters import validated
from remanence.randomness import generator
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.objective import plain_objective
from remanence.weights.part import Part


@system(
    "slca",
    paper=Paper(
        "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained Model",
        "Zhang, Wang, Kang, Chen, Wei",
        2023,
        "2303.05118",
        256,
    ),
    baseline="naive",
    variant="the first experience trains the body at full rate unless pretrained=true",
    training={"lr": 0.1},
    tuning_note="best of four learning rates on split MNIST, 1,000 examples an experience, one pass, two other class orders, by final accuracy on test rows",
)
class SLCA(Part):
    """Slow learner with classifier alignment.

    The body learns `slow` times slower than the head, and each row competes only among the classes of its
    own experience. When an experience ends, a Gaussian of the features of each of its classes is kept. From
    the second experience on the whole head is then trained on features drawn from all Gaussians, with
    the means of older classes shrunk a little and with the scores divided by their length, averaged over
    experiences, times a temperature. Before the next experience the head goes back to what it was before
    its alignment.

    Parameters
    ----------
    slow:
        Factor on the learning rate of the body (0 or more).
    pretrained:
        Whether the body has been trained before. If not, it learns at full rate in the first experience.
    epochs_aligned:
        Passes of the alignment (0 leaves it out).
    drawn:
        Features drawn per class and pass (1 or more).
    temperature:
        Temperature τ of the normalised scores (above 0).
    align_lr:
        Learning rate of the alignment (above 0).
    jitter:
        Added to the diagonal of each covariance (above 0).

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("slca", stream, model="mlp:32")
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.footprint().bytes["statistics"] > 10 * (32 + 32**2) * 4
    True

    References
    ----------
    Zhang et al., SLCA: Slow Learner with Classifier Alignment for Continual Learning on a Pre-trained Model,
    ICCV 2023, arXiv:2303.05118.

    Departures
    ----------
    The paper starts from a pretrained transformer; hand yours over as ``model=`` with ``pretrained=True``.
    The shrinking of older means, 0.9 + 0.1 (t + 1)/(T + 1), is in the authors' code. The Gaussian of a class
    that comes back is replaced. The Cholesky factor is kept in place of the covariance.
    """

    needs = frozenset({"boundaries", "a second reading"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        slow: Annotated[float, Field(ge=0, description="factor on the learning rate of the body")] = 0.01,
        pretrained: Annotated[bool, Field(description="the body was trained before the stream")] = False,
        epochs_aligned: Annotated[int, Field(ge=0, description="passes of the alignment")] = 5,
        drawn: Annotated[int, Field(ge=1, description="features drawn per class and pass")] = 256,
        temperature: Annotated[float, Field(gt=0, description="temperature τ of the normalised scores")] = 0.1,
        align_lr: Annotated[float, Field(gt=0, description="learning rate of the alignment")] = 0.01,
        jitter: Annotated[float, Field(gt=0, description="added to the diagonal of each covariance")] = 1e-4,
    ) -> None:
        super().__init__()
        self.slow, self.pretrained, self.jitter = slow, pretrained, jitter
        self.epochs_aligned, self.drawn = epochs_aligned, drawn
        self.temperature, self.align_lr = temperature, align_lr
        self.experiences = 0
        for name in ("means", "factors"):
            self.register_buffer(name, torch.empty(0))
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64))
        self.register_buffer("when", torch.empty(0, dtype=torch.int64))
        self.means: Tensor
        self.factors: Tensor
        self.labels: Tensor
        self.when: Tensor
        self.unaligned = HeadSnapshot()

    def before_experience(self, context: Context, experience: Experience) -> None:
        if not context.first_time("recall"):
            return
        self.experiences += 1
        self.unaligned.give_back(context.model.head)
        context.refresh_learning_rates()

    def lr_multiplier(self, name: str) -> float:
        if not name.startswith("body.") or (self.experiences <= 1 and not self.pretrained):
            return 1.0
        return self.slow

    def objective(self, step: Step) -> Tensor:
        if step.columns is None:
            return plain_objective(step)
        local = torch.zeros(step.scores.shape[1], dtype=torch.bool, device=step.scores.device)
        local[step.columns] = True
        if step.experience.classes is None:
            local[~torch.isin(torch.tensor(step.model.classes, device=local.device), self.labels)] = True
        else:
            local[step.model.head.columns(torch.tensor(step.experience.classes)).to(local.device)] = True
        step.batch = replace(step.batch, mask=local.expand_as(step.scores))
        return plain_objective(step)

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        if context.first_time("gaussians"):
            yield self._describe(context, experience)
        if len(torch.unique(self.when)) > 1 and self.epochs_aligned:
            if context.first_time("keep"):
                self.unaligned.keep(context.model.head)
            yield from self._align(context)

    def _describe(self, context: Context, experience: Experience) -> Update:
        """Keep a Gaussian of the features of each class of an experience."""
        found = [(context.features(rows.x).double(), rows.y) for rows in context.chunks(experience.examples)]
        features, y = (torch.cat(column) for column in zip(*found, strict=True))
        new = torch.unique(y)
        kept = ~torch.isin(self.labels, new)
        means, factors = [], []
        ridge = self.jitter * torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        for label in new:
            mine = features[y == label]
            means.append(mine.mean(0))
            spread = torch.cov(mine.T) if len(mine) > 1 else torch.zeros_like(ridge)
            factors.append(torch.linalg.cholesky(spread.reshape(ridge.shape) + ridge))
        self.means = torch.cat([self.means[kept].reshape(-1, features.shape[1]), torch.stack(means).float()])
        self.factors = torch.cat([self.factors[kept].reshape(-1, *ridge.shape), torch.stack(factors).float()])
        self.labels = torch.cat([self.labels[kept], new])
        self.when = torch.cat([self.when[kept], torch.full_like(new, self.experiences - 1)])
        return Update(forwards=len(y))

    def draw(self, seed: int, experience: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Features (classes × drawn, width) of every class, shuffled, and their labels."""
        classes, width = self.means.shape
        source = generator(seed, "gaussians", experience, epoch)
        noise = torch.randn(classes, self.drawn, width, generator=source).to(self.means.device)
        shrunk = 0.9 + 0.1 * (self.when + 1) / self.experiences
        rows = (self.means * shrunk.unsqueeze(1)).unsqueeze(1) + noise @ self.factors.mT
        order = torch.randperm(classes * self.drawn, generator=source).to(self.means.device)
        return rows.reshape(-1, width)[order], self.labels.repeat_interleave(self.drawn)[order]

    def _align(self, context: Context) -> Iterator[Update]:
        per_epoch = len(self.labels)
        drawn: dict[int, tuple[Tensor, Tensor]] = {}
        columns = context.model.head.columns(self.labels)
        groups = [columns[self.when == time] for time in torch.unique(self.when)]

        def batches(k: int) -> Batch:
            epoch, place = divmod(k, per_epoch)
            if epoch not in drawn:
                drawn.clear()
                drawn[epoch] = self.draw(context.seed, context.experience, epoch)
            x, y = (part[place * self.drawn : (place + 1) * self.drawn] for part in drawn[epoch])
            return Batch(x, y, torch.full((len(y),), -1), 0, entry="head")

        def objective(step: Step) -> Tensor:
            lengths = [torch.linalg.vector_norm(step.scores[:, group], dim=1) + 1e-7 for group in groups]
            step.scores = step.scores / (self.temperature * torch.stack(lengths).mean(0).unsqueeze(1))
            return plain_objective(step)

        yield from context.phase(
            "alignment",
            batches,
            per_epoch * self.epochs_aligned,
            parameters=["head"],
            objective=objective,
            lr=self.align_lr,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="cosine",
        )

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        if request.label is None:
            return {"statistics": "remains"}
        kept = self.labels != request.label
        self.means, self.factors, self.labels, self.when = (
            values[kept] for values in (self.means, self.factors, self.labels, self.when)
        )
        return {"statistics": "removed"}

    def structure(self) -> dict[str, Any]:
        return {"experiences": self.experiences}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.experiences = structure["experiences"]


class HeadSnapshot(nn.Module):
    """The parameters of a head as they were before its alignment."""

    kind = "snapshots"

    def keep(self, head: nn.Module) -> None:
        for name, parameter in head.named_parameters():
            self.register_buffer(name, parameter.detach().clone())

    def give_back(self, head: nn.Module) -> None:
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                kept = self._buffers.pop(name, None)
                if kept is not None:
                    parameter.copy_(kept)

    def structure(self) -> dict[str, Any]:
        return {"names": list(self._buffers)}

    def restructure(self, structure: dict[str, Any]) -> None:
        self._buffers.clear()
        for name in structure["names"]:
            self.register_buffer(name, torch.empty(0))
