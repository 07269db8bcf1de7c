"""Parts: one concern of a gradient-trained learner each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.request import Removal, Request
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch, BatchSampler
from remanence.weights.context import Context, Step
from remanence.weights.stacked_part import StackedPart


class Part(nn.Module):
    """One concern of a gradient-trained learner.

    Every hook is optional, and only those that a part overrides are called. `needs` names what the
    stream must disclose (``boundaries``, ``classes``, ``task ids``, ``a second reading``), `uses` what
    the trainer shall keep for it (``previous``: a frozen copy of the model as it was at the last
    boundary; ``memory``: the rehearsal memory that another part holds).

    Only parameters of the model are trained. A part that needs some of its own puts them into the body or
    the head in `setup`, as modules with a `structure` if they grow; an `lr_multiplier` and a phase then reach them
    by name.

    `kind` says under which kind of bytes the part's own buffers are counted.

    Seeds of one learner can be trained together (`remanence.weights.stacked`) if each of its parts
    either acts outside updates only, or says `elementwise`: its `loss`, `on_gradient` and `after_step` treat
    every entry of every parameter and buffer alone, a loss being a sum over entries; or else returns
    its stacked form from `stacked`.
    """

    needs: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()
    """Names of layers of the body whose outputs it reads in `step.maps`; may be set in `setup`."""
    uses: frozenset[str] = frozenset()
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    runner: ClassVar[str] = "remanence.weights.runner:PART"
    small: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it is quick to test, and ``model``, a network that has what it reads."""
    kind = "statistics"
    elementwise = False
    memory: Any
    """A part that holds the rehearsal memory offers it to the others under this name."""

    def stacked(self, parts: Sequence[Part]) -> StackedPart | None:
        """This part and those of the other seeds as one, None where it does not say how."""
        return None

    def setup(self, context: Context) -> None:
        """The part was put into a trainer: build what depends on the model (a new body, say)."""

    def before_experience(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        """An experience starts, before anything grows. May yield updates."""

    def after_growth(self, context: Context) -> None:
        """Heads, blocks or adapters were added. `PerParameter` stores have widened already."""

    def before_training(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        """The head has grown for the classes that the experience is said to hold, and its rows are at hand.

        Here new class vectors are set from data (imprinting). May yield updates. Where a stream does not
        tell its classes, the head grows when rows arrive, and `after_growth` alone follows it.
        """

    def batch_sampler(self, sampler: BatchSampler, context: Context, experience: Experience) -> BatchSampler:
        """Reorder, resample or repeat."""
        return sampler

    def before_batch(self, batch: Batch, context: Context) -> None:
        """New rows arrived, before anything is done with them: detect a boundary, let the model grow."""

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        """Add remembered rows behind the new ones."""
        return batch

    def augment(self, x: Tensor, batch: Batch, context: Context) -> Tensor:
        """Change prepared inputs (n, *shape) before the forward pass."""
        return x

    def objective(self, step: Step) -> Tensor:
        """Replaces the main loss. At most one part of a trainer may."""
        raise UsageError(f"{type(self).__name__} has no objective of its own")

    def loss(self, step: Step) -> Tensor | None:
        """A term to add to the objective, or None when there is nothing to add yet."""
        return None

    def on_gradient(self, step: Step) -> None:
        """After the backward pass: project, mask or rescale the ``.grad`` of parameters."""

    def on_change(self, step: Step) -> None:
        """Edit `step.change`, the change that the optimizer proposes, before it is applied."""

    def after_step(self, step: Step) -> None:
        """After the change."""

    def on_boundary(self, context: Context) -> None:
        """A boundary was found inside an experience by another part, or disclosed between two."""

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        """An experience ended. May yield updates."""

    def consolidate(self, context: Context, budget: int) -> Iterator[Update] | None:
        """Consolidate with no new data for at most `budget` updates."""

    def lr_schedule(self, k: int, total: int) -> float:
        """Factor on every learning rate at update `k` of the `total` of an experience: any schedule."""
        return 1.0

    def lr_multiplier(self, name: str) -> float:
        """Factor on the learning rate of a parameter of the model; 0 freezes it."""
        return 1.0

    def on_scores(self, scores: Tensor, features: Tensor, context: Context) -> Tensor:
        """Change scores (n, classes) before they become the answer."""
        return scores

    def forget(
        self, request: Request, context: Context
    ) -> dict[str, Removal] | Generator[Update, None, dict[str, Removal]]:
        """Remove what the part holds of the examples asked for; say what became of each place.

        A part that forgets by training is a generator of updates, with phases and `first_time` as in
        `after_experience`, and returns the places; it may say ``weights`` of what was done to them.
        """
        return {}

    def shrink(self, excess: int) -> int:
        """Give up at least `excess` bytes if the part can; return how many were given up."""
        return 0
