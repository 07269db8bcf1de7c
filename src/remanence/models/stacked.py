"""Several models of one shape computed together: parameters and buffers stacked along a first axis."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from remanence.errors import Unsupported
from remanence.models.heads import LinearHead
from remanence.models.model import Model

_ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)
_RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)


class StackedModel:
    """Scores of several models at once.

    Bodies made of linear layers and elementwise functions go through batched matrix products; any
    other body goes through ``torch.func.vmap``.

    Parameters
    ----------
    models:
        Models of one structure and one order of classes; their tensors are copied.

    Raises
    ------
    Unsupported
        If a layer draws random numbers in training, or the shapes differ.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        for name, module in models[0].named_modules():
            if isinstance(module, _RANDOM):
                raise Unsupported(
                    f"the layer {name!r} ({type(module).__name__}) draws random numbers, which seeds that are "
                    "trained together cannot draw each for itself: run the seeds one by one"
                )
        self.parameters = {
            name: nn.Parameter(stacked.detach(), models[0].get_parameter(name).requires_grad)
            for name, stacked in _stacked([dict(model.named_parameters()) for model in models]).items()
        }
        self.buffers = _stacked([dict(model.named_buffers()) for model in models])
        self.at_once: dict[str, dict[str, Any]] = {}
        """Weights that the backward pass changes itself, with the optimizer's group that holds their rate."""
        self.layers = _products(models[0])
        self._skeleton = copy.deepcopy(models[0]).to("meta")
        self._prepare = models[0].prepare

    @property
    def batched(self) -> bool:
        """Whether batched matrix products carry it, rather than vmap."""
        return self.layers is not None

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Scores (models, n, classes) of raw inputs (models, n, *shape)."""
        x = self._prepare(x)
        if self.layers is not None:
            hidden = x.flatten(2)
            for layer in self.layers:
                hidden = layer(hidden, self)
            return hidden
        self._skeleton.train(training)
        forward = torch.func.vmap(self._one, in_dims=(0, 0, 0), randomness="error")
        return forward(self.parameters, self.buffers, x)

    def _one(self, parameters: Mapping[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        scores: Tensor = torch.func.functional_call(self._skeleton, (dict(parameters), buffers), (x,))
        return scores

    def give_back(self, models: Sequence[Model]) -> None:
        """Copy every model's own slice into it."""
        with torch.no_grad():
            for number, model in enumerate(models):
                for name, parameter in model.named_parameters():
                    parameter.copy_(self.parameters[name][number])
                for name, buffer in model.named_buffers():
                    buffer.copy_(self.buffers[name][number])


def _stacked(each: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    stacked = {}
    for name in each[0]:
        shapes = {tuple(tensors[name].shape) for tensors in each if name in tensors}
        if len(shapes) > 1 or any(name not in tensors for tensors in each):
            raise Unsupported(f"the seeds' tensors {name!r} have different shapes: run the seeds one by one")
        stacked[name] = torch.stack([tensors[name].detach() for tensors in each])
    return stacked


Layer = Callable[[Tensor, StackedModel], Tensor]


def _products(model: Model) -> list[Layer] | None:
    """The layers of a flat model as batched products, None where it holds anything else."""
    found: list[Layer] = []
    body: list[tuple[str, nn.Module]] = [("body", model.body)]
    if type(model.body) is nn.Sequential:
        body = [(f"body.{name}", layer) for name, layer in model.body.named_children()]
    for place, (name, layer) in enumerate(body):
        if type(layer) is nn.Linear:
            found.append(_linear(name, layer.bias is not None))
        elif type(layer) is nn.Flatten and place == 0 and layer.start_dim == 1 and layer.end_dim == -1:
            continue
        elif type(layer) in _ELEMENTWISE:
            found.append(_elementwise(layer))
        else:
            return None
    if not body or type(body[0][1]) is not nn.Flatten or type(model.head) is not LinearHead:
        return None
    return [*found, _linear("head", True)]


def _linear(name: str, bias: bool) -> Layer:
    weight, offset = f"{name}.weight", f"{name}.bias"

    def apply(x: Tensor, model: StackedModel) -> Tensor:
        named = model.parameters
        held = named[offset] if bias else None
        scores: Tensor = _Linear.apply(x, named[weight], held, model.at_once.get(weight))  # type: ignore[no-untyped-call]
        return scores

    return apply


class _Linear(torch.autograd.Function):
    """Linear layers (models, out, in) of inputs (models, n, in).

    Autograd's own backward of the same product makes the weights' gradient transposed, and copying it
    into place takes longer than the product. Where plain gradient descent is all that follows, the
    product is added to the weights as it is made: what costs most then, the way of a gradient as large
    as all the models through memory and back, is left out.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, group: dict[str, Any] | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.group = group
        turned = weight.transpose(1, 2)
        return torch.bmm(x, turned) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, turned)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        below, own, offset, _ = ctx.needs_input_grad
        through = torch.bmm(outer, weight) if below else None
        gradient = None
        if own and ctx.group is not None:
            weight.detach().baddbmm_(outer.transpose(1, 2), x, alpha=-ctx.group["lr"])
        elif own:
            gradient = torch.bmm(outer.transpose(1, 2), x)
        return through, gradient, outer.sum(1) if offset else None, None


def _elementwise(layer: Any) -> Layer:
    return lambda x, model: layer(x)
