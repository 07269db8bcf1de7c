"""A user's whole module seen as a body and a head, without changing it."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from remanence.errors import Unsupported, UsageError
from remanence.models.heads import Head
from remanence.models.model import Model


class _Reached(Exception):
    """Raised to leave the user's module once the features are known; never leaves this file."""


class CustomBody(nn.Module):
    """The user's module up to the layer that is its head: from inputs to that layer's inputs."""

    def __init__(self, module: nn.Module, head: str) -> None:
        super().__init__()
        self.module, self.head = module, head

    @property
    def layer(self) -> nn.Linear:
        """The layer that is the head; looked up each time, since copies and functional calls replace it."""
        layer: Any = self.module.get_submodule(self.head)
        return cast(nn.Linear, layer)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []

        def reached(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            found.append(inputs[0])
            raise _Reached

        handle = self.layer.register_forward_pre_hook(reached, prepend=True)
        try:
            self.module(x)
        except _Reached:
            return found[0]
        finally:
            handle.remove()
        raise UsageError(f"the layer {self.head!r} is no part of the model's forward pass: name its last layer as head")


class CustomHead(Head):
    """The user's last layer, whose columns are the labels 0, 1, 2… from the start. It does not grow."""

    def __init__(self, body: CustomBody, outputs: int) -> None:
        super().__init__(body.layer.in_features, outputs)
        # kept out of the registered modules, so that each parameter has one name
        self.__dict__["_body"] = body
        if not outputs:
            self._set_classes(list(range(body.layer.out_features)))

    @property
    def weight(self) -> Tensor:
        return self._layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self._layer.bias

    @property
    def _layer(self) -> nn.Linear:
        body: CustomBody = self.__dict__["_body"]
        return body.layer

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self._layer(features)
        return scores

    def grow(self, labels: list[int]) -> None:
        foreign = [label for label in labels if label not in set(self.classes)]
        if foreign:
            raise Unsupported(
                f"a label is {foreign[0]}, and the model's last layer has {len(self.classes)} outputs: "
                "a module of your own does not grow, so give it an output for every class from the start"
            )


def head_layer(model: Model) -> nn.Linear:
    """The layer of a viewed module that is its head, also where the body is that layer alone."""
    body: Any = model.body
    return body.layer if isinstance(body, CustomBody) else body


def view(module: nn.Module, head: str | None, outputs: int) -> Model:
    """The module as a `Model`; the layer named `head`, or the last linear one, is the head.

    Example
    -------
    >>> import torch
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(1))
    >>> seen = view(module, None, 0)
    >>> seen.features(torch.zeros(2, 4)).shape, seen(torch.zeros(2, 4)).shape, seen.classes
    (torch.Size([2, 8]), torch.Size([2, 3]), [0, 1, 2])
    """
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and name]
    name = head or (linear[-1] if linear else None)
    if name is None:
        raise UsageError("the model has no named linear layer to take as its head: put it into an nn.Sequential")
    try:
        layer = module.get_submodule(name)
    except AttributeError:
        raise UsageError(f"the model has no layer {name!r}: its linear layers are {', '.join(linear)}") from None
    if not isinstance(layer, nn.Linear):
        raise UsageError(
            f"the layer {name!r} is {type(layer).__name__}, expected Linear: name one of {', '.join(linear)}"
        )
    body = CustomBody(module, name)
    return Model(body, CustomHead(body, outputs and layer.out_features))
