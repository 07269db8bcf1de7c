"""A trainer whose loop is someone else's: where each hook of a part is called in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from remanence.errors import Unsupported, UsageError
from remanence.streams.examples import Examples
from remanence.streams.experience import Experience
from remanence.training import Training
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.custom_loop import (
    NO_ROWS,
    BatchlessStep,
    MissingExamples,
    add_gradients,
    before_step,
    examples_of,
    gradients_of,
    joined,
    refuse,
    without_data,
)
from remanence.weights.custom_model import head_layer, view
from remanence.weights.hooks import overrides
from remanence.weights.loop import edit_change
from remanence.weights.part import Part
from remanence.weights.trainer import Trainer
from remanence.weights.trainer_context import Cursor


class Attached(Trainer):
    """What `attach` gives: a trainer whose loop is someone else's.

    How each hook is served:

    =====================================  =============================================================
    `before_batch`, `rehearse`, `augment`  by ``x, y = attached.rehearse(x, y)``, before the forward pass
    `loss`                                 its gradient is added to ``.grad`` before the optimizer steps; where
                                           a term looks at the batch, that is a backward pass more
    `objective`, masks, row weights        by ``attached.loss()`` in place of the loop's own loss
    `on_gradient`, `on_change`             around ``optimizer.step()``, as `after_step` is
    `before_experience`, `on_boundary`     by ``attached.boundary(loader)``, with the data that just ended, as
                                           `after_experience` is
    `on_scores`                            by ``attached.predict(x)``; calling the model itself leaves it out
    `consolidate`, `forget`, `save`        as with any learner, `restore` too
    =====================================  =============================================================

    Not served, and refused by name: `batch_sampler` (the order of batches is the loop's), `lr_multiplier`
    (its groups are the optimizer's), growth, and what needs classes or task ids. Gradients that the loop
    clips before the step are clipped without the parts' share.
    """

    _theirs: torch.optim.Optimizer
    _shown: Tensor

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        parts: Sequence[Part],
        *,
        head: str | None = None,
        task: str = "classification",
        seed: int = 0,
        **training: Any,
    ) -> None:
        refuse(parts, optimizer)
        rates = [group["lr"] for group in optimizer.param_groups]
        device = next(model.parameters()).device
        given: dict[str, Any] = {
            "lr": float(rates[0]) or Training.model_fields["lr"].default,
            "device": str(device),
            **training,
        }
        self.__dict__["_theirs"] = optimizer  # before torch's own machinery, which the line below sets up
        super().__init__(view(model, head, int(task == "regression")), parts, task=task, seed=seed, **given)
        if not self._context.moved:
            raise UsageError("the optimizer holds no parameter of the model: build it from model.parameters()")
        self._context.cursor = Cursor(0, "main")
        self._handles: list[Any] = []
        self._batch: Batch | None = None
        self._steps_seen: list[Step] = []
        self._terms: list[tuple[Tensor, ...]] = []
        self._objective_used = False
        self._before: dict[str, Tensor] = {}

    # The hooks

    def __enter__(self) -> Self:
        if self._handles:
            raise UsageError("the parts are attached already: leave the first with-block before another")
        theirs = self._theirs
        self._handles = [
            self._watch(),
            theirs.register_step_pre_hook(lambda optimizer, args, kwargs: before_step(args, kwargs, self._ready)),
            theirs.register_step_post_hook(lambda optimizer, args, kwargs: self._after()),
        ]
        if self._context.experience == 0 and self._context.cursor.k == 0:
            self._through("before_experience", without_data(0))
        return self

    def __exit__(self, *reason: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _watch(self) -> Any:
        """A hook on the head, seeing each forward pass of the loop; copies of the model copy it, and are ignored."""
        own = head_layer(self.model)

        def watch(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if module is own and torch.is_grad_enabled():
                self._see_forward(inputs[0], output)

        return own.register_forward_hook(watch)

    # What the loop calls

    def rehearse(self, x: Tensor, y: Tensor, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tell the parts what is learned now, and get back what to learn: the rows given and remembered ones.

        Call it right before the forward pass of every batch, also where no part rehearses but one looks
        at the batch.

        Parameters
        ----------
        x, y:
            Inputs (n, …) as the model takes them, and their labels (n,) int64 or values (n,) float32.
        ids:
            Stable ids (n,) int64 by which rows can be forgotten; counted by default.
        """
        if x.dtype == torch.uint8:
            raise UsageError("x is uint8, expected what the model takes: scale images to float before")
        if len(x) != len(y):
            raise UsageError(f"{len(x)} inputs and {len(y)} targets were given: give as many of each")
        head = self.model.head
        if not head.outputs and y.dtype == torch.int64:
            head.grow(head.unseen(y))
        self._context.k = self._context.cursor.k
        if self._steps_seen:  # gradients are gathered over several batches, each with random numbers of its own
            self._context.where = f"main {len(self._steps_seen)}"
        ids = torch.arange(self.seen, self.seen + len(y)) if ids is None else ids
        batch = Batch(x, y, ids.to(x.device), len(y))
        for before_batch in self._hooks["before_batch"]:
            before_batch(batch, self._context)
        for rehearse in self._hooks["rehearse"]:
            batch = rehearse(batch, self._context)
        if batch.entry is not None or batch.latents is not None:
            raise Unsupported("a part rehearses activations (hook rehearse), which a loop of one's own cannot take in")
        shown = batch.x
        for augment in self._hooks["augment"]:
            shown = augment(shown, batch, self._context)
        self._batch, self._shown = batch, shown
        object.__setattr__(self, "seen", self.seen + batch.fresh)
        if batch.y is None:
            raise Unsupported("a part rehearses rows without targets (hook rehearse), which no loop's loss can take in")
        return shown, batch.y

    def loss(self) -> Tensor:
        """The objective and every term of the parts on the batch that just went forward, to call backward on.

        In place of the loop's own loss: needed by parts that replace the objective or weigh rows.
        """
        if not self._steps_seen:
            raise UsageError("attached.loss() has no batch: call attached.rehearse(x, y), then the model, then this")
        step = self._steps_seen[-1]
        total = self._objective(step)
        for term in self._hooks["loss"]:
            added = term(step)
            total = total if added is None else total + added
        step.loss = total
        self._terms, self._objective_used = [], True
        return total

    def boundary(self, loader: Iterable[Any] | Examples | None = None) -> None:
        """Say that an experience ended here and another begins.

        Parameters
        ----------
        loader:
            The data of the one that ended, for parts that read it again: batches of (x, y), or a pair of
            tensors. It is held in memory while they do.
        """
        index = self._context.experience
        experience = without_data(index) if loader is None else Experience(index, examples_of(loader))
        moved = self._through("after_experience", experience)
        self.mark_boundary()
        self._context.cursor = Cursor(index + 1, "main")
        self._context.experience, self._context.k = index + 1, 0
        moved += self._through("before_experience", without_data(index + 1))
        self._context.where = "main"
        if moved:
            self._theirs.zero_grad()

    def _through(self, hook: str, experience: Experience) -> int:
        self._context.cursor.part = 0
        steps = sum(update.steps for update in self._in_turn(hook, experience))
        self._context.where = "main"
        return steps

    # What happens at a forward pass and around a step

    def _see_forward(self, features: Tensor, scores: Tensor) -> None:
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        if features.shape[0] != len(batch):
            raise UsageError(
                f"{len(batch)} rows came from attached.rehearse and {features.shape[0]} reached the model: "
                "pass on what it returned"
            )
        step = self._new_step(batch)
        step.x, step.features, step.scores = self._shown, features, scores
        if batch.y is not None and batch.y.dtype == torch.int64 and not self.model.head.outputs:
            step.columns = self.model.head.columns(batch.y)
        self._steps_seen.append(step)
        if not self._hooks["objective"] and batch.mask is None and batch.weight is None:
            self._add_terms(step)

    def _add_terms(self, step: Step) -> None:
        terms = [found for term in self._hooks["loss"] if (found := term(step)) is not None and found.requires_grad]
        if terms:
            self._terms.append(gradients_of(terms, list(self._context.moved.values())))

    def _new_step(self, batch: Batch | None) -> Step:
        experience = Experience(self._context.experience, MissingExamples())
        k = self._context.cursor.k
        return (Step if batch is not None else BatchlessStep)(self._context, experience, batch or NO_ROWS, k, k + 1)

    def _ready(self) -> None:
        """Gradients are there: add the terms' share, let the parts project, note where parameters are."""
        used, terms = self._objective_used, self._terms
        if not self._steps_seen:
            step = self._new_step(None)
            with torch.enable_grad():
                self._add_terms(step)
        else:
            step = joined(self._steps_seen, self._new_step)
        self._steps_seen = [step]
        if not (used or isinstance(step, BatchlessStep)) and (
            self._hooks["objective"] or step.batch.mask is not None or step.batch.weight is not None
        ):
            names = ", ".join(
                type(p).__name__
                for p in self._parts
                if overrides(p, "objective" if self._hooks["objective"] else "rehearse")
            )
            raise UsageError(
                f"{names} replaces the loss or weighs rows: call attached.loss() in place of your own loss"
            )
        add_gradients(terms, list(self._context.moved.values()))
        step.optimizer = self._theirs
        for on_gradient in self._hooks["on_gradient"]:
            on_gradient(step)
        if self._hooks["on_change"]:
            self._before = {name: p.detach().clone() for name, p in self._context.moved.items()}

    def _after(self) -> None:
        self._terms, self._objective_used = [], False
        self._context.where = "main"
        step = self._steps_seen.pop()
        if self._hooks["on_change"]:
            edit_change(step, self._before, self._context.moved, self._hooks)
            self._before = {}
        for after_step in self._hooks["after_step"]:
            after_step(step)
        self._context.cursor.k += 1

    # What a trainer does otherwise

    def _make_optimizer(self) -> Any:
        mine = {id(p) for group in self._theirs.param_groups for p in group["params"]}
        self._context.moved = {
            name: p for name, p in self.model.named_parameters() if p.requires_grad and id(p) in mine
        }
        return self._theirs

    def grow(self, change: Callable[[Any], None]) -> None:
        names = ", ".join(type(part).__name__ for part in self._parts if overrides(part, "setup")) or "a part"
        raise Unsupported(
            f"{names} changes the model's modules (growth), which attach leaves as they are: use a Trainer"
        )

    def rebuild_optimizer(self, fresh: bool = False) -> None:
        raise Unsupported("a part changes learning rates (hook lr_multiplier), which are the loop's own: use a Trainer")

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        raise Unsupported("attached parts learn in your own loop, not from a stream: use a Trainer for that")

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self._context.experience, self._context.where = self._context.cursor.experience, "main"
        self._batch, self._steps_seen, self._terms, self._objective_used = None, [], [], False
