"""PODNet: while new classes come, hold the pooled feature maps of every stage where the old network had them.

What is remembered are one frozen copy of the model as it was at the last boundary, herded exemplars of
every class, and several class vectors for each class. It costs the copy and its forward pass of every
row, the exemplars and their passes, and a short balanced training of the class vectors at each end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.models.heads import Head, extended
from remanence.models.model import Model
from remanence.randomness import generator
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.context import Context, Step
from remanence.weights.objective import competing_scores
from remanence.weights.replay.exemplar_rehearsal import ExemplarRehearsal

CLAMP = 5.0
"""Entries of gradients are held within this, as in the authors' program."""


@system(
    "podnet",
    paper=Paper(
        "PODNet: Pooled Outputs Distillation for Small-Tasks Incremental Learning",
        "Douillard, Cord, Ollion, Robert, Valle",
        2020,
        "2004.13513",
        386,
    ),
    baseline="er",
    variant="answers by the class vectors (CNN); distillation normalised as in the authors' program",
    training={"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "cosine"},
    tuning_note="the authors' settings; lr is searched in the claim",
)
class PODNet(ExemplarRehearsal):
    """Pooled outputs distillation with a local similarity classifier.

    The loss of a row is −(z_y − m) + log(1 + Σ_{c≠y} exp(z_c − m)), where z is η times the local similarity to
    a class (see `LocalSimilarityHead`) and m the largest of them. From the second experience on, √(classes
    seen / new classes) times two distances to the previous model are added: `spatial` times POD-spatial,
    over the feature maps of every stage, and `flat` times POD-flat, over the features. New class vectors
    start at the k-means centres of their class's features, the old ones stand still, and all are trained
    at the end on equally many exemplars of each class.

    Parameters
    ----------
    size:
        Exemplars in all (1 or more), shared equally by the classes; under a budget, at most so many.
    spatial:
        Weight λ_c of POD-spatial (0 or more).
    flat:
        Weight λ_f of POD-flat (0 or more).
    proxies:
        Class vectors K for each class (1 or more).
    margin:
        Margin δ by which the right class's similarity is made less in the loss (0 or more). With the text's
        0.6 a learned η runs to zero: on split digits (cnn:8, 100 exemplars, 4 passes) the final accuracy was
        0.21 with it and 0.85 without.
    scale:
        η at the start; it is learned (above 0).
    balanced_epochs:
        Passes over the balanced exemplars at the end of an experience (0 leaves them out).
    balanced_lr:
        Learning rate of these passes (above 0).

    Raises
    ------
    UsageError
        If the body gives no feature maps.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("podnet", stream, model="cnn:4", size=20, proxies=2, balanced_epochs=1)
    >>> learner.parts[0].layers
    ('1', '5', '9')
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.model.head.weight.shape, len(learner.memory)
    (torch.Size([20, 16]), 20)

    References
    ----------
    Douillard, Cord, Ollion, Robert, Valle, PODNet: Pooled Outputs Distillation for Small-Tasks Incremental
    Learning, ECCV 2020, arXiv:2004.13513. The authors' program: arthurdouillard/incremental_learning.pytorch.

    Departures
    ----------
    As in the authors' program and not in the text: maps are squared before they are pooled, pooled maps are
    scaled to length one, their distance is no square and averaged over rows and stages, POD-flat is
    one minus a cosine, old class vectors stand still, similarities are 2 cos − 2, gradients are held
    within ±5, and the loss is the one above. The program takes its margin, 0.6, off every class, where it
    cancels out; in the text's loss, with it, a learned η runs below zero, where the loss is least and
    nothing is learned. The features are those of the body, with its last activation, which the program
    leaves out. Maps are those of the last layer with parameters at each size, whole blocks in a residual
    network.
    Each update learns its share of the exemplars, where the program shuffles them among the new rows;
    exemplars are herded once, before the balanced passes, and the body stands in evaluation mode in these.
    """

    needs = frozenset({"boundaries", "classes", "a second reading"})
    uses = frozenset({"previous"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    small: ClassVar[Mapping[str, Any]] = {
        "model": "cnn:8",
        "size": 50,
        "proxies": 2,
        "spatial": 0.3,
        "flat": 0.1,
        "balanced_epochs": 2,
    }

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="exemplars in all, at most")] = 2000,
        spatial: Annotated[float, Field(ge=0, description="weight λ_c of POD-spatial")] = 3.0,
        flat: Annotated[float, Field(ge=0, description="weight λ_f of POD-flat")] = 1.0,
        proxies: Annotated[int, Field(ge=1, description="class vectors K for each class")] = 10,
        margin: Annotated[float, Field(ge=0, description="margin δ off the right class")] = 0.0,
        scale: Annotated[float, Field(gt=0, description="η at the start, learned")] = 1.0,
        balanced_epochs: Annotated[int, Field(ge=0, description="passes over balanced exemplars")] = 20,
        balanced_lr: Annotated[float, Field(gt=0, description="learning rate of these passes")] = 0.05,
    ) -> None:
        super().__init__(size)
        self.spatial, self.flat, self.proxies, self.margin, self.scale = spatial, flat, proxies, margin, scale
        self.balanced_epochs, self.balanced_lr = balanced_epochs, balanced_lr
        self.old = 0

    def setup(self, context: Context) -> None:
        model = context.model
        model.head = LocalSimilarityHead(model.head.features, self.proxies, self.scale, model.head.seed)
        self.layers = stages(model, context.shape)

    def before_experience(self, context: Context, experience: Experience) -> None:
        if context.first_time("old"):
            self.old = len(context.model.classes)
            context.refresh_learning_rates(fresh=True)

    def before_training(self, context: Context, experience: Experience) -> Iterator[Update]:
        if self.old and self.old < len(context.model.classes) and context.first_time("imprint"):
            found = [(context.features(rows.x), rows.y) for rows in context.chunks(experience.examples)]
            features, y = (torch.cat(column) for column in zip(*found, strict=True))
            head: Any = context.model.head
            head.imprint(features, y, self.old, context.derive("k-means") % 2**31)
            yield Update(forwards=len(y))

    def objective(self, step: Step) -> Tensor:
        if step.columns is None:
            raise UsageError("podnet was given rows without labels, expected a label for each")
        each = nca_loss(competing_scores(step), step.columns, self.margin * step.model.head.scale)
        return each.mean() if step.batch.weight is None else (step.batch.weight * each).mean()

    def loss(self, step: Step) -> Tensor | None:
        before = step.previous()
        if before is None:
            return None
        maps = [(before.maps[layer], step.maps[layer]) for layer in self.layers]
        apart = self.flat * (1 - cosine_similarity(before.features, step.features)).mean()
        apart = apart + self.spatial * torch.stack([pod_spatial(old, new) for old, new in maps]).mean()
        classes = len(step.model.classes)
        return math.sqrt(classes / max(1, classes - self.old)) * apart

    def on_gradient(self, step: Step) -> None:
        for parameter in step.context.trainable().values():
            if parameter.grad is not None:
                parameter.grad.clamp_(-CLAMP, CLAMP)
        weight = step.model.head.weight
        if self.old and weight.grad is not None:
            weight.grad[: self.old * self.proxies] = 0

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        yield from self.herd(context, experience)
        if not self.old or not self.balanced_epochs:
            return
        batches, per_epoch = self.balanced(context, context.batch_size)
        yield from context.phase(
            "balanced",
            batches,
            per_epoch * self.balanced_epochs,
            parameters=["head.weight"],
            objective=self.objective,
            lr=self.balanced_lr,
            momentum=0.9,
        )

    def structure(self) -> dict[str, Any]:
        return {"old": self.old}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.old = structure["old"]


class LocalSimilarityHead(Head):
    """Several vectors for each class: their similarities 2 cos − 2, weighed by their own softmax, times η.

    Example
    -------
    >>> head = LocalSimilarityHead(2, proxies=2, scale=1.0)
    >>> head.grow([5])
    >>> _ = head.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> round(float(head(torch.tensor([[3.0, 0.0]])).detach()), 3)  # -2 / (1 + e²)
    -0.238
    """

    def __init__(self, features: int, proxies: int, scale: float, seed: int = 0) -> None:
        super().__init__(features, 0, seed)
        self.proxies = proxies
        self.weight = nn.Parameter(torch.empty(0, features))
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, features: Tensor) -> Tensor:
        cosines = nn.functional.linear(normalize(features, dim=1), normalize(self.weight, dim=1))
        near = (2 * cosines - 2).view(len(features), len(self.classes), self.proxies)
        found: Tensor = self.scale * (near.softmax(2) * near).sum(2)
        return found

    def widen(self, old: int, new: int) -> None:
        draw = generator(self.seed, "head", old)
        rows = torch.randn((new - old) * self.proxies, self.features, generator=draw) / math.sqrt(self.features)
        self.weight = extended(self.weight, rows)

    @torch.no_grad()
    def imprint(self, features: Tensor, y: Tensor, first: int, seed: int) -> None:
        """Put the vectors of the classes from column `first` on at the k-means centres of their features.

        Features (n, width) are scaled to length one, centres to the mean length of the vectors that are
        older. A class of fewer rows than vectors has its rows as centres, again and again.
        """
        # Loaded only where classes are imprinted: every process that lists systems would wait for it
        from sklearn.cluster import KMeans

        length = self.weight[: first * self.proxies].norm(dim=1).mean()
        for column in range(first, len(self.classes)):
            mine = normalize(features[y == self.classes[column]], dim=1)
            if not len(mine):
                continue
            centres = mine[torch.arange(self.proxies, device=mine.device) % len(mine)]
            if len(mine) > self.proxies:
                found = KMeans(self.proxies, n_init=1, random_state=seed).fit(mine.double().cpu().numpy())
                centres = torch.from_numpy(found.cluster_centers_).to(mine)
            self.weight[column * self.proxies : (column + 1) * self.proxies] = centres * length


def stages(model: Model, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The last layer with parameters at each size of feature maps, by name, from the first to the last.

    Raises
    ------
    UsageError
        If no layer of the body gives feature maps.
    """
    owners = [name for name, layer in model.body.named_children() if any(True for _ in layer.parameters())]
    with torch.no_grad(), model.record(owners) as maps:
        model.eval().features(torch.zeros(1, *shape, device=next(model.parameters()).device))
    model.train()
    by_size = {tuple(maps[name].shape[2:]): name for name in owners if maps[name].dim() == 4}
    if not by_size:
        raise UsageError(
            "podnet distils feature maps, and no layer of the body gives any: use a network of convolutions, "
            "such as cnn or resnet18"
        )
    return tuple(by_size.values())


def pod_spatial(old: Tensor, new: Tensor) -> Tensor:
    """Distance of feature maps (n, channels, height, width) pooled along their width and along their height."""

    def pooled(maps: Tensor) -> Tensor:
        squares = maps.square()
        return normalize(torch.cat([squares.sum(3).flatten(1), squares.sum(2).flatten(1)], 1), dim=1)

    distances: Tensor = torch.linalg.vector_norm(pooled(old) - pooled(new), dim=1)
    return distances.mean()


def nca_loss(scores: Tensor, columns: Tensor, margin: Tensor | float) -> Tensor:
    """−(z_y − m) + log(1 + Σ_{c≠y} exp(z_c − m)) of each row (n,), for z its scores, z_y less the margin, m the largest."""
    right = torch.zeros_like(scores, dtype=torch.bool).scatter(1, columns.unsqueeze(1), True)
    scores = torch.where(right, scores - margin, scores)
    scores = scores - scores.max(1, keepdim=True).values
    others = scores.masked_fill(right, 0.0).logsumexp(1)  # exp(0) = 1 in the place of the right class
    return others - scores.gather(1, columns.unsqueeze(1)).squeeze(1)
