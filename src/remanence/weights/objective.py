"""The plain objective of each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from remanence.errors import UsageError

if TYPE_CHECKING:
    from remanence.weights.part import Step


def plain_objective(step: Step) -> Tensor:
    """Cross-entropy over the classes a row competes among, or squared error; mean over rows.

    Honours the batch's `mask` and `weight`, and soft labels.
    """
    batch, head, scores = step.batch, step.context.model.head, step.scores
    target = step.columns if step.columns is not None else batch.y
    if target is None:
        raise UsageError(
            "a batch without targets reached the plain objective: give a part with an objective of its own"
        )
    if head.outputs:
        each = scores.squeeze(1)
        if batch.weight is None:
            return mse_loss(each, target)
        return (batch.weight * (each - target).square()).mean()
    mask = batch.mask
    if mask is None and head.tasks and step.columns is not None:
        mask = head.competitors(step.columns)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    if batch.weight is None:
        return cross_entropy(scores, target)
    return (batch.weight * cross_entropy(scores, target, reduction="none")).mean()
