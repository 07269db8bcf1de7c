"""What parts are handed: the narrow view of a trainer, and one update while it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.models.model import Frozen, Model
from remanence.schedules import Schedule
from remanence.streams.examples import Examples, Rows
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.batch import Batch


class Context(Protocol):
    """What a part may see and ask for.

    `model` is the body and head being trained, `previous` a frozen copy of it from the last boundary
    (``None`` before the first; only for parts whose `uses` names it), `memory` the rehearsal memory that
    one of the parts holds. `experience` and `k` are the position: the index of the experience, and of the
    update in it; `where` is the stage of the experience, and `asked` the task id that came with the
    questions being answered, in the hook `on_scores` only.
    """

    experience: int
    k: int
    where: str
    forwards: int
    backwards: int
    steps: int
    asked: int | None
    layers: list[str]
    seed: int
    device: torch.device
    classification: bool
    batch_size: int
    lr: float
    epochs: int

    @property
    def model(self) -> Model: ...

    @property
    def previous(self) -> Frozen | None: ...

    @property
    def memory(self) -> Any: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one raw input; a `UsageError` where a trainer built by hand was not told."""

    def generator(self, purpose: str) -> torch.Generator:
        """A generator for one purpose at this position; asking again starts it again."""

    def derive(self, purpose: str) -> int:
        """A seed for one purpose at this position."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that the optimizer moves, by name."""

    def count(self, forwards: int = 0, backwards: int = 0, steps: int = 0) -> None:
        """Count rows that a part sent through the network, and steps that it took, by itself."""

    def features(self, x: Tensor) -> Tensor:
        """Features of raw inputs in evaluation mode and without gradients, counted."""

    def chunks(self, examples: Examples, size: int = 256) -> Iterator[Rows]:
        """All examples front to back, on the learner's device."""

    def first_time(self, mark: str) -> bool:
        """True the first time it is asked in an experience, also across a resume.

        Hooks that yield updates are entered again from their top after a resume; what must not be done
        twice stands behind this.
        """

    def grow(self, change: Callable[[Model], None]) -> None:
        """Change the model's modules; optimizer state and per-parameter stores follow by name.

        The part that grows replays its growth in its own `restructure` when a saved learner is loaded.
        """

    def add_classes(self, labels: Iterable[int]) -> None:
        """Let the head grow for labels it has not met."""

    def boundary(self) -> None:
        """Say that one experience ended and another begins here: the same as a disclosed boundary."""

    def refresh_learning_rates(self, *, fresh: bool = False) -> None:
        """Read `lr_multiplier` of every part again and rebuild the optimizer's groups; `fresh` drops its state."""

    def clear_moments(self, entries: Mapping[str, Tensor]) -> None:
        """Set to zero what the optimizer keeps for some entries of parameters, which begin anew.

        `entries` maps names of parameters to masks (bool) of their shape, or that broadcast to it.
        """

    def renormalise(self, examples: Examples, size: int = 256) -> None:
        """Measure the running statistics of batch normalisation anew on examples, counted."""

    def enforce_budget(self) -> None:
        """Keep the budget after something was stored: elastic parts give up what is over it."""

    def phase(
        self,
        name: str,
        batches: Callable[[int], Batch],
        updates: int,
        *,
        parameters: Iterable[str] | None = None,
        objective: Callable[[Step], Tensor] | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        schedule: str | Schedule = "constant",
        hooks: bool = False,
        forward: bool = True,
    ) -> Iterator[Update]:
        """Train outside the main loop (balanced fine-tuning, alignment, compression), counted and resumable.

        Parameters
        ----------
        name:
            Names the phase within its experience.
        batches:
            The batch of update k, a function of k alone.
        updates:
            How many.
        parameters:
            Names of the parameters to move, or prefixes of them (``"head"``); all by default.
        objective:
            Loss of a step; by default the plain objective of the task.
        optimizer, lr, momentum, weight_decay:
            As in the training settings, which are the defaults.
        schedule:
            A name as in the training settings, or any function from k and the number of updates to a factor.
        hooks:
            Whether the parts' `loss`, `on_gradient`, `on_change` and `after_step` act in it too.
        forward:
            Whether the batch passes through the model; False where the objective runs what it needs.
        """

    def shuffled(self, purpose: str, examples: Examples, epochs: int, size: int) -> tuple[Callable[[int], Tensor], int]:
        """Positions of each batch of a phase over `examples`, shuffled per epoch, and their number."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What a model made of rows: features, scores, and the outputs of the layers that parts name, row by row."""

    features: Tensor
    scores: Tensor
    maps: dict[str, Tensor]

    def first(self, rows: int) -> Pass:
        """The same of the first rows alone."""
        if rows == len(self.scores):
            return self
        return Pass(self.features[:rows], self.scores[:rows], {name: kept[:rows] for name, kept in self.maps.items()})

    def joined(self, other: Pass) -> Pass:
        """The rows of this pass, then those of another."""
        maps = {name: torch.cat([kept, other.maps[name]]) for name, kept in self.maps.items()}
        return Pass(torch.cat([self.features, other.features]), torch.cat([self.scores, other.scores]), maps)


class Step:
    """One update while it happens. Parts read it, and write where their hook says so.

    `batch` is what is learned, `x` the prepared and augmented inputs, `features` and `scores` what the
    model made of them, `columns` the column of each label (classification), `loss` the objective with
    its terms, `maps` the outputs of the layers that parts asked for by name (`Part.layers`). `change`
    maps the names of parameters to the change that the optimizer proposes, in the hook `on_change` only;
    `optimizer` is there from the hook `on_gradient` on. `k` of `total` counts the updates of the experience.
    """

    __slots__ = (
        "_previous",
        "batch",
        "change",
        "columns",
        "context",
        "experience",
        "features",
        "k",
        "loss",
        "maps",
        "optimizer",
        "scores",
        "total",
        "x",
    )

    def __init__(self, context: Context, experience: Experience, batch: Batch, k: int, total: int) -> None:
        self.context, self.experience, self.batch, self.k, self.total = context, experience, batch, k, total
        self.x: Tensor = batch.x
        self.features: Tensor = batch.x
        self.scores: Tensor = batch.x
        self.columns: Tensor | None = None
        self.loss: Tensor = batch.x
        self.change: dict[str, Tensor] = {}
        self.maps: dict[str, Tensor] = {}
        self.optimizer: optimizers.Optimizer | None = None
        self._previous: Pass | None = None

    @property
    def model(self) -> Any:
        return self.context.model

    def previous(self, rows: int | None = None) -> Pass | None:
        """What the previous model makes of the first `rows` of the batch (all by default); None before a boundary.

        All parts share one pass, which sends no row twice and counts each once; layers that any part names
        are recorded. For parts whose `uses` names ``previous``.
        """
        model = self.context.previous
        if model is None:
            return None
        wanted = len(self.batch) if rows is None else rows
        held = self._previous
        begun = 0 if held is None else len(held.scores)
        if wanted > begun:
            latents, raw = self.batch.latents, len(self.x)
            whole = latents is not None and wanted > raw
            first, last = (0, len(self.batch)) if whole else (begun, wanted)
            self.context.count(forwards=last - first)
            with torch.no_grad(), model.record(self.context.layers) as maps:
                features = model.enter(self.x[first:last], self.batch.entry, latents if whole else None)
                found = Pass(features, model.head(features), maps)
            held = found if held is None or whole else held.joined(found)
            self._previous = held
        return held.first(wanted) if held is not None else None

    def forward(self, x: Tensor, entry: str | None = None) -> Tensor:
        """Scores of other raw inputs in the same mode, counted as forward and backward passes."""
        self.context.count(forwards=len(x), backwards=len(x))
        scores: Tensor = self.context.model(x, entry)
        return scores

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Gradients of a loss by parameter name, leaving ``.grad`` as it is; the graph is kept."""
        named = self.context.trainable()
        found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        return {
            name: torch.zeros_like(p) if grad is None else grad
            for (name, p), grad in zip(named.items(), found, strict=True)
        }

    def preview(self) -> dict[str, Tensor]:
        """The change that the optimizer would make with the gradients as they are now, by parameter name.

        Neither parameters nor optimizer state move. For the hook `on_gradient` only.
        """
        if self.optimizer is None:
            raise UsageError("a change was previewed outside the hook on_gradient, before there are gradients")
        moved = {name: p for name, p in self.context.model.named_parameters() if p.requires_grad}
        return optimizers.preview(self.optimizer, moved)
