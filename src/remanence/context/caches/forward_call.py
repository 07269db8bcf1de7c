"""One call of the model, as a cache and its policy see it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class ForwardCall:
    """One call of the model.

    Parameters
    ----------
    tokens:
        (batch, n) int64, or None where embeddings were given.
    valid:
        (batch, n) bool: which new tokens are no padding; None where all are.
    length:
        How many tokens are new.
    positions:
        (batch, n) int64: the positions of the new tokens.
    first:
        Whether no token came before and none is padding: each token then sees those up to itself.
    mask:
        What the new tokens may see of a layer without padding, (1, 1, n, count); layers of as many entries share it.
    shared:
        What a policy found out about the call that holds for all layers, by name.
    handed:
        Keys and values that each layer handed over in this call.
    read:
        The layers whose attention was computed over what the cache holds.
    thread:
        In which the model was called.
    """

    tokens: Tensor | None
    valid: Tensor | None
    length: int
    positions: Tensor
    first: bool = False
    mask: Tensor | None = None
    shared: dict[str, Any] = field(default_factory=dict)
    handed: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    read: set[int] = field(default_factory=set)
    thread: int = field(default_factory=threading.get_ident)
