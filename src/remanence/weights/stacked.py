"""The seeds of one learner trained together, their parameters stacked along a first axis.

Small networks leave a processor idle between two small products; the products of several seeds done
in one call do not. Every seed keeps its own order of data, initial weights and rehearsal, drawn with
the numbers that a run of its own would draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from remanence import schedules
from remanence.answer import Answer
from remanence.errors import Diverged, Unsupported
from remanence.learner import Learner
from remanence.models.stacked import StackedModel
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights import optimizers
from remanence.weights.hooks import overrides
from remanence.weights.part import Part
from remanence.weights.stacked_part import StackedBatch, StackedContext, StackedPart, StackedStep
from remanence.weights.stacking import stack_parts
from remanence.weights.trainer import Trainer


class StackedTrainer:
    """Several seeds of one learner that learn together.

    Parameters
    ----------
    learners:
        Trainers of one recipe that differ in their seed.

    Raises
    ------
    Unsupported
        If the learner cannot be stacked; the sentence names what stands in the way.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._learners: list[Trainer] = []
        for learner in learners:
            if not isinstance(learner, Trainer):
                raise Unsupported(f"{type(learner).__name__} has no training loop to stack: run the seeds one by one")
            if learner.memory is not None and learner.memory.elastic:
                raise Unsupported(
                    "the rehearsal memory gives up rows of each seed to keep the budget: give it a size, or run the "
                    "seeds one by one"
                )
            self._learners.append(learner)
        self.seeds = [learner.seed for learner in self._learners]
        self.stopped: dict[int, str] = {}
        """The seeds whose loss became NaN or infinite, and where."""
        self._model: StackedModel | None = None
        self._optimizer: optimizers.Optimizer | None = None
        self._parts: list[StackedPart] = []
        self._stack()
        self._unstack()

    # Learning

    def steps(self, experience: Experience | Sequence[Experience]) -> Iterator[list[Update | None]]:
        """Learn an experience, yielding what every seed's update cost; None for a seed that has stopped.

        Parameters
        ----------
        experience:
            The experience of all seeds, or one for each seed where their streams differ.

        Raises
        ------
        Unsupported
            If the seeds' experiences do not have as many rows and classes, or classes are not told.
        Diverged
            If every seed has stopped.
        """
        each = [experience] * len(self._learners) if isinstance(experience, Experience) else list(experience)
        for learner, own in zip(self._learners, each, strict=True):
            if own.classes is None and learner.model.head.outputs == 0:
                raise Unsupported(
                    "the stream does not tell the classes of an experience, so the seeds' heads would grow at "
                    "different updates: run the seeds one by one"
                )
        yield from self._in_turn([learner.open(own) for learner, own in zip(self._learners, each, strict=True)])
        yield from self._main(each)
        yield from self._in_turn([learner.close(own) for learner, own in zip(self._learners, each, strict=True)])

    def learn(self, experience: Experience | Sequence[Experience]) -> StackedTrainer:
        """Learn a whole experience."""
        for _ in self.steps(experience):
            pass
        return self

    def _in_turn(self, generators: Sequence[Iterator[Update]]) -> Iterator[list[Update | None]]:
        for updates in zip_longest(*generators):
            yield list(updates)

    def _main(self, each: Sequence[Experience]) -> Iterator[list[Update | None]]:
        samplers = [learner.sampler(own) for learner, own in zip(self._learners, each, strict=True)]
        if len({len(sampler) for sampler in samplers}) > 1:
            rows = sorted({len(own.examples) for own in each})
            raise Unsupported(f"the seeds' experiences have {rows} rows: stack seeds whose experiences are of one size")
        total = len(samplers[0])
        self._stack()
        model, optimizer = self._ready()
        context = StackedContext({n: p for n, p in model.parameters.items() if p.requires_grad}, each[0].index)
        contexts = [learner.context for learner in self._learners]
        falls = schedules.named(self._learners[0].training_settings.schedule)
        try:
            for k in range(total):
                for own in contexts:
                    own.where, own.k = "main", k
                context.k = k
                if falls is not None:
                    optimizers.set_rates(optimizer, falls(k, total))
                batch = _cut(each, [sampler[k] for sampler in samplers], self._learners[0].device)
                step = StackedStep(context, contexts, batch, k, total)
                updates = self._update(step, model, optimizer)
                for learner in self._learners:
                    learner.advance(step.batch.fresh)
                yield updates
        finally:
            self._unstack()

    def _update(self, step: StackedStep, model: StackedModel, optimizer: optimizers.Optimizer) -> list[Update | None]:
        for part in self._parts:
            step.batch = part.rehearse(step.batch, step.contexts)
        batch, rows = step.batch, step.batch.y.shape[1]
        losses = self._losses(model(batch.x, training=True), batch.y)
        loss = losses.sum()
        for part in self._parts:
            added = part.loss(step)
            if added is not None:
                loss = loss + added
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for part in self._parts:
            part.on_gradient(step)
        optimizer.step()
        for part in self._parts:
            part.after_step(step)
        return self._counted(step, losses.tolist(), rows)

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        """The mean loss of every seed (seeds,)."""
        head = self._learners[0].model.head
        if head.outputs:
            return (scores.squeeze(2) - y).square().mean(1)
        columns = head.columns_of_seen(y.flatten())
        flat = scores.flatten(0, 1)
        mask = head.competitors(columns)
        if mask is not None:
            flat = flat.masked_fill(~mask, -torch.inf)
        return cross_entropy(flat, columns, reduction="none").view(y.shape).mean(1)

    def _counted(self, step: StackedStep, losses: list[float], rows: int) -> list[Update | None]:
        fresh = step.batch.fresh
        updates: list[Update | None] = []
        for seed, value in zip(self.seeds, losses, strict=True):
            if not math.isfinite(value) and seed not in self.stopped:
                self.stopped[seed] = (
                    f"the loss became {value} at update {step.k} of experience {step.context.experience}"
                )
            done = Update(fresh, rows - fresh, rows, rows, 1, value)
            updates.append(None if seed in self.stopped else done)
        if len(self.stopped) == len(self.seeds):
            raise Diverged(f"{next(iter(self.stopped.values()))}, as did that of every other seed: lower lr")
        return updates

    # Stacking

    def _stack(self) -> None:
        """Stack what the learners hold now."""
        learners = self._learners
        if len({tuple(learner.model.classes) for learner in learners}) > 1:
            raise Unsupported("the seeds met their classes in different orders: run the seeds one by one")
        model = StackedModel([learner.model for learner in learners])
        grouped: list[tuple[float, dict[str, nn.Parameter]]] = []
        settings = learners[0].training_settings.model_dump()
        for group in learners[0].optimizer.param_groups:
            mine = {id(parameter) for parameter in group["params"]}
            names = [name for name, parameter in learners[0].context.moved.items() if id(parameter) in mine]
            grouped.append((group["base"] / settings["lr"], {name: model.parameters[name] for name in names}))
        optimizer = optimizers.make(settings, grouped)
        kept = [optimizers.tensors(learner.optimizer, learner.context.moved) for learner in learners]
        optimizers.put(optimizer, model.parameters, _stacked_state(kept))
        places = zip(*(learner.parts for learner in learners), strict=True)
        self._parts = [stacked for parts in places if (stacked := stack_parts(parts)) is not None]
        if model.batched and optimizers.is_plain(optimizer) and not any(map(_needs_gradients, self._parts)):
            for factor, named in grouped:
                group = next(g for g in optimizer.param_groups if g["base"] == settings["lr"] * factor)
                model.at_once |= {name: group for name in named if name.endswith("weight")}
        self._model, self._optimizer = model, optimizer

    def _give_back(self) -> None:
        """Copy what was learned into the learners."""
        model, optimizer = self._ready()
        model.give_back([learner.model for learner in self._learners])
        for part in self._parts:
            part.give_back()
        state = optimizers.tensors(optimizer, model.parameters)
        for number, learner in enumerate(self._learners):
            own = {key: value[number] if value.dim() else value for key, value in state.items()}
            optimizers.put(learner.optimizer, learner.context.moved, own)

    def _unstack(self) -> None:
        self._give_back()
        self._model, self._optimizer, self._parts = None, None, []

    def _ready(self) -> tuple[StackedModel, optimizers.Optimizer]:
        if self._model is None or self._optimizer is None:
            raise Unsupported("nothing is being learned: ask inside `steps`")
        return self._model, self._optimizer

    # Answering

    def learners(self) -> list[Learner]:
        """The seeds as ordinary learners with what they have learned so far, to ask, save or measure.

        While an experience is being learned they are copies of the present state: what is done to them
        then does not reach the training.
        """
        if self._model is not None:
            self._give_back()
        return list(self._learners)

    def predict(self, x: Tensor, task: int | None = None) -> list[Answer]:
        """What every seed answers to the same questions (n, *shape)."""
        first = self._learners[0]
        if any(isinstance(part, Part) and overrides(part, "on_scores") for part in first.parts):
            return [learner.predict(x, task) for learner in self.learners()]
        model = self._model or StackedModel([learner.model for learner in self._learners])
        with torch.no_grad():
            scores = model(x.to(first.device).expand(len(self._learners), *x.shape), training=False)
        head, classes = first.model.head, tuple(first.model.classes)
        return [Answer(head.only(own, task), classes) for own in scores]


def _needs_gradients(part: StackedPart) -> bool:
    return any(getattr(type(part), hook) is not getattr(StackedPart, hook) for hook in ("loss", "on_gradient"))


def _cut(each: Sequence[Experience], places: list[Tensor], device: torch.device) -> StackedBatch:
    """The new rows of every seed, read in one go where all seeds learn the same examples."""
    count, seeds = len(places[0]), len(places)
    if any(len(place) != count for place in places):
        raise Unsupported("the seeds' batches have different sizes: run the seeds one by one")
    if all(own.examples is each[0].examples for own in each):
        x, y, ids = (column.to(device) for column in each[0].examples.cut(torch.cat(places)))
        return StackedBatch(x.view(seeds, count, *x.shape[1:]), y.view(seeds, count), ids.view(seeds, count), count)
    cut = [own.examples.cut(place) for own, place in zip(each, places, strict=True)]
    x, y, ids = (torch.stack(column).to(device) for column in zip(*cut, strict=True))
    return StackedBatch(x, y, ids, count)


def _stacked_state(kept: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The optimizer states of all seeds as one; counts of steps are the same for all."""
    return {
        key: torch.stack([state[key] for state in kept]) if value.dim() else value for key, value in kept[0].items()
    }
