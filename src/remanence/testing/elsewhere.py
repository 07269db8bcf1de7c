"""A process begun anew, in whose children saved learners go on."""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self, TypeVar

import torch

from remanence.registry import all_systems

Found = TypeVar("Found")

_TAKES_SECONDS = ("transformers.models.llama.modeling_llama", "sklearn.datasets", "torch._dynamo")


class Elsewhere:
    """Runs a function in a process that has learned nothing yet.

    One process is started anew and only loads code; every call runs in a child of its own, forked from it where the
    machine can fork, so that what takes seconds to load is loaded once.

    Example
    -------
    >>> import math
    >>> with Elsewhere() as elsewhere:
    ...     elsewhere.run(math.sqrt, 9.0)
    3.0
    """

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_load)

    def run(self, function: Callable[..., Found], *given: Any) -> Found:
        """The function's result; both, and what is given, must be picklable."""
        return self._process.submit(_in_a_child, function, *given).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.shutdown()


def _load() -> None:
    for module in _TAKES_SECONDS:
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            importlib.import_module(module)
    all_systems()
    torch.set_num_threads(1)


def _in_a_child(function: Callable[..., Found], *given: Any) -> Found:
    if sys.platform in ("win32", "darwin"):
        return function(*given)
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as child:
        return child.submit(function, *given).result()


@functools.cache
def elsewhere() -> Elsewhere:
    """The one of this process, begun when it is first asked for and ended with it."""
    begun = Elsewhere()
    atexit.register(begun.__exit__, None, None, None)
    return begun
