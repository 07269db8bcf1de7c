"""Keep Lightning: rehearsal hooked into a LightningModule, one `fit` per experience.

Run it with ``python examples/attach_lightning.py`` (it needs ``pip install lightning``).
"""

from __future__ import annotations

import logging
from typing import Any

import lightning
import torch
from torch import Tensor, nn

import remanence as rm
from remanence.weights.penalties.ewc import EWC
from remanence.weights.replay.er import ER


class Digits(lightning.LightningModule):
    """A small classifier; `attached` is None where nothing is attached."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.3)
        self.attached: Any = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer  # the one that the parts are attached to, in every fit

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        x, y = batch if self.attached is None else self.attached.rehearse(*batch)
        return nn.functional.cross_entropy(self.net(x), y)


def train(with_parts: bool) -> list[float]:
    """Learn the digits two classes at a time; return the accuracy on each pair at the end."""
    lightning.seed_everything(0, verbose=False)
    stream = rm.streams.split("digits", experiences=5)
    module = Digits()
    parts = [ER(size=100), EWC()] if with_parts else []
    # attach to the network inside, not to the module, which holds Lightning's own objects too
    with rm.attach(module.net, module.optimizer, parts) as attached:
        # past the module's own bookkeeping, which would register the parts as layers of it
        module.__dict__["attached"] = attached
        for experience in stream.experiences():
            rows = experience.examples.span(0, len(experience.examples))
            data = torch.utils.data.TensorDataset(rows.x / 255, rows.y)
            loader = torch.utils.data.DataLoader(data, batch_size=10, shuffle=True)
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, loader)
            attached.boundary(loader)
    with torch.no_grad():
        return [float((module.net(test.x / 255).argmax(1) == test.y).float().mean()) for test in stream.tests]


def main() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name, with_parts in {"nothing": False, "rehearsal and elastic weights": True}.items():
        scores = train(with_parts)
        print(f"{name:30} {sum(scores) / len(scores):.2f}   {'  '.join(f'{score:.2f}' for score in scores)}")


if __name__ == "__main__":
    main()
