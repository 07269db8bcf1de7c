"""Running statistics of batch normalisation, measured anew after weights were averaged, folded or replaced."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from remanence.models.model import Model


def recompute(model: Model, inputs: Iterable[Tensor]) -> int:
    """Replace the running statistics by the means over batches of raw inputs; return the rows that passed.

    Only normalisation is in training mode while they pass, so that dropout draws nothing, and each batch
    counts as much as any other, as in ``torch.optim.swa_utils.update_bn``. Where the model keeps no such
    statistics, nothing passes.

    Example
    -------
    >>> from remanence.models.heads import LinearHead
    >>> model = Model(nn.Sequential(nn.BatchNorm1d(2)), LinearHead(2, 1))
    >>> recompute(model, [torch.tensor([[0.0, 2.0], [2.0, 4.0]]), torch.tensor([[3.0, 1.0], [5.0, 1.0]])])
    4
    >>> model.body[0].running_mean.tolist()
    [2.5, 2.0]
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return 0
    modes = {module: module.training for module in model.modules()}
    momenta = {norm: norm.momentum for norm in norms}
    rows = 0
    for module in modes:
        module.training = False
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    try:
        with torch.no_grad():
            for x in inputs:
                model.features(x)
                rows += len(x)
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return rows
