"""Training outside the main loop: balanced fine-tuning, alignment, compression, selection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from remanence import schedules
from remanence.errors import UsageError
from remanence.randomness import derive, seed_global
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.training import Training
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.hooks import none_of
from remanence.weights.loop import Loop
from remanence.weights.objective import plain_objective
from remanence.weights.trainer_context import TrainerContext

_NOTHING = InMemory(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.int64))


class Phases:
    """Runs the phases of a trainer one after another, each with an optimizer of its own.

    Parameters
    ----------
    loop:
        The trainer's own halves of an update.
    context:
        Of the trainer.
    settings:
        Its training settings, the defaults of every phase.
    """

    def __init__(self, loop: Loop, context: TrainerContext, settings: Training) -> None:
        self._loop, self._context, self._settings = loop, context, settings
        self._optimizer: optimizers.Optimizer | None = None
        self._moved: dict[str, nn.Parameter] = {}

    def run(
        self,
        name: str,
        batches: Callable[[int], Batch],
        updates: int,
        parameters: Iterable[str] | None,
        objective: Callable[[Step], Tensor] | None,
        settings: Mapping[str, Any],
        schedule: str | schedules.Schedule,
        with_hooks: bool,
        forward: bool,
    ) -> Iterator[Update]:
        """Train some parameters, resuming where the cursor's mark stands.

        See `remanence.weights.context.Context.phase`, through which parts call it.
        """
        context, model, loop = self._context, self._loop.model, self._loop
        cursor, mark = context.cursor, f"{context.where} {name}"
        named = dict(model.named_parameters())
        wanted = tuple(parameters) if parameters is not None else tuple(context.moved)
        moved = {n: p for n, p in named.items() if any(n == w or n.startswith(f"{w}.") for w in wanted)}
        if not moved:
            raise UsageError(f"the phase {name!r} moves {', '.join(wanted)}, which are no parameters of the model")
        falls = schedules.named(schedule) if isinstance(schedule, str) else schedule
        hooks = loop.hooks if with_hooks else none_of(loop.hooks)
        optimizer = optimizers.make({**self._settings.model_dump(), **settings}, [(1.0, moved)])
        if self._optimizer is not None:
            optimizers.put(optimizer, moved, optimizers.tensors(self._optimizer, self._moved))
        self._optimizer, self._moved = optimizer, moved
        experience = Experience(context.experience, _NOTHING)
        for k in range(cursor.marks.get(mark, 0), updates):
            context.k = k
            seed_global(derive(context.seed, "noise", context.experience, mark, k), context.device)
            if falls is not None:
                optimizers.set_rates(optimizer, falls(k, updates))
            context.forwards = context.backwards = context.steps = 0
            held = {n: p.requires_grad for n, p in named.items()}
            for n, p in named.items():
                p.requires_grad_(n in moved)
            try:
                step = Step(context, experience, batches(k), k, updates)
                if forward:
                    loop.forward(step)
                else:
                    step.x = model.prepare(step.batch.x)
                step.loss = (objective or plain_objective)(step)
                for term in hooks["loss"]:
                    added = term(step)
                    step.loss = step.loss if added is None else step.loss + added
                value = loop.change(step, optimizer, moved, hooks)
            finally:
                for n, p in named.items():
                    p.requires_grad_(held[n])
            cursor.marks[mark] = k + 1
            rows = len(step.batch)
            yield Update(0, rows, rows + context.forwards, rows + context.backwards, 1 + context.steps, value)
        self._optimizer = None
        context.k = 0  # what is drawn next must not depend on whether the last updates ran in this process

    def stop(self) -> None:
        """No phase is under way any more."""
        self._optimizer = None

    def tensors(self) -> dict[str, Tensor]:
        """What the optimizer of the phase under way keeps, by name."""
        return {} if self._optimizer is None else optimizers.tensors(self._optimizer, self._moved)

    def put(self, kept: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave, before the phase is entered again."""
        self.stop()
        if kept:
            names = {key.split("|")[0] for key in kept}
            self._moved = {name: p for name, p in self._loop.model.named_parameters() if name in names}
            self._optimizer = optimizers.make(self._settings.model_dump(), [(1.0, self._moved)])
            optimizers.put(self._optimizer, self._moved, kept)
