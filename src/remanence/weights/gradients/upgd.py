"""Utility-based perturbed gradient descent: move and perturb most what is of least use.

What is remembered is a running trace of each weight's utility, how much the loss would rise without
it, and useful weights are held back from change. It costs one tensor per parameter and a few passes
over the parameters at each step, and needs to know of no boundary.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.weights.context import Context, Step
from remanence.weights.part import Part
from remanence.weights.per_parameter import PerParameter


@system(
    "upgd",
    paper=Paper(
        "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning",
        "Elsayed, Mahmood",
        2024,
        "2404.00781",
        401,
    ),
    baseline="naive",
    variant="weight-wise first-order utility, scaled by the largest of the network, gradients gated too (protecting)",
    training={"lr": 0.02},
    tuning_note="not searched beyond 0.01 and 0.02 on a few hundred rows of permuted MNIST, by online accuracy",
)
class UPGD(Part):
    """Gate the proposed change of each weight by its utility.

    The utility of a weight is −gradient · weight, in a running mean. With s the logistic function of
    the utility over the largest one, a step is θ ← (1 − lr · shrinkage) θ − lr (gradient + noise)(1 − s).

    Parameters
    ----------
    memory_of_utility:
        β, share of the running mean that stays at each step (0 up to 1).
    noise:
        σ, standard deviation of what is added to each gradient (0 or more).
    shrinkage:
        λ, decay of the weights per unit of learning rate (0 or more), ungated.
    scope:
        Whether utilities are scaled by the largest of the whole network (``global``) or by their norm
        along each weight's last dimension (``local``).
    protecting:
        Whether gradients are gated too, or the noise alone.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5).disclose(boundaries=False, classes=False)
    >>> learner = rm.make("upgd", stream)
    >>> _ = learner.learn(next(stream.experiences()))
    >>> learner.footprint().bytes["importances"] == learner.footprint().bytes["parameters"]
    True

    References
    ----------
    Elsayed, Mahmood, Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning,
    2024, arXiv:2404.00781.

    Departures
    ----------
    The largest utility is taken of the same running mean as the utilities it scales, so that the
    correction for their start cancels out; where no utility is positive, the largest magnitude takes
    its place. Noise passes through the optimizer as the gradient does.
    """

    kind = "importances"

    @validated
    def __init__(
        self,
        memory_of_utility: Annotated[float, Field(ge=0, lt=1, description="share of the running mean kept")] = 0.999,
        noise: Annotated[float, Field(ge=0, description="standard deviation of the perturbation")] = 0.001,
        shrinkage: Annotated[float, Field(ge=0, description="decay of the weights per unit of lr")] = 0.001,
        scope: Annotated[
            Literal["global", "local"], Field(description="what utilities are scaled by: the largest, or a row's norm")
        ] = "global",
        protecting: Annotated[bool, Field(description="gate the gradient too, not the noise alone")] = True,
    ) -> None:
        super().__init__()
        self.memory_of_utility, self.noise, self.shrinkage = memory_of_utility, noise, shrinkage
        self.scope, self.protecting = scope, protecting
        self.utilities = PerParameter("importances")
        self._gates: dict[str, Tensor] = {}

    def on_gradient(self, step: Step) -> None:
        moved = {n: p for n, p in step.context.trainable().items() if p.grad is not None}
        if set(moved) != {name for name, _ in self.utilities.items()}:
            kept = dict(self.utilities.items())
            self.utilities.put({n: kept[n] if n in kept else torch.zeros_like(p) for n, p in moved.items()})
        weights = [p.detach() for p in moved.values()]
        gradients = [p.grad for p in moved.values() if p.grad is not None]
        traces = [self.utilities[name] for name in moved]
        torch._foreach_mul_(traces, self.memory_of_utility)
        torch._foreach_addcmul_(traces, gradients, weights, self.memory_of_utility - 1)
        found = gates(traces, self.scope)
        self._gates = dict(zip(moved, found, strict=True))
        if self.noise:
            sizes = [g.numel() for g in gradients]
            drawn = torch.empty(sum(sizes)).normal_(0, self.noise, generator=step.context.generator("perturb"))
            cut = torch.split(drawn.to(gradients[0]), sizes)
            pieces = [piece.view_as(g) for piece, g in zip(cut, gradients, strict=True)]
            if not self.protecting:
                torch._foreach_mul_(pieces, found)
            torch._foreach_add_(gradients, pieces)

    def on_change(self, step: Step) -> None:
        named = step.context.trainable()
        changes = [step.change[name] for name in self._gates]
        before = torch._foreach_sub([named[name].detach() for name in self._gates], changes)
        if self.protecting:
            torch._foreach_mul_(changes, list(self._gates.values()))
        if self.shrinkage:
            torch._foreach_add_(changes, list(before), alpha=-step.context.lr * self.shrinkage)

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        if not len(self.utilities):
            return {}
        self.utilities.put({})
        return {"importances": "removed"}


def gates(utilities: list[Tensor], scope: str) -> list[Tensor]:
    """1 − s for each weight: a half for one of no use, less for a useful one, more for a harmful one."""
    if scope == "local":
        scales = [u.norm(dim=-1, keepdim=True) if u.dim() else u.abs() for u in utilities]
    else:
        largest = torch.stack([u.max() for u in utilities]).max()
        magnitude = torch.stack([u.abs().max() for u in utilities]).max()
        scales = [torch.where(largest > 0, largest, magnitude)] * len(utilities)
    smallest = torch.finfo(utilities[0].dtype).tiny
    found = torch._foreach_div(utilities, [-scale.clamp(min=smallest) for scale in scales])
    torch._foreach_sigmoid_(found)
    return list(found)
