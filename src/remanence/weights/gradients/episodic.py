"""Episodic memory: the latest rows of each task in one memory of fixed size, shared equally as tasks arrive."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.streams.experience import Experience
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.objective import plain_objective
from remanence.weights.replay.memory import Memory


def task_of(experience: Experience) -> int:
    """The task id where the stream tells it; else each experience takes the place of a task."""
    return experience.index if experience.task is None else experience.task


class EpisodicMemory(Memory):
    """The latest rows of each task.

    The first task may fill the whole memory; as others arrive, the largest give up their oldest rows
    until each has an equal share, since nobody knows how many tasks will come.

    Example
    -------
    >>> memory = EpisodicMemory(4)
    >>> for task in (7, 8):
    ...     memory.keep_latest(Batch(torch.zeros(6, 1), torch.arange(6), torch.arange(6), 6), task)
    ...     print(memory.held_tasks(), memory.y.tolist())
    [7] [2, 3, 4, 5]
    [7, 8] [4, 5, 4, 5]
    """

    def held_tasks(self) -> list[int]:
        """The tasks that have rows here, in the order of their numbers."""
        return torch.unique(self._column("task")).tolist() if len(self) else []

    def slots_of(self, task: int) -> Tensor:
        """Slots of the rows of one task."""
        return (self._column("task") == task).nonzero().squeeze(1)

    def slots_but(self, task: int) -> Tensor:
        """Slots of the rows of all other tasks."""
        return (self._column("task") != task).nonzero().squeeze(1)

    def keep_latest(self, batch: Batch, task: int) -> None:
        """Keep as many of the new rows as the task's share holds, the latest of them."""
        held, fresh = len(self), batch.fresh
        device = batch.x.device
        own = self.slots_of(task) if held else torch.empty(0, dtype=torch.int64, device=device)
        others = held - len(own)
        tasks = len(self.held_tasks()) + (len(own) == 0)
        share = max(1, self.size // tasks, self.size - others)
        wanted = min(len(own) + fresh, max(share, len(own)))
        written = min(fresh, wanted)
        added = wanted - len(own)
        free = torch.arange(held, min(self.size, held + added), device=device)
        taken = self._oldest_of_largest(task, added - len(free))
        replaced = self._oldest(own, written - added)
        slots = torch.cat([replaced, free, taken]).sort().values
        numbers = torch.arange(self.seen, self.seen + fresh)
        extras = {"task": torch.full((fresh,), task), "number": numbers}
        self.write(slots, batch, torch.arange(fresh - written, fresh), extras)
        self.counts[1] += fresh

    def _column(self, name: str) -> Tensor:
        return self.extra(name)[: len(self)] if len(self) else torch.empty(0, dtype=torch.int64, device=self.y.device)

    def _oldest(self, slots: Tensor, count: int) -> Tensor:
        if count <= 0:
            return slots[:0]
        return slots[self._column("number")[slots].argsort()[:count]]

    def _oldest_of_largest(self, task: int, count: int) -> Tensor:
        """The slots by giving up which the other tasks stay as equal as they can."""
        slots = self.slots_but(task)
        if count <= 0:
            return slots[:0]
        slots = slots[self._column("number")[slots].argsort(descending=True)]
        slots = slots[self._column("task")[slots].argsort(stable=True)]
        _, place, sizes = torch.unique_consecutive(self._column("task")[slots], return_inverse=True, return_counts=True)
        newer = torch.arange(len(slots), device=slots.device) - (sizes.cumsum(0) - sizes)[place]
        return slots[newer.argsort(descending=True, stable=True)[:count]]


def memory_gradient(step: Step, batch: Batch) -> Tensor:
    """The gradient (parameters,) of the mean loss on remembered rows, flat, counted, apart from ``.grad``."""
    inner = Step(step.context, step.experience, batch, step.k, step.total)
    head = step.context.model.head
    if batch.y is not None and not batch.y.is_floating_point() and not head.outputs:
        inner.columns = head.columns(batch.y)
    inner.scores = inner.forward(batch.x)
    return torch.cat([gradient.flatten() for gradient in inner.gradients(plain_objective(inner)).values()])


def flat_gradient(context: Context) -> Tensor:
    """The gradient (parameters,) that the optimizer would use, zeros where there is none."""
    named = context.trainable().values()
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in named])


def put_gradient(context: Context, flat: Tensor) -> None:
    """Let the optimizer use this gradient (parameters,)."""
    start = 0
    for parameter in context.trainable().values():
        parameter.grad = flat[start : start + parameter.numel()].view_as(parameter).to(parameter.dtype)
        start += parameter.numel()
