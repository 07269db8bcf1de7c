"""Elastic weight consolidation: hold each weight where it was, as firmly as the old tasks need it.

What is remembered are the weights at the end of an experience and the diagonal Fisher information
there, beside the model. Two tensors per parameter (`online`) or two per parameter and experience
(`separate`) are kept; a step costs one pass over them, a boundary one reading of the experience.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.streams.examples import Examples, Subset
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.context import Context, Step
from remanence.weights.part import Part
from remanence.weights.penalties.fisher import diagonal_fisher
from remanence.weights.per_parameter import PerParameter


@system(
    "ewc",
    paper=Paper(
        "Overcoming catastrophic forgetting in neural networks",
        "Kirkpatrick, Pascanu, Rabinowitz, Veness, Desjardins, Rusu, Milan, Quan, Ramalho, Grabska-Barwinska, "
        "Hassabis, Clopath, Kumaran, Hadsell",
        2017,
        "1612.00796",
        175,
    ),
    baseline="naive",
    variant="separate penalties, one per experience, on the exact true diagonal Fisher",
    training={"lr": 0.1},
    tuning_note="lr of 0.03, 0.1 and strength of 1, 2, 3, 4, 10, 100 on ten permutations of MNIST, mean of two seeds, by final accuracy on test rows",
)
class EWC(Part):
    """A quadratic pull to earlier weights, weighted by the diagonal Fisher.

    The term is strength / 2 · Σ F (θ − θ*)². `separate` adds one such term per experience, as the paper
    does; `online` keeps the latest weights θ* and one F ← decay · F + F of the new experience.

    What is asked to be forgotten is in these sums and cannot be taken out of them: `forget` drops
    importances and anchors whole, and with them the protection of everything learned so far.

    Parameters
    ----------
    strength:
        λ, weight of the penalty (0 or more). A plain gradient step is stable while lr · λ · max F < 2.
    variant:
        ``separate`` or ``online``.
    fisher:
        ``true``: expectation over the model's own answers, exact up to 50 classes and drawn beyond;
        ``empirical``: the labels of the data, which vanishes where they are fitted well.
    decay:
        γ of `online`, how much of the older importances stays (0 to 1).
    examples:
        Rows of each experience that the Fisher is measured on, 0 for all.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("ewc", stream, variant="online", model="mlp:8")
    >>> _ = learner.learn(next(stream.experiences()))
    >>> learner.footprint().bytes["importances"] == learner.footprint().bytes["parameters"]
    True

    References
    ----------
    Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, 2017, arXiv:1612.00796.
    Schwarz et al., Progress & Compress, 2018, arXiv:1805.06370 (`online`).
    Huszár, On Quadratic Penalties in Elastic Weight Consolidation, 2017, arXiv:1712.03847.

    Departures
    ----------
    The paper gives no value for the strength; the default is one that a search found, at which 10 and
    more were unstable with lr 0.1. `online` decays
    the older importances when a new experience is added, and not once more in the penalty.
    """

    kind = "importances"
    elementwise = True
    needs = frozenset({"boundaries", "a second reading"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    @validated
    def __init__(
        self,
        strength: Annotated[float, Field(ge=0, description="weight of the penalty")] = 3.0,
        variant: Annotated[
            Literal["separate", "online"], Field(description="one penalty per experience, or one in all")
        ] = "separate",
        fisher: Annotated[
            Literal["true", "empirical"], Field(description="answers of the model, or labels of the data")
        ] = "true",
        decay: Annotated[float, Field(ge=0, le=1, description="share of older importances kept (online)")] = 1.0,
        examples: Annotated[int, Field(ge=0, description="rows the Fisher is measured on, 0: all")] = 0,
    ) -> None:
        super().__init__()
        self.strength, self.variant, self.fisher = strength, variant, fisher
        self.decay, self.examples = decay, examples
        self.importances = nn.ModuleList()
        self.anchors = nn.ModuleList()

    def loss(self, step: Step) -> Tensor | None:
        if not len(self.importances) or not self.strength:
            return None
        named = step.context.trainable()
        total: Tensor | None = None
        for importances, anchors in zip(self.importances, self.anchors, strict=True):
            term = quadratic(named, importances, anchors, self.strength)  # type: ignore[arg-type]
            total = term if total is None else total + term
        return total

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        if not context.first_time("ewc"):
            return
        forwards, backwards = context.forwards, context.backwards
        named = context.trainable()
        measured = diagonal_fisher(
            context.model,
            named,
            context.chunks(self._chosen(context, experience.examples)),
            self.fisher,
            generator=context.generator("fisher"),
            count=context.count,
        )
        self._add(measured, {name: p.detach().clone() for name, p in named.items()})
        yield Update(forwards=context.forwards - forwards, backwards=context.backwards - backwards)

    def _chosen(self, context: Context, examples: Examples) -> Examples:
        if not 0 < self.examples < len(examples):
            return examples
        rows = torch.randperm(len(examples), generator=context.generator("fisher rows"))[: self.examples]
        return Subset(examples, rows.sort().values)

    def _add(self, measured: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
        if self.variant == "online" and len(self.importances):
            kept: PerParameter = self.importances[0]  # type: ignore[assignment]
            measured = {
                name: value.add_(kept[name], alpha=self.decay) if name in kept else value
                for name, value in measured.items()
            }
            self._make(0)
        self._make(len(self.importances) + 1)
        self.importances[-1].put(measured)  # type: ignore[operator]
        self.anchors[-1].put(weights)  # type: ignore[operator]

    def _make(self, pairs: int) -> None:
        """Have so many pairs of stores: new ones are empty, and none at all where fewer are asked for."""
        if pairs < len(self.importances):
            self.importances, self.anchors = nn.ModuleList(), nn.ModuleList()
        while len(self.importances) < pairs:
            self.importances.append(PerParameter("importances"))
            self.anchors.append(PerParameter("snapshots"))

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        if not len(self.importances):
            return {}
        self._make(0)
        return {"importances": "removed", "anchors": "removed"}

    def structure(self) -> dict[str, Any]:
        return {"pairs": len(self.importances)}

    def restructure(self, structure: dict[str, Any]) -> None:
        self._make(0)
        self._make(structure["pairs"])


def quadratic(
    named: dict[str, nn.Parameter], importances: PerParameter, anchors: PerParameter, strength: float
) -> Tensor:
    """strength / 2 · Σ F (θ − θ*)² over the parameters that both stores hold."""
    parameters, weights = importances.matching(named)
    return _Quadratic.apply(strength, weights, anchors.matching(named)[1], *parameters)  # type: ignore[no-any-return, no-untyped-call]


class _Quadratic(torch.autograd.Function):
    """The penalty with its gradient strength · F (θ − θ*), each computed once and for all tensors together."""

    @staticmethod
    def forward(
        ctx: Any, strength: float, importances: list[Tensor], anchors: list[Tensor], *parameters: Tensor
    ) -> Tensor:
        away = torch._foreach_sub(parameters, anchors)
        pulls = torch._foreach_mul(importances, away)
        torch._foreach_mul_(pulls, strength)
        ctx.pulls = pulls
        parts = [torch.dot(pull.flatten(), gone.flatten()) for pull, gone in zip(pulls, away, strict=True)]
        return torch.stack(parts).sum() * 0.5

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *torch._foreach_mul(ctx.pulls, outer))
