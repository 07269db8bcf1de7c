"""What parts meet in a loop of one's own: steps whose batch was not told, data that was not given, refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import Unsupported, UsageError
from remanence.streams.examples import Examples, InMemory, Rows
from remanence.streams.experience import Experience
from remanence.weights.batch import Batch
from remanence.weights.context import Step
from remanence.weights.hooks import overrides
from remanence.weights.part import Part

UNDISCLOSED = frozenset({"classes", "task ids", "task ids at test time"})
"""What a loop of one's own does not tell."""


class BatchlessStep(Step):
    """A step whose batch nobody told: what depends on it is refused with one sentence."""

    __slots__ = ()

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        for name in ("batch", "x", "features", "scores", "columns", "loss"):
            delattr(self, name)

    def __getattr__(self, name: str) -> Any:
        raise UsageError(
            f"a part looks at the {name} of the step, which your loop did not tell: call "
            "x, y = attached.rehearse(x, y) before the forward pass"
        )


class MissingExamples(Examples):
    """The examples of an experience that the loop did not hand over."""

    def __len__(self) -> int:
        raise UsageError(self._sentence)

    def cut(self, index: Tensor) -> Rows:
        raise UsageError(self._sentence)

    _sentence = (
        "a part reads the examples of an experience again, and none were given: call attached.boundary(loader) "
        "with the data that just ended"
    )


NO_ROWS = Batch(torch.empty(0), None, torch.empty(0, dtype=torch.int64), 0)


def joined(steps: Sequence[Step], make: Callable[[Batch], Step]) -> Step:
    """Several forward passes that one change of the parameters learned from, as one step: new rows first."""
    if len(steps) == 1:
        return steps[0]
    batches = [step.batch for step in steps]
    fresh = torch.cat([torch.arange(len(batch)) < batch.fresh for batch in batches])
    order = torch.argsort((~fresh).long(), stable=True)

    def together(values: Sequence[Tensor | None]) -> Tensor | None:
        known = [value for value in values if value is not None]
        return torch.cat(known)[order.to(known[0].device)] if len(known) == len(values) else None

    rehearsing = [batch for batch in batches if batch.origin is not None]
    origins = [batch.origin for batch in rehearsing if batch.origin is not None]
    names = set.intersection(*(set(batch.extras or ()) for batch in rehearsing)) if rehearsing else set()
    whole = Batch(
        torch.cat([batch.x for batch in batches])[order.to(batches[0].x.device)],
        together([batch.y for batch in batches]),
        torch.cat([batch.ids for batch in batches])[order.to(batches[0].ids.device)],
        int(fresh.sum()),
        torch.cat(origins) if origins else None,
        extras={name: torch.cat([(batch.extras or {})[name] for batch in rehearsing]) for name in names} or None,
    )
    step = make(whole)
    for name in ("x", "features", "scores", "columns"):
        setattr(step, name, together([getattr(each, name) for each in steps]))
    step.loss = steps[-1].loss
    return step


def gradients_of(terms: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
    """The gradient of the sum of some terms for every parameter; the graph is kept."""
    found = torch.autograd.grad(torch.stack(list(terms)).sum(), list(parameters), retain_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True))


def add_gradients(gathered: Sequence[tuple[Tensor, ...]], parameters: Sequence[nn.Parameter]) -> None:
    """Add the mean of gradients that were gathered over forward passes to ``.grad``."""
    if not gathered:
        return
    share = 1 / len(gathered)
    for place, parameter in enumerate(parameters):
        total = gathered[0][place]
        if share < 1:
            total = torch.stack([found[place] for found in gathered]).sum(0).mul_(share)
        parameter.grad = total if parameter.grad is None else parameter.grad + total


def before_step(
    args: tuple[Any, ...], kwargs: dict[str, Any], act: Callable[[], None]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Act before an optimizer's step, or, where the step computes the gradients itself, right after it did."""
    inner = kwargs.get("closure") if "closure" in kwargs else (args[1] if len(args) > 1 else None)
    if inner is None:
        act()
        return None

    def closure() -> Any:
        value = inner()
        act()
        return value

    return (args[0], closure, *args[2:]), {key: value for key, value in kwargs.items() if key != "closure"}


def without_data(index: int) -> Experience:
    return Experience(index, MissingExamples())


def examples_of(loader: Iterable[Any] | Examples) -> Examples:
    """Batches of (x, y) as examples held in memory.

    >>> len(examples_of([(torch.zeros(3, 2), torch.zeros(3)), (torch.zeros(1, 2), torch.zeros(1))]))
    4
    """
    if isinstance(loader, Examples):
        return loader
    pairs: list[Any] = [loader] if isinstance(loader, tuple) and len(loader) == 2 else list(loader)
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise UsageError("attached.boundary was given no batches of (x, y): give a loader that yields such pairs")
    return InMemory(torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs]))


def refuse(parts: Sequence[Part], optimizer: torch.optim.Optimizer) -> None:
    """Say what cannot be served here, naming the part and the hook."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise Unsupported(
            "LBFGS computes gradients several times in a step, where no part can act: use another optimizer"
        )
    for part in parts:
        name = type(part).__name__
        for hook, why in (
            ("batch_sampler", "the order of batches is your loop's"),
            ("lr_multiplier", "the learning rates are your optimizer's"),
            ("lr_schedule", "the learning rates are your optimizer's"),
            ("before_training", "the data of an experience comes after it began"),
        ):
            if overrides(part, hook):
                raise Unsupported(f"{name} uses the hook {hook}, which attach cannot serve, as {why}: use a Trainer")
        if part.layers:
            raise Unsupported(f"{name} reads layers of the body, which attach does not record: use a Trainer")
        hidden = sorted(part.needs & UNDISCLOSED)
        if hidden:
            raise Unsupported(
                f"{name} needs {' and '.join(hidden)}, which a loop of one's own does not tell: use a Trainer"
            )
        if overrides(part, "on_scores"):
            warnings.warn(
                f"{name} changes answers (hook on_scores): ask attached.predict(x), as the model itself answers without it",
                stacklevel=5,
            )
