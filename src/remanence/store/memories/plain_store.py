"""The store as it comes: every input is kept and found by meaning and words together, with everything that reading has.

It costs a vector, the text and a full-text index for each input.
"""

from __future__ import annotations

from remanence.hyperparameters import validated
from remanence.registry import system
from remanence.store.memories.base import Memory


@system("plain-store", place="store")
class PlainStore(Memory):
    """A baseline: the store read in its default way."""

    @validated
    def __init__(self) -> None:
        super().__init__()
