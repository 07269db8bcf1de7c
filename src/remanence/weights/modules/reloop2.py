"""ReLoop2: a slow network, and beside it a fast memory of what its recent answers should have been.

What is remembered are sums of labels (and of answers) of recent rows, in buckets into which rows with alike
features fall, in several arrays; they correct the network's answer at once, before any gradient has. It
costs arrays × 2^bits × (classes + 1) × 4 bytes, and a question reads one bucket of each array.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.randomness import generator
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.weights.context import Context, Step
from remanence.weights.part import Part

LARGEST = 2.0**20
"""The weight of a new row up to which it may grow before the sums are scaled back."""

LEAST = 1e-12
"""The smallest probability that is answered, so that its logarithm is a number."""


@system(
    "reloop2",
    paper=Paper(
        "ReLoop2: Building Self-Adaptive Recommendation Models via Responsive Error Compensation Loop",
        "Zhu, Cai, Huang, Dong, Tang, Zhang",
        2023,
        "2306.08808",
        62,
    ),
    place="store",
    baseline="naive",
    variant="the sketch of hash buckets, on the last hidden layer of a network that goes on learning",
)
class ReLoop2(Part):
    """Error compensation from a sketch of recent rows.

    Array k holds 2^`bits` buckets; a row falls into the one that the signs of `bits` random projections of
    its features h name, so that rows of alike direction share it. A bucket holds the number of rows, the sum
    of their labels y (one-hot, or a value) and of the answers y_base that they got on arrival. A question
    reads one bucket of each array: the means of the two there, and s_k, the bucket's share of all rows.
    With a = softmax(s / `temperature`) over the buckets that are not empty, ȳ and ȳ_base are the means
    weighted by a, and

        y_err = gamma (ȳ - y_base) + (1 - gamma) (ȳ - ȳ_base),      y_pred = y_base + weight · y_err,

    with probabilities kept between 0 and 1. Rows count half after `half_life` others. Where no bucket
    knows anything, the network's answer stands.

    Parameters
    ----------
    weight:
        Of the compensation (0 to 1), λ in the paper; 0 leaves the network's answers.
    gamma:
        Whether the error is taken from the labels of alike rows (1) or from the errors on them (0).
    arrays:
        How many arrays (1 or more), K in the paper.
    bits:
        Hash bits of each (1 to 20), L in the paper.
    temperature:
        Of the attention over arrays (above 0).
    half_life:
        Rows after which one counts half (1 or more), 0: never.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.rotate("digits", experiences=5)
    >>> learner = rm.make("reloop2", stream, arrays=4, bits=6)
    >>> _ = learner.learn(next(stream.experiences()))
    >>> learner.footprint().bytes["indexes"] == 4 * (4 * 64 * (1 + 10) + 100 * 4 * 6)
    True

    References
    ----------
    Zhu et al., ReLoop2: Building Self-Adaptive Recommendation Models via Responsive Error Compensation
    Loop, 2023, arXiv:2306.08808.

    Departures
    ----------
    The paper predicts clicks, one probability; here there is one for each class, or a value. Its network
    is trained now and then, here it goes on learning with every batch. It resets the sketch regularly and
    gives every row between the same weight; here weights halve. It has tens of thousands of buckets for
    millions of rows. The sums of the answers are kept only where `gamma` is below 1.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    kind = "indexes"

    @validated
    def __init__(
        self,
        weight: Annotated[float, Field(ge=0, le=1, description="of the compensation")] = 0.4,
        gamma: Annotated[float, Field(ge=0, le=1, description="1: labels of alike rows, 0: errors on them")] = 1.0,
        arrays: Annotated[int, Field(ge=1, description="arrays of buckets")] = 16,
        bits: Annotated[int, Field(ge=1, le=20, description="hash bits of each array")] = 10,
        temperature: Annotated[float, Field(gt=0, description="of the attention over arrays")] = 0.1,
        half_life: Annotated[int, Field(ge=0, description="rows after which one counts half, 0: never")] = 1000,
    ) -> None:
        super().__init__()
        self.weight, self.gamma, self.temperature, self.half_life = weight, gamma, temperature, half_life
        self.arrays, self.bits = arrays, bits
        self.gain = 1.0
        """The weight of the next row; growing it ages all others without touching them."""
        for name in ("planes", "counts", "labels", "answers"):
            self.register_buffer(name, torch.zeros(0))
        self.planes: Tensor
        self.counts: Tensor
        self.labels: Tensor
        self.answers: Tensor

    def setup(self, context: Context) -> None:
        self._clear(context)

    def after_growth(self, context: Context) -> None:
        head = context.model.head
        if len(self.planes) != head.features:  # other features fall into other buckets
            self._clear(context)
            return
        more = (head.outputs or len(head.classes)) - self.labels.shape[2]
        if more > 0:
            for name in self._sums:
                held: Tensor = getattr(self, name)
                self._buffers[name] = torch.cat([held, held.new_zeros(*held.shape[:2], more)], 2)

    @property
    def _sums(self) -> list[str]:
        return ["labels"] if self.gamma == 1 else ["labels", "answers"]

    def _clear(self, context: Context) -> None:
        """An empty sketch for the features and classes of the model as it is."""
        head, buckets = context.model.head, 2**self.bits
        draw = generator(context.seed, "hash planes", head.features)
        self.planes = torch.randn(head.features, self.arrays * self.bits, generator=draw).to(context.device)
        self.counts = torch.zeros(self.arrays, buckets, device=context.device)
        for name in self._sums:
            columns = head.outputs or len(head.classes)
            self._buffers[name] = torch.zeros(self.arrays, buckets, columns, device=context.device)
        self.gain = 1.0

    def buckets(self, features: Tensor) -> Tensor:
        """The bucket of each row in each array, (n, arrays) int64, as places in all arrays laid end to end."""
        signs = (features.flatten(1).float() @ self.planes > 0).view(len(features), self.arrays, self.bits)
        powers = 2 ** torch.arange(self.bits, device=signs.device)
        first = torch.arange(self.arrays, device=signs.device) * 2**self.bits
        places: Tensor = (signs * powers).sum(2) + first
        return places

    # Writing

    def after_step(self, step: Step) -> None:
        batch, fresh = step.batch, step.batch.fresh
        if not fresh or batch.y is None:
            return
        base = step.scores[:fresh].detach().float()
        if step.model.head.outputs:
            target = batch.y[:fresh].float().view(fresh, -1)
        else:
            base = torch.softmax(base, dim=1)
            columns = step.columns
            target = (
                batch.y[:fresh].float()
                if columns is None
                else torch.zeros_like(base).scatter_(1, columns[:fresh].unsqueeze(1), 1.0)
            )
        self.write(step.features[:fresh].detach(), target, base)

    def write(self, features: Tensor, target: Tensor, base: Tensor) -> None:
        """Add rows: their features (n, width), targets and the network's answers (n, columns)."""
        places = self.buckets(features)
        flat = places.flatten()
        self.counts.view(-1).index_add_(0, flat, torch.full(flat.shape, self.gain, device=flat.device))
        for name, values in zip(self._sums, (target, base), strict=False):
            sums: Tensor = getattr(self, name)
            rows = (self.gain * values).repeat_interleave(self.arrays, 0)
            sums.view(-1, sums.shape[2]).index_add_(0, flat, rows)
        if self.half_life:
            self.gain *= 2.0 ** (len(places) / self.half_life)
            if self.gain > LARGEST:
                for name in ("counts", *self._sums):
                    self._buffers[name] = getattr(self, name) / self.gain
                self.gain = 1.0

    # Reading

    def on_scores(self, scores: Tensor, features: Tensor, context: Context) -> Tensor:
        if not scores.shape[1]:
            return scores
        if context.model.head.outputs:
            return scores + self.weight * self.error(features, scores)
        base = torch.softmax(context.model.head.only(scores, context.asked), dim=1)
        return (base + self.weight * self.error(features, base)).clamp(LEAST, 1).log()

    def error(self, features: Tensor, base: Tensor) -> Tensor:
        """What the network's answers (n, columns) lack, as far as rows of alike features tell."""
        places = self.buckets(features)
        counts = self.counts.view(-1)[places]
        known = counts > 0
        share = counts / self.counts[0].sum().clamp(min=LEAST)
        attention = torch.softmax((share / self.temperature).masked_fill(~known, -torch.inf), dim=1).nan_to_num(0.0)
        each = (attention / counts.masked_fill(~known, 1.0)).unsqueeze(2)
        label = (each * self.labels.view(-1, self.labels.shape[2])[places]).sum(1)
        found = self.gamma * (label - base)
        if self.gamma < 1:
            answer = (each * self.answers.view(-1, self.answers.shape[2])[places]).sum(1)
            found = found + (1 - self.gamma) * (label - answer)
        return torch.where(known.any(1, keepdim=True), found, torch.zeros_like(found))

    # Forgetting and keeping

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        self._clear(context)  # a sum does not tell what of it came from whom
        return {"indexes": "removed"}

    def structure(self) -> dict[str, Any]:
        return {"gain": self.gain}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.gain = structure["gain"]
