"""Training outside the main loop: balanced fine-tuning, alignment, compression, selection."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import derive, seed_global
from remanence.streams.experience import Experience, InMemory
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.objective import plain_objective
from remanence.weights.part import Batch, Step

if TYPE_CHECKING:
    from remanence.weights.trainer import Trainer


def phase(
    trainer: Trainer,
    name: str,
    batches: Callable[[int], Batch],
    updates: int,
    parameters: Iterable[str] | None,
    objective: Callable[[Step], Tensor] | None,
    settings: dict[str, Any],
    with_hooks: bool,
    forward: bool,
) -> Iterator[Update]:
    """Train some parameters with an optimizer of their own, resuming where the cursor's mark stands.

    See `remanence.weights.context.Context.phase`, through which parts call it.
    """
    cursor, context = trainer._cursor, trainer._context
    mark = f"{context.where} {name}"
    named = trainer._named()
    wanted = tuple(parameters) if parameters is not None else tuple(trainer._trainable)
    moved = {n: p for n, p in named.items() if any(n == w or n.startswith(f"{w}.") for w in wanted)}
    if not moved:
        raise UsageError(f"the phase {name!r} moves {', '.join(wanted)}, which are no parameters of the model")
    whole = {**trainer.training_settings.model_dump(), **settings}
    hooks = trainer._hooks if with_hooks else {hook: [] for hook in trainer._hooks}
    optimizer = optimizers.make(whole, [(1.0, moved)])
    if trainer._phase_optimizer is not None:
        optimizers.put(optimizer, moved, optimizers.tensors(trainer._phase_optimizer, trainer._phase_names))
    trainer._phase_optimizer, trainer._phase_names = optimizer, moved
    experience = Experience(context.experience, _NOTHING)
    for k in range(cursor.marks.get(mark, 0), updates):
        context.k = k
        seed_global(derive(trainer.seed, "noise", context.experience, mark, k), trainer.device)
        if whole["schedule"] == "cosine":
            optimizers.set_rates(optimizer, 0.5 * (1 + math.cos(math.pi * k / updates)))
        context.forwards = context.backwards = context.steps = 0
        held = {n: p.requires_grad for n, p in named.items()}
        for n, p in named.items():
            p.requires_grad_(n in moved)
        try:
            step = Step(context, experience, batches(k), k, updates)
            if forward:
                trainer._forward(step)
            else:
                step.x = trainer.model.prepare(step.batch.x)
            step.loss = (objective or plain_objective)(step)
            for term in hooks["loss"]:
                added = term(step)
                step.loss = step.loss if added is None else step.loss + added
            value = trainer._change(step, optimizer, hooks)
        finally:
            for n, p in named.items():
                p.requires_grad_(held[n])
        cursor.marks[mark] = k + 1
        rows = len(step.batch)
        yield Update(0, rows, rows + context.forwards, rows + context.backwards, 1 + context.steps, value)
    trainer._phase_optimizer = None
    context.k = 0  # what is drawn next must not depend on whether the last updates ran in this process


_NOTHING = InMemory(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.int64))
