"""Small networks to learn with, by name: ``mlp:100,100``, ``cnn``, ``resnet18``, ``linear``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from remanence.errors import UsageError, nearest
from remanence.models.heads import LinearHead
from remanence.models.model import Model
from remanence.randomness import derive, global_generator


def build(spec: str, shape: tuple[int, ...], *, outputs: int = 0, seed: int = 0) -> Model:
    """Build a model by name.

    Parameters
    ----------
    spec:
        ``mlp:100,100`` (widths of the hidden layers), ``cnn`` or ``cnn:32`` (channels of the first
        layer), ``resnet18`` or ``resnet18:20,batch`` (channels, ``group`` or ``batch`` normalisation), ``linear``.
    shape:
        Shape of one input.
    outputs:
        0 for classification, the number of values for regression.
    seed:
        Seeds the initial weights.

    Raises
    ------
    UsageError
        If the name is unknown, its arguments cannot be read, or the shape does not suit it.

    Example
    -------
    >>> model = build("mlp:16", (1, 8, 8))
    >>> model.features(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([3, 16])
    """
    check(spec)
    name, _, rest = spec.partition(":")
    with global_generator(derive(seed, "model")):
        body, width = BODIES[name]([part for part in rest.split(",") if part], shape)
    return Model(body, LinearHead(width, outputs, seed))


def check(spec: str) -> None:
    """Raise a `UsageError` if `spec` is not the name of a network, before any data is loaded."""
    if not isinstance(spec, str):
        raise UsageError(f"the model is {spec!r}, expected a network's name: {nearest('', BODIES)}")
    name, _, rest = spec.partition(":")
    if name not in BODIES:
        raise UsageError(f"there is no model {name!r}: {nearest(name, BODIES)}")
    for part in filter(None, rest.split(",")):
        if not (part.isdigit() and int(part) > 0) and not (name == "resnet18" and part in ("group", "batch")):
            raise UsageError(f"the model {spec!r} has the argument {part!r}, expected widths such as mlp:100,100")


def _mlp(arguments: list[str], shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    widths = [math.prod(shape), *map(int, arguments or ["100", "100"])]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), widths[-1]


def _linear(arguments: list[str], shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    return nn.Flatten(), math.prod(shape)


def _cnn(arguments: list[str], shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    channels, _, _ = _image(shape, "cnn")
    width = int(arguments[0]) if arguments else 32
    layers: list[nn.Module] = []
    for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(_groups(after), after), nn.ReLU()]
        layers += [nn.MaxPool2d(2, ceil_mode=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 4 * width


def _resnet18(arguments: list[str], shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    channels, _, _ = _image(shape, "resnet18")
    numbers = [int(part) for part in arguments if part.isdigit()]
    width = numbers[0] if numbers else 20
    norm = _batch_norm if "batch" in arguments else _group_norm
    stem = [nn.Conv2d(channels, width, 3, padding=1, bias=False), norm(width), nn.ReLU()]
    blocks: list[nn.Module] = []
    before = width
    for stage in range(4):
        after = width * 2**stage
        blocks += [ResidualBlock(before, after, 1 if stage == 0 else 2, norm), ResidualBlock(after, after, 1, norm)]
        before = after
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut.

    Source: He et al., Deep Residual Learning for Image Recognition, 2016, arXiv:1512.03385.
    """

    def __init__(self, before: int, after: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = norm(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = norm(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(inner)) + self.shortcut(x))


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 5, 4, 2, 1) if channels % groups == 0)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(_groups(channels), channels)


def _batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def _image(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UsageError(
            f"the model {name!r} takes images (channels, height, width), the stream gives {shape}: use mlp"
        )
    return shape[0], shape[1], shape[2]


BODIES: dict[str, Callable[[list[str], tuple[int, ...]], tuple[nn.Module, int]]] = {
    "mlp": _mlp,
    "linear": _linear,
    "cnn": _cnn,
    "resnet18": _resnet18,
}
