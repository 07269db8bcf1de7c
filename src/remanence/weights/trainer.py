"""The one loop that all gradient-trained learners share; they differ in their parts."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from remanence.answer import Answer
from remanence.errors import StateError, UsageError
from remanence.randomness import derive, seed_global
from remanence.streams.examples import Rows
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.batch import Batch, BatchSampler, plain_sampler
from remanence.weights.context import Step
from remanence.weights.parts_learner import PartsLearner
from remanence.weights.trainer_context import Cursor

_PLACES = {"before_experience": "begin", "before_training": "training", "after_experience": "end"}
"""What random numbers of a hook are drawn for, and its phases are marked by."""


class Trainer(PartsLearner):
    """Learns by gradient steps; what keeps it from forgetting are its parts.

    Parameters
    ----------
    model:
        A `Model`, or any module whose last linear layer becomes a growing head.
    parts:
        What is added to plain training, in the order in which their hooks are called.
    head:
        Name of the layer to take as the head, where `model` is a module of the user's.
    task:
        ``"classification"`` or ``"regression"``.
    budget:
        The largest footprint in bytes, or None. A rehearsal memory gives up examples to keep it.
    seed:
        From which every random number is derived.
    shape:
        Shape of one raw input, where a part asks for it; `rm.make` tells it.
    **training:
        See `remanence.training.Training`: `optimizer`, `lr`, `epochs`, `batch_size`…

    Raises
    ------
    UsageError
        If a setting is out of range or two parts both replace the objective.

    Example
    -------
    >>> import torch
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    >>> learner = Trainer(net, lr=0.1)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.model.classes
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        cursor = self._enter(experience, start)
        while cursor.stage != "done":
            if cursor.stage in ("begin", "training"):
                yield from self._opening(experience)
            elif cursor.stage == "main":
                yield from self._main(experience)
                cursor.stage, cursor.part, cursor.k = "end", 0, 0
            else:
                yield from self._closing(experience)

    def open(self, experience: Experience) -> Iterator[Update]:
        """Enter an experience up to its first update: the boundary, what parts do before, the head's growth.

        With `sampler`, `advance` and `close` this is for whoever makes the updates in the trainer's place.
        """
        self._enter(experience, 0)
        return self._guarded(self._opening(experience))

    def sampler(self, experience: Experience) -> BatchSampler:
        """Which rows each update of an experience takes, as the parts have it."""
        sampler = plain_sampler(
            len(experience.examples),
            self.training_settings.batch_size,
            self.training_settings.epochs,
            self.seed,
            experience.index,
            ordered=experience.examples.ordered,
        )
        for part in self._parts:
            sampler = part.batch_sampler(sampler, self._context, experience)
        return sampler

    def advance(self, fresh: int) -> None:
        """Note that an update was made on so many new rows."""
        self._context.cursor.k += 1
        self._context.cursor.yielded += 1
        object.__setattr__(self, "seen", self.seen + fresh)  # a module's own way looks through all its parts

    def close(self, experience: Experience) -> Iterator[Update]:
        """Leave an experience after its last update: what parts do then."""
        cursor = self._context.cursor
        cursor.stage, cursor.part, cursor.k = "end", 0, 0
        return self._guarded(self._closing(experience))

    def _opening(self, experience: Experience) -> Iterator[Update]:
        cursor = self._context.cursor
        if cursor.stage == "begin":
            yield from self._in_turn("before_experience", experience)
            self._grow_head(experience)
            cursor.stage = "training"
        yield from self._in_turn("before_training", experience)
        cursor.stage = "main"

    def _closing(self, experience: Experience) -> Iterator[Update]:
        yield from self._in_turn("after_experience", experience)
        self.enforce_budget()  # importances, Gaussians and the like are made when an experience ends
        self._context.cursor.stage = "done"

    def _enter(self, experience: Experience, start: int) -> Cursor:
        context = self._context
        if context.aside is not None:
            raise StateError(
                "a forgetting is under way, and an experience was given to learn: end it first with "
                f"forgetting(request, start={context.cursor.yielded})"
            )
        if start == 0:
            context.cursor = Cursor(experience.index, "begin")
            self._phases.stop()
            if experience.boundary and experience.index > 0:
                self.mark_boundary()
        elif (context.cursor.experience, context.cursor.yielded) != (experience.index, start):
            raise StateError(
                f"update {start} of experience {experience.index} was asked for, the learner stands at "
                f"update {context.cursor.yielded} of experience {context.cursor.experience}: go on from there"
            )
        if len(experience.examples) == 0:
            raise UsageError(f"experience {experience.index} has no examples: leave it out of the stream")
        if not experience.boundary and self.training_settings.epochs > 1:
            raise UsageError(
                f"epochs is {self.training_settings.epochs}, but a stream without boundaries passes once: use epochs 1"
            )
        if not experience.again and self.training_settings.epochs > 1:
            raise UsageError(
                f"epochs is {self.training_settings.epochs}, but this stream may be read once only: use epochs 1"
            )
        context.experience = experience.index
        return context.cursor

    def _in_turn(self, hook: str, experience: Experience) -> Iterator[Update]:
        """Run a hook of every part that may yield updates, from where the cursor stands."""
        cursor = self._context.cursor
        while cursor.part < len(self._parts):
            self._context.where, self._context.k = f"{_PLACES[hook]} {cursor.part}", 0
            for update in getattr(self._parts[cursor.part], hook)(self._context, experience) or ():
                cursor.yielded += 1
                yield update
            cursor.part += 1
        cursor.part = 0

    def _grow_head(self, experience: Experience) -> None:
        """Let the head grow for the classes that an experience is said to hold."""
        if experience.classes is not None and self._context.classification:
            self._context.add_classes(experience.classes)
            if experience.task is not None and experience.asks_task:
                self.model.head.assign(experience.task, list(experience.classes))
        self.enforce_budget()

    def _main(self, experience: Experience) -> Iterator[Update]:
        sampler = self.sampler(experience)
        cursor, context = self._context.cursor, self._context
        context.where = "main"
        noise = derive(self.seed, "noise", experience.index)
        examples, total = experience.examples, len(sampler)
        optimizers.set_rates(self.optimizer, 1.0)
        while cursor.k < total:
            k = context.k = cursor.k
            seed_global((noise + k) & 0x7FFFFFFFFFFFFFFF, self.device)
            rows = examples.learn(sampler[k])
            update = self._update(experience, self._receive(rows), k, total)
            if k == 0:
                self.enforce_budget()  # memories are made when the first rows arrive
            cursor.k += 1
            cursor.yielded += 1
            yield update

    def _receive(self, rows: Rows) -> Batch:
        """Put new rows on the device and let the head grow for labels that nobody announced."""
        x, y, ids = rows
        if self.device.type != "cpu":
            x, y, ids = x.to(self.device), y.to(self.device), ids.to(self.device)
        head = self.model.head
        if head.outputs == 0:
            new = head.unseen(y)
            if new:
                self._context.add_classes(new)
        return Batch(x, y, ids, len(ids))

    def _update(self, experience: Experience, batch: Batch, k: int, total: int) -> Update:
        context, hooks = self._context, self._hooks
        context.forwards = context.backwards = context.steps = 0
        for before_batch in hooks["before_batch"]:
            before_batch(batch, context)
        for rehearse in hooks["rehearse"]:
            batch = rehearse(batch, context)
        step = Step(context, experience, batch, k, total)
        self._loop.forward(step)
        loss = self._objective(step)
        for term in hooks["loss"]:
            added = term(step)
            if added is not None:
                loss = loss + added
        step.loss = loss
        if self._schedule is not None or hooks["lr_schedule"]:  # here, since growth may have made a new optimizer
            factor = 1.0 if self._schedule is None else self._schedule(k, total)
            optimizers.set_rates(self.optimizer, factor * math.prod(falls(k, total) for falls in hooks["lr_schedule"]))
        value = self._loop.change(step, self.optimizer, context.moved, hooks)
        object.__setattr__(self, "seen", self.seen + batch.fresh)  # a module's own way looks through all its parts
        rows = len(batch)
        return Update(
            batch.fresh, rows - batch.fresh, rows + context.forwards, rows + context.backwards, 1 + context.steps, value
        )

    def _consolidate(self, budget: int) -> Iterator[Update]:
        for number, part in enumerate(self._parts):
            self._context.where = f"consolidate {number}"
            for update in part.consolidate(self._context, budget) or ():
                yield update
                budget -= 1
                if budget <= 0:
                    return

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        head = self.model.head
        with self._loop.precision():
            features = self.model.features(x)
            scores = head(features)
        scores = scores.float()
        self._context.asked = task
        for on_scores in self._hooks["on_scores"]:
            scores = on_scores(scores, features, self._context)
        return Answer(head.only(scores, task), tuple(head.classes))
