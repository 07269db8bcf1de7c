"""A model is a body, which makes features, and a head, which answers from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.models.heads import Head, LinearHead


class Model(nn.Module):
    """A body and a head.

    Parameters
    ----------
    body:
        Any module from inputs (n, *shape) to features (n, width).
    head:
        From features to one score per class.

    Shapes
    ------
    Inputs are raw: ``uint8`` images are scaled to [0, 1] here, other inputs pass as they are.
    """

    def __init__(self, body: nn.Module, head: Head) -> None:
        super().__init__()
        self.body, self.head = body, head

    @property
    def classes(self) -> list[int]:
        return self.head.classes

    @staticmethod
    def prepare(x: Tensor) -> Tensor:
        """Raw inputs as the body takes them."""
        return x.to(torch.float32).mul_(1 / 255) if x.dtype == torch.uint8 else x

    def features(self, x: Tensor) -> Tensor:
        """Features (n, width) of raw inputs."""
        features: Tensor = self.body(self.prepare(x))
        return features

    def forward(self, x: Tensor, entry: str | None = None) -> Tensor:
        """Scores of raw inputs, or of activations that enter at `entry`."""
        scores: Tensor = self.head(self.features(x) if entry is None else self.from_entry(x, entry))
        return scores

    def from_entry(self, activations: Tensor, entry: str) -> Tensor:
        """Features from activations that enter before the layer `entry` of a sequential body.

        ``"head"`` means that they are features already.
        """
        if entry == "head":
            return activations
        names = [name for name, _ in self.body.named_children()]
        if not isinstance(self.body, nn.Sequential) or entry not in names:
            raise UsageError(f"there is no layer {entry!r} to enter at: name one of {', '.join([*names, 'head'])}")
        for layer in list(self.body.children())[names.index(entry) :]:
            activations = layer(activations)
        return activations

    def enter(self, x: Tensor, entry: str | None = None, latents: Mapping[str, Tensor] | None = None) -> Tensor:
        """Features of prepared inputs, or of activations at `entry`; behind them those of rows that enter later.

        Parameters
        ----------
        x:
            Prepared inputs, or activations where `entry` names a layer.
        entry:
            The layer before which `x` enters.
        latents:
            Activations of further rows by the layer before which they enter, in the order of the layers of a
            sequential body, ``"head"`` last. They join the others there, and go on with them in one pass.
        """
        if not latents:
            features: Tensor = self.body(x) if entry is None else self.from_entry(x, entry)
            return features
        names = [name for name, _ in self.body.named_children()] if isinstance(self.body, nn.Sequential) else []
        order = [*names, "head"]
        places = [order.index(name) if name in order else -1 for name in [*([entry] if entry else []), *latents]]
        if min(places) < 0 or places != sorted(places):
            raise UsageError(
                f"rows enter at {', '.join(latents)}, expected layers of a sequential body in their order: "
                f"{', '.join(order)}"
            )
        for name, layer in list(self.body.named_children())[places[0] if entry else 0 :] if names else ():
            x = layer(torch.cat([x, latents[name]]) if name in latents else x)
        if not names and entry is None:
            x = self.body(x)
        return torch.cat([x, latents["head"]]) if "head" in latents else x

    @contextmanager
    def record(self, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Collect the outputs of named layers of the body during forward passes inside."""
        found: dict[str, Tensor] = {}
        known = dict(self.body.named_modules())
        for layer in layers:
            if layer not in known:
                raise UsageError(f"there is no layer {layer!r} in the body: {', '.join(filter(None, known))}")

        def keep(name: str) -> Any:
            return lambda module, inputs, output: found.__setitem__(name, output)

        handles = [known[layer].register_forward_hook(keep(layer)) for layer in layers]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()


class Frozen(Model):
    """A copy of a model that never changes and is deaf to `train()`."""

    kind = "snapshots"

    def __init__(self, model: Model) -> None:
        twin = copy.deepcopy(model)
        super().__init__(twin.body, twin.head)
        for module in self.modules():
            module.training = False
            module.kind = "snapshots"  # type: ignore[assignment]
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        return self


class RemovedHead(nn.Identity):
    """Stands where the last layer of a user's network was."""


def split(module: nn.Module, head: str | None = None, *, outputs: int = 0, seed: int = 0) -> Model:
    """Turn any module into a body and a growing head by taking its last linear layer off.

    Parameters
    ----------
    module:
        The user's network; it is changed in place (its last layer becomes the identity).
    head:
        Name of the layer to take off, ``"fc"``; by default the last ``nn.Linear`` found.
    outputs:
        0 for classification, the number of values for regression.

    Raises
    ------
    UsageError
        If there is no such layer, it is not linear, or another learner has taken the head off before.

    Example
    -------
    >>> split(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))).head.features
    8
    """
    if isinstance(module, Model):
        return module
    taken = next((name for name, layer in module.named_modules() if isinstance(layer, RemovedHead)), None)
    if taken is not None:  # the next linear layer is no head, and two learners would train the same weights
        raise UsageError(
            f"a learner was built around this model before, and took its layer {taken!r} off: "
            "build the model anew, or hand over a copy made before that"
        )
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and name]
    name = head or (linear[-1] if linear else None)
    if name is None:
        raise UsageError("the model has no named linear layer to take off as its head: wrap it in Model(body, head)")
    try:
        last = module.get_submodule(name)
    except AttributeError:
        raise UsageError(f"the model has no layer {name!r}: its linear layers are {', '.join(linear)}") from None
    if not isinstance(last, nn.Linear):
        raise UsageError(
            f"the layer {name!r} is {type(last).__name__}, expected Linear: name one of {', '.join(linear)}"
        )
    module.set_submodule(name, RemovedHead())
    return Model(module, LinearHead(last.in_features, outputs, seed))
