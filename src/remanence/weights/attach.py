"""Parts in a loop of one's own: the same penalties, rehearsal and projections, without the library's trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from remanence.weights.attached import Attached
from remanence.weights.part import Part


def attach(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    *,
    head: str | None = None,
    task: str = "classification",
    seed: int = 0,
    **training: Any,
) -> Attached:
    """Hook parts into a training loop of one's own: plain, Lightning's, or the Hugging Face Trainer's.

    Parameters
    ----------
    model:
        The module that is trained. It stays as it is; its last linear layer is taken as the head, with
        an output for every class from the start.
    optimizer:
        The torch optimizer that the loop steps.
    parts:
        What is added, in the order in which their hooks are called.
    head:
        Name of the last layer, where it is not the last ``nn.Linear``.
    task:
        ``"classification"`` or ``"regression"``.
    seed:
        From which the parts' random numbers are derived.
    **training:
        Settings for what parts train by themselves at a boundary; `lr` is the optimizer's by default.

    Returns
    -------
    Attached
        To be used in ``with``; the hooks are removed on leaving.

    Raises
    ------
    Unsupported
        If a part needs what a loop of one's own cannot give it; the part and the hook are named.

    Example
    -------
    >>> import remanence as rm
    >>> from remanence.weights.replay.er import ER
    >>> model = nn.Linear(4, 2)
    >>> model = nn.Sequential(nn.Flatten(), model)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with rm.attach(model, optimizer, [ER(size=10)]) as attached:
    ...     for _ in range(3):
    ...         x, y = attached.rehearse(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 0]))
    ...         optimizer.zero_grad()
    ...         nn.functional.cross_entropy(model(x), y).backward()
    ...         optimizer.step()
    >>> len(x), len(attached.memory)
    (10, 10)
    """
    return Attached(model, optimizer, parts, head=head, task=task, seed=seed, **training)
