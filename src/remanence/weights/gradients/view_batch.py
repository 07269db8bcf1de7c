"""View-batch: see fewer distinct examples at a time in several views each, and each again after a longer rest.

What is remembered is nothing beyond what other parts keep; a schedule makes the time between two visits of
an example longer, and views of one example learn from one another. It costs no bytes, and no more rows
through the network than without.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, kl_div

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.randomness import derive
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.weights.batch import Batch, BatchSampler
from remanence.weights.context import Context, Step
from remanence.weights.part import Part


@system(
    "view-batch",
    paper=Paper(
        "Do Your Best and Get Enough Rest for Continual Learning",
        "Kang, Seifer, Lee, Ryu",
        2025,
        "2503.18371",
        262,
    ),
    baseline="er",
    host="er",
    training={"epochs": 4},
    variant="new rows are scheduled in views, remembered rows are left as they were drawn",
)
class ViewBatch(Part):
    """View-batch model.

    A batch of B rows becomes B / V distinct rows, each in V views side by side; V passes over the data
    become one, so that updates and rows stay as many and an example rests V times as long. The first view
    is the row itself; the others are turned, shifted, scaled and noisy. To the loss is added

        λ · mean over rows, views v > 1 and classes c of p₁(c) log(p₁(c) / p_v(c)),

    where p₁, the answer to the first view, is taken as it is, once the share `start` of an experience's
    updates is over.

    Parameters
    ----------
    views:
        Views V of each example (2 or more).
    divergence:
        Weight λ (0 or more).
    start:
        Share of the updates of an experience before the divergence is added (0 to 1).
    strength:
        How far views differ: 1 turns by up to 15°, shifts by up to a tenth, scales by up to a tenth and
        adds noise of standard deviation 0.1; 0 leaves them alone (0 or more). Inputs other than images
        take the noise alone.

    Raises
    ------
    UsageError
        If there are fewer epochs than views, which would leave examples out, or the stream's examples come
        in the order of time, which may not be changed.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("er+view-batch", stream, views=5, epochs=5)
    >>> update = next(learner.steps(next(stream.experiences())))
    >>> update.examples
    10

    References
    ----------
    Kang et al., Do Your Best and Get Enough Rest for Continual Learning, 2025, arXiv:2503.18371.

    Departures
    ----------
    The paper's strong views are learned augmentation policies of colour images; these are plain affine
    ones. The program adds the divergence after 6 of 50 passes, which is the share here, and averages it over
    classes too, as here; the paper's sum over classes is as many times as large. Groups of views are told by position, where the published code tells them by equal labels. An
    experience whose passes are no multiple of V ends with a share of its examples visited once less. A
    batch size that is no multiple of V is rounded down to one. A reservoir is offered every view, raw.
    """

    needs: frozenset[str] = frozenset({"boundaries", "a second reading"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        views: Annotated[int, Field(ge=2, description="views of each example")] = 4,
        divergence: Annotated[float, Field(ge=0, description="weight of the divergence between views")] = 1.0,
        strength: Annotated[float, Field(ge=0, description="how far views differ")] = 1.0,
        start: Annotated[float, Field(ge=0, le=1, description="share of updates before the divergence")] = 0.12,
    ) -> None:
        super().__init__()
        self.views, self.divergence, self.strength, self.start = views, divergence, strength, start

    def setup(self, context: Context) -> None:
        if context.epochs < self.views:
            raise UsageError(
                f"view-batch makes one pass in {self.views} views of {self.views} epochs, but epochs is "
                f"{context.epochs}: set epochs to {self.views} or more"
            )

    def batch_sampler(self, sampler: BatchSampler, context: Context, experience: Experience) -> BatchSampler:
        if experience.examples.ordered:
            raise UsageError("view-batch reorders examples, but those of this stream come in the order of time")
        rows, size = len(experience.examples), context.batch_size
        distinct = max(1, size // self.views)
        seed, index, views = context.seed, experience.index, self.views

        def order(visit: int) -> Tensor:
            draw = torch.Generator().manual_seed(derive(seed, "views", index, visit))
            return torch.randperm(rows, generator=draw)

        held: dict[int, Tensor] = {}

        def indices(k: int) -> Tensor:
            places = torch.arange(k * distinct, (k + 1) * distinct)
            chosen = []
            for visit in sorted(set((places // rows).tolist())):
                if visit not in held:
                    if len(held) > 1:
                        held.clear()
                    held[visit] = order(visit)
                chosen.append(held[visit][places[places // rows == visit] % rows])
            return torch.cat(chosen).repeat_interleave(views)

        return BatchSampler(len(sampler), indices)

    def augment(self, x: Tensor, batch: Batch, context: Context) -> Tensor:
        fresh = batch.fresh
        if not self.strength or fresh % self.views or not x.is_floating_point():
            return x
        draw = context.generator("views")
        later = (torch.arange(fresh) % self.views != 0).nonzero().squeeze(1).to(x.device)
        changed = x[later]
        if x.dim() == 4:
            angle, right, down, zoom = (torch.rand(4, len(later), generator=draw) * 2 - 1).to(x.device) * self.strength
            angle, zoom = angle * 0.26, 1 + 0.1 * zoom
            cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
            theta = torch.stack([cos, -sin, 0.2 * right, sin, cos, 0.2 * down], 1).view(-1, 2, 3)
            grid = affine_grid(theta, list(changed.shape), align_corners=False)
            changed = grid_sample(changed, grid, align_corners=False)
        noise = torch.randn(changed.shape, generator=draw).to(x.device)
        return x.index_copy(0, later, changed + 0.1 * self.strength * noise)

    def loss(self, step: Step) -> Tensor | None:
        fresh = step.batch.fresh
        if not self.divergence or fresh % self.views or step.k < self.start * step.total:
            return None
        logs = torch.log_softmax(step.scores[:fresh].float(), 1).view(-1, self.views, step.scores.shape[1])
        first = logs[:, :1].detach().expand_as(logs[:, 1:])
        return self.divergence * kl_div(logs[:, 1:], first, reduction="none", log_target=True).mean()
