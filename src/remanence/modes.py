"""Training and evaluation modes of modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode again outside."""
    training = [own for own in module.modules() if own.training]
    for own in training:
        own.training = False
    try:
        yield
    finally:
        for own in training:
            own.training = True
