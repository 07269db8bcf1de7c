"""The diagonal of the Fisher information, exact per example and vectorised.

F is the mean over examples of the squared gradient of log p(y|x) with respect to each parameter. Which
y is meant makes two different things of it: the label of the data (empirical), or the expectation over
what the model itself would answer (true). The square of a mean gradient is neither, and is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from remanence.models.heads import LinearHead
from remanence.models.model import Model
from remanence.modes import evaluation
from remanence.streams.examples import Rows

Kind = Literal["empirical", "true"]

MOST_CLASSES = 50
"""Up to so many classes the true Fisher sums over all of them; beyond, it draws one answer per example."""

MOST_VALUES = 1 << 23
"""Most per-example gradient values held at once where there is no closed form (32 MB in float32)."""


def diagonal_fisher(
    model: Model,
    parameters: Mapping[str, Tensor],
    chunks: Iterable[Rows],
    kind: Kind = "true",
    *,
    generator: torch.Generator | None = None,
    count: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """Mean over examples of the squared gradient of log p(y|x), by name of the parameter.

    The model answers in evaluation mode; its ``.grad``, modes and random states are left as they were.
    Regression is taken as a normal distribution of unit variance.

    Parameters
    ----------
    model:
        Body and head.
    parameters:
        Those of its parameters to measure, by name.
    chunks:
        The examples, some hundred at a time.
    kind:
        ``empirical`` takes the labels of the data, ``true`` the expectation over the model's own answers.
    generator:
        Draws the answers where there are more than `MOST_CLASSES` classes.
    count:
        Told how many rows went forwards and backwards.

    Returns
    -------
    dict
        One tensor (0 or more, the parameter's shape) per name.
    """
    sums = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}
    layers = linear_layers(model, parameters)
    examples = 0
    with evaluation(model):
        for x, y, _ in chunks:
            examples += len(y)
            passes = _closed_form(model, layers, x, y, kind, generator, sums) if layers else None
            if passes is None:
                layers = None
                passes = _per_example(model, parameters, x, y, kind, generator, sums)
            if count is not None:
                count(*passes)
    return {name: total / max(1, examples) for name, total in sums.items()}


def directions(
    model: Model, scores: Tensor, y: Tensor, kind: Kind, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Derivatives of log p by the scores (m, n, outputs), and their weights (m, n).

    F sums weight times the squared gradient along each of the m directions.
    """
    head, rows = model.head, len(scores)
    if head.outputs:
        if kind == "empirical":
            return (y.reshape(rows, -1) - scores).unsqueeze(0), scores.new_ones(1, rows)
        units = torch.eye(head.outputs, dtype=scores.dtype, device=scores.device)
        return units.unsqueeze(1).expand(-1, rows, -1), scores.new_ones(head.outputs, rows)
    soft = y.is_floating_point()
    columns = head.columns(y) if not soft else None
    mask = head.competitors(columns) if columns is not None else None
    p = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(1)
    classes = p.shape[1]
    if kind == "empirical":
        answers = y if columns is None else torch.nn.functional.one_hot(columns, classes)
        return (answers - p).unsqueeze(0), scores.new_ones(1, rows)
    if classes > MOST_CLASSES:
        drawn = torch.multinomial(p.cpu(), 1, generator=generator).squeeze(1).to(p.device)
        return (torch.nn.functional.one_hot(drawn, classes) - p).unsqueeze(0), scores.new_ones(1, rows)
    units = torch.eye(classes, dtype=p.dtype, device=p.device)
    return units.unsqueeze(1) - p.unsqueeze(0), p.t()


def linear_layers(model: Model, parameters: Mapping[str, Tensor]) -> dict[str, nn.Module] | None:
    """The layers that hold the parameters, if all of them are plain linear layers that share nothing."""
    distinct = sum(1 for _ in model.named_parameters())
    if sum(1 for _ in model.named_parameters(remove_duplicate=False)) != distinct:
        return None
    layers: dict[str, nn.Module] = {}
    for name in parameters:
        place = name.rpartition(".")[0]
        module = model.get_submodule(place)
        if type(module) not in (nn.Linear, LinearHead):
            return None
        layers[place] = module
    return layers


def _closed_form(
    model: Model,
    layers: dict[str, nn.Module],
    x: Tensor,
    y: Tensor,
    kind: Kind,
    generator: torch.Generator | None,
    sums: dict[str, Tensor],
) -> tuple[int, int] | None:
    """Add up squares of outer products, (w δ²)ᵀ a², layer by layer; None where a layer is not used once a row."""
    squares: dict[str, list[Tensor]] = {place: [] for place in layers}
    outputs: dict[str, Tensor] = {}

    def keep(place: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            squares[place].append(inputs[0].detach().square())
            outputs[place] = output
            return output.clone()  # an activation in place must not overwrite what is differentiated

        return hook

    handles = [layer.register_forward_hook(keep(place)) for place, layer in layers.items()]
    try:
        with torch.enable_grad():
            scores = model(x)
    finally:
        for handle in handles:
            handle.remove()
    if any(len(found) != 1 or found[0].dim() != 2 or len(found[0]) != len(y) for found in squares.values()):
        return None
    along, weights = directions(model, scores.detach(), y, kind, generator)
    for direction, weight in zip(along, weights, strict=True):
        found = torch.autograd.grad(scores, list(outputs.values()), direction, retain_graph=True, allow_unused=True)
        for place, delta in zip(outputs, found, strict=True):
            if delta is None:
                continue
            spread = delta.square() * weight.unsqueeze(1)
            if f"{place}.weight" in sums:
                sums[f"{place}.weight"].addmm_(spread.t(), squares[place][0])
            if f"{place}.bias" in sums:
                sums[f"{place}.bias"] += spread.sum(0)
    return len(y), len(y) * len(along)


def _per_example(
    model: Model,
    parameters: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    kind: Kind,
    generator: torch.Generator | None,
    sums: dict[str, Tensor],
) -> tuple[int, int]:
    """Add up squares of per-example gradients of any network, so many rows at a time as memory allows."""
    held = {name: p.detach() for name, p in parameters.items()}
    places = _places(model, parameters)

    def along(values: dict[str, Tensor], row: Tensor, direction: Tensor) -> Tensor:
        everywhere = {place: values[name] for place, name in places.items()}
        scores: Tensor = functional_call(model, everywhere, (row.unsqueeze(0),), tie_weights=False)
        return (scores.squeeze(0) * direction).sum()

    per_row = vmap(grad(along), in_dims=(None, 0, 0))
    with torch.no_grad():
        inputs = model.prepare(x)
        found, weights = directions(model, model(x), y, kind, generator)
    rows = max(1, MOST_VALUES // max(1, sum(p.numel() for p in held.values())))
    for start in range(0, len(y), rows):
        cut = slice(start, start + rows)
        for direction, weight in zip(found, weights, strict=True):
            gradients = per_row(held, inputs[cut], direction[cut])
            for name, each in gradients.items():
                sums[name] += torch.tensordot(weight[cut], each.square_(), 1)
    passes = len(y) * len(found)
    return len(y) + passes, passes


def _places(model: Model, parameters: Mapping[str, Tensor]) -> dict[str, str]:
    """Every place where a parameter is used, one per module even where a module has two names, to its name."""
    names = {id(p): name for name, p in parameters.items()}
    places: dict[str, str] = {}
    met: set[tuple[int, str]] = set()
    for place, parameter in model.named_parameters(remove_duplicate=False):
        owner, _, leaf = place.rpartition(".")
        where = (id(model.get_submodule(owner)), leaf)
        if id(parameter) in names and where not in met:
            met.add(where)
            places[place] = names[id(parameter)]
    return places
