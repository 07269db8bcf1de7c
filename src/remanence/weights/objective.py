"""The plain objective of each task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from remanence.errors import UsageError
from remanence.weights.context import Step


def plain_objective(step: Step) -> Tensor:
    """Cross-entropy over the classes a row competes among, or squared error; mean over rows.

    Honours the batch's `mask` and `weight`, and soft labels.
    """
    batch, head = step.batch, step.context.model.head
    target = step.columns if step.columns is not None else batch.y
    if target is None:
        raise UsageError(
            "a batch without targets reached the plain objective: give a part with an objective of its own"
        )
    if head.outputs:
        each = step.scores.squeeze(1)
        if batch.weight is None:
            return mse_loss(each, target)
        return (batch.weight * (each - target).square()).mean()
    scores = competing_scores(step)
    if batch.weight is None:
        return cross_entropy(scores, target)
    return (batch.weight * cross_entropy(scores, target, reduction="none")).mean()


def competing_scores(step: Step) -> Tensor:
    """Scores (n, classes) with -inf where a row does not compete: outside its `mask`, or its task's classes.

    What a part puts in place of the plain objective reads these, so that masks of other parts and tasks hold.
    """
    mask, head = step.batch.mask, step.context.model.head
    if mask is None and head.tasks and step.columns is not None:
        mask = head.competitors(step.columns)
    return step.scores if mask is None else step.scores.masked_fill(~mask, -torch.inf)
