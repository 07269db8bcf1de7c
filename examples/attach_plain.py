"""Keep your own training loop: elastic weights and rehearsal hooked into plain PyTorch.

Run it with ``python examples/attach_plain.py``; it prints the accuracy on each experience of the
handwritten digits with and without the parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import remanence as rm
from remanence.weights.part import Part
from remanence.weights.penalties.ewc import EWC
from remanence.weights.replay.er import ER

EXPERIENCES = 5


def train(parts: Sequence[Part]) -> list[float]:
    """Learn the digits two classes at a time; return the accuracy on each pair at the end."""
    torch.manual_seed(0)
    stream = rm.streams.split("digits", experiences=EXPERIENCES)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with rm.attach(model, optimizer, parts) as attached:
        for experience in stream.experiences():
            rows = experience.examples.span(0, len(experience.examples))
            data = torch.utils.data.TensorDataset(rows.x / 255, rows.y)
            loader = torch.utils.data.DataLoader(data, batch_size=10, shuffle=True)
            for x, y in loader:
                x, y = attached.rehearse(x, y)  # what is new, and what is remembered
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()  # the parts act around this
            attached.boundary(loader)  # elastic weights measure here what mattered
    with torch.no_grad():
        return [float((model(test.x / 255).argmax(1) == test.y).float().mean()) for test in stream.tests]


def main() -> None:
    for name, parts in {
        "nothing": [],
        "elastic weights": [EWC()],
        "rehearsal": [ER(size=100)],
        "both": [ER(size=100), EWC()],
    }.items():
        scores = train(parts)
        print(f"{name:16} {sum(scores) / len(scores):.2f}   {'  '.join(f'{score:.2f}' for score in scores)}")


if __name__ == "__main__":
    main()
