"""Which of a system's own functions were entered, and whether anything came of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from torch import Tensor

from remanence.registry import System


class Exercise:
    """Notes every call of the hooks that systems have of their own, while it watches.

    Example
    -------
    >>> from remanence import registry
    >>> "lwf: loss" in Exercise([registry.get("lwf")]).idle
    True
    """

    def __init__(self, cards: Sequence[System]) -> None:
        self._own = [(card.name, hook, owner) for card in cards for hook, owner in overridden(card)]
        self._entered: Counter[tuple[str, str]] = Counter()
        self._gave: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, whoever calls a hook calls it through a note; learners built inside keep the note."""
        plain = [(owner, hook, vars(owner)[hook]) for _, hook, owner in self._own]
        try:
            for name, hook, owner in self._own:
                setattr(owner, hook, self._noted((name, hook), vars(owner)[hook]))
            yield
        finally:
            for owner, hook, function in plain:
                setattr(owner, hook, function)

    def _noted(self, which: tuple[str, str], function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*given: Any, **named: Any) -> Any:
            self._entered[which] += 1
            found = function(*given, **named)
            self._gave[which] += isinstance(found, Tensor) and bool((found.detach() != 0).any())
            return found

        return noted

    @property
    def idle(self) -> list[str]:
        """Hooks that were never entered, and terms of a loss that were nothing whenever they were asked for."""
        return sorted(
            f"{name}: {hook}"
            for name, hook, _ in self._own
            if not self._entered[name, hook] or (hook == "loss" and not self._gave[name, hook])
        )


def overridden(card: System) -> Iterator[tuple[str, type]]:
    """The hooks of its kind that a system has of its own, and the class below the base class that defines each."""
    for hook in card.runner.hooks:
        owner = next((base for base in card.factory.__mro__ if hook in vars(base)), None)
        if owner is not None and "runner" not in vars(owner) and isinstance(vars(owner)[hook], FunctionType):
            yield hook, owner
