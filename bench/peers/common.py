"""What both sides of the comparison share: data, models and settings."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

BATCH, LR, MEMORY, EVALUATION = 10, 0.03, 200, 256

MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp:100,100": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    ),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
}


def whole_mnist() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test images as float32 in [0, 1] with their labels."""
    from remanence.streams.sources import whole

    stream = whole("mnist")
    rows, test = stream.segments[0].examples.span(0, len(stream.segments[0].examples)), stream.tests[0]
    return (rows.x.float() / 255, rows.y), (test.x.float() / 255, test.y)
