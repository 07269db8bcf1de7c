"""A body that grows by blocks: a shared beginning, and one ending per experience, all read side by side."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from remanence.errors import UsageError
from remanence.models.heads import LinearHead
from remanence.models.model import Model
from remanence.randomness import generator


class Expanded(nn.Module):
    """Features are those of every block, one behind the other; all blocks read the same shared layers.

    Only the newest block learns: the others are frozen and deaf to `train()`, their normalisation too.

    Parameters
    ----------
    shared:
        The layers that all blocks read; the identity where a block is a whole body.
    block:
        The first block.
    width:
        Features that one block gives (1 or more).
    """

    def __init__(self, shared: nn.Module, block: nn.Module, width: int, seed: int = 0) -> None:
        super().__init__()
        self.shared, self.width, self.seed = shared, width, seed
        self.blocks = nn.ModuleList([block])
        self.auxiliary: nn.Linear | None = None
        """Reads the newest block while it learns: one output for all old classes, one for each new one."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(x)
        return torch.cat([block(x) for block in self.blocks], 1)

    def expand(self) -> None:
        """Add a block that starts as a copy of the newest, and freeze the others."""
        newest = copy.deepcopy(self.blocks[-1])
        self.blocks.append(newest.train(self.blocks[-1].training))
        self._quieten()

    def examine(self, outputs: int) -> None:
        """Put a new auxiliary head in place; 0 takes it away."""
        self.auxiliary = None
        if outputs:
            draw, bound = generator(self.seed, "auxiliary", len(self.blocks)), self.width**-0.5
            self.auxiliary = nn.Linear(self.width, outputs)
            with torch.no_grad():
                for parameter in self.auxiliary.parameters():
                    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=draw))

    def auxiliary_loss(self, features: Tensor, columns: Tensor, old: int) -> Tensor | None:
        """Cross-entropy of the auxiliary head, which takes the `old` first columns for one class."""
        if self.auxiliary is None:
            return None
        return cross_entropy(self.auxiliary(features[:, -self.width :]), (columns - old + 1).clamp(min=0))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self._quieten()
        return self

    def _quieten(self) -> None:
        for block in self.blocks[:-1]:
            for module in block.modules():
                module.training = False

    def structure(self) -> dict[str, Any]:
        return {"blocks": len(self.blocks), "auxiliary": self.auxiliary.out_features if self.auxiliary else 0}

    def restructure(self, structure: dict[str, Any]) -> None:
        del self.blocks[structure["blocks"] :]
        while len(self.blocks) < structure["blocks"]:
            self.expand()
        self.blocks[-1].train(self.training)
        self.examine(structure["auxiliary"])
        self._quieten()


def is_older_block(name: str, blocks: int) -> bool:
    """Whether a parameter of the model, by its name, belongs to a block before the newest of `blocks`."""
    prefix = "body.blocks."
    return name.startswith(prefix) and int(name.removeprefix(prefix).partition(".")[0]) < blocks - 1


def add_block(model: Any, auxiliary: int) -> None:
    """Add a block, an auxiliary head of so many outputs (0 for none), and the head's new features."""
    model.body.expand()
    model.body.examine(auxiliary)
    model.head.extend(model.body.width)


def drop_auxiliary(model: Any) -> None:
    """Take the auxiliary head away."""
    model.body.examine(0)


def expandable(model: Model, specialised: int = 0) -> None:
    """Turn the body of a model into one that grows by blocks.

    Parameters
    ----------
    model:
        Its head must be linear, since it has to read more features later.
    specialised:
        How many of the last layers with weights make a block; 0 for the whole body.

    Raises
    ------
    UsageError
        If the body is no sequence of layers that can be cut there, or the head is not linear.
    """
    if not isinstance(model.head, LinearHead):
        raise UsageError(f"a growing body was asked for under a {type(model.head).__name__}: use a linear head")
    body: nn.Module = model.body
    shared: nn.Module = nn.Identity()
    if specialised:
        layers = list(body.children()) if isinstance(body, nn.Sequential) else []
        weighty = [n for n, layer in enumerate(layers) if any(p.dim() > 1 for p in layer.parameters())]
        if len(weighty) < specialised:
            raise UsageError(
                f"the last {specialised} layers with weights shall grow, the body has {len(weighty)} in sequence: "
                "use mlp, cnn or resnet18, a Sequential of your own, or fewer layers"
            )
        cut = weighty[-specialised]
        shared, body = nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:])
    model.body = Expanded(shared, body, model.head.features, model.head.seed)
