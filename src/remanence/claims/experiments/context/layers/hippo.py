"""The claim of HiPPO."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from remanence.claims.engine.experiment import Experiment, Measured
from remanence.context.layers.hippo import HiPPO
from remanence.models.sequence import Recurrent
from remanence.randomness import derive, generator, global_generator

CLASSES = 20
WIDTH = 16
ORDER = 32
HIDDEN = 32
LENGTH = 64
RATES = {"half": 32, "same": 64, "double": 128}
"""Samples of a trajectory that is told at half, the same and double the sampling rate of training."""
HARMONICS = 4


def trajectories(rows: int, seed: int, classes: int, length: int) -> tuple[Tensor, Tensor]:
    """Velocities of strokes in the plane (rows, length, 2), each with a tempo and errors of its own, and classes.

    A class is a smooth curve, four harmonics with random weights that are drawn from the number `classes`. A stroke
    begins and ends at rest, as pens do, so that its end alone says nothing.
    """
    order = torch.arange(1, HARMONICS + 1)
    drawn = torch.randn(CLASSES, 2, 2, HARMONICS, generator=generator(classes, "classes")) / order.sqrt()
    draw = generator(seed, "trajectories", rows)
    label = torch.randint(CLASSES, (rows,), generator=draw)
    weights = drawn[label] + 0.2 * torch.randn(rows, 2, 2, HARMONICS, generator=draw)
    # A tempo that changes along the way: time runs on, between 0 and 1, faster here and slower there.
    tempo = 0.12 * (2 * torch.rand(rows, 1, generator=draw) - 1)
    at = torch.arange(1, length + 1) / length
    angle = math.pi * (at + tempo * torch.sin(2 * math.pi * at)).unsqueeze(-1) * order
    waves = torch.stack([torch.sin(angle), torch.cos(angle)], -1)
    return torch.einsum("nlhw,ndwh->nld", waves, weights) * torch.sin(math.pi * at).unsqueeze(-1), label


class Namer(nn.Module):
    """Names a trajectory by what a memory layer puts out at its end."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inner, self.layer, self.head = nn.Linear(2, WIDTH), layer, nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layer(self.inner(x))
        scores: Tensor = self.head(y[:, -1])
        return scores


def _layer(side: str) -> HiPPO | Recurrent:
    if side.startswith("lstm"):
        return Recurrent(WIDTH, "lstm", HIDDEN + 1)
    if side.endswith("#legt"):
        return HiPPO(WIDTH, order=ORDER, hidden=HIDDEN, measure="legt", window=LENGTH)
    return HiPPO(WIDTH, order=ORDER, hidden=HIDDEN)


def measure(side: str, seed: int, held_out: bool, *, lr: float = 3e-3, updates: int = 200) -> Measured:
    """Train at one sampling rate, and ask at others."""
    with global_generator(derive(seed, "model")):
        model = Namer(_layer(side))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for update in range(updates):
        x, label = trajectories(32, derive(seed, "training", update), seed, LENGTH)
        loss = cross_entropy(model(x), label)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    figures = {}
    with torch.no_grad():
        for name, length in RATES.items():
            x, label = trajectories(500, derive(seed, "search" if held_out else "report"), seed, length)
            figures[name] = float((model(x).argmax(1) == label).double().mean())
    figures["other rates"] = (figures["half"] + figures["double"]) / 2
    counts = {"updates": updates, "parameters": sum(parameter.numel() for parameter in model.parameters())}
    return Measured(figures, {"state": _layer(side).state_bytes}, counts)


_GRID = {"lr": [3e-3, 1e-2]}

CLAIM = Experiment(
    system="hippo",
    baseline="lstm",
    says="Trained at one sampling rate, HiPPO-LegS names trajectories at other rates better than an LSTM.",
    measure=measure,
    data="trajectories of 20 classes, at half and double the rate of training",
    metric="other rates",
    settings={"hippo#legt": {"lr": 1e-2}},
    search={"hippo": _GRID, "lstm": _GRID},
    beside=("hippo#legt",),
    how="velocities of smooth strokes in the plane that begin and end at rest, 20 classes drawn for each seed, every "
    "example with errors and a tempo of its own; 200 updates of 32 examples of 64 samples each, drawn afresh; accuracy "
    "on 500 others with 32 and with 128 samples of the whole stroke, and their mean; settings chosen by the same on "
    "yet others; one layer whose output at the end is read; beside: LegT with a window of 64 samples",
    equal="bytes of the state, 264 of each sequence (LegT has no count of samples, 256), and updates",
    reduced="drawn trajectories instead of the Character Trajectories of UCI, rates by a factor of two without missing "
    "samples, 32 hidden units and coefficients instead of 256",
)
