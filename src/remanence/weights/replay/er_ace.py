"""Asymmetric rehearsal: new rows compete among the classes of their batch, remembered rows among all.

What is remembered are raw examples in a reservoir, as in plain experience replay. New rows cannot push
down the scores of classes that are absent, which is what disturbs old features most when new classes
begin. It costs what experience replay costs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from remanence.registry import Paper, system
from remanence.weights.batch import Batch
from remanence.weights.context import Context
from remanence.weights.replay.er import ER


@system(
    "er-ace",
    paper=Paper(
        "New Insights on Reducing Abrupt Representation Change in Online Continual Learning",
        "Caccia, Aljundi, Asadi, Tuytelaars, Pineau, Belilovsky",
        2022,
        "2104.05025",
    ),
    baseline="er",
    training={"lr": 0.1},
    training_by_source={"clinc150": {"lr": 30.0}},
    tuning_note="lr among 0.01, 0.03, 0.1 on split MNIST in two other class orders, 1,000 examples an experience, 200 kept, by final accuracy on test rows; on clinc150 best of 1, 3, 10, 30 on held-out training rows",
    variant="linear head; current classes are exactly those in the incoming batch",
)
class ERACE(ER):
    """Experience replay with asymmetric cross-entropy.

    The loss is CE over the classes of the incoming batch for its rows, plus CE over all classes seen for
    the remembered rows, each a mean.

    Parameters
    ----------
    size:
        Rows in the memory (1 or more).
    rehearsed:
        Remembered rows per update; 0 means as many as there are new ones.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("er-ace", stream, size=50)
    >>> _ = learner.learn(next(stream.experiences()))
    >>> len(learner.parts[0].memory)
    50

    References
    ----------
    Caccia et al., New Insights on Reducing Abrupt Representation Change in Online Continual Learning,
    2022, arXiv:2104.05025.

    Departures
    ----------
    The paper's code also lets classes that were never seen compete with the current ones; a growing head
    has no such columns. New and remembered rows share one forward pass.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        fresh = batch.fresh
        batch = super().rehearse(batch, context)
        if batch.y is None:
            return batch
        head = context.model.head
        columns = head.columns(batch.y)
        mask = torch.ones(len(batch), len(head.classes), dtype=torch.bool, device=columns.device)
        present = torch.zeros(len(head.classes), dtype=torch.bool, device=columns.device)
        present[columns[:fresh]] = True
        mask[:fresh] = present
        among = head.competitors(columns)
        if among is not None:
            mask &= among
        rows = len(batch)
        weight = torch.full((rows,), rows / fresh, device=columns.device)
        weight[fresh:] = rows / max(1, rows - fresh)
        return replace(batch, mask=mask, weight=weight)
