"""A hypernetwork in place of a body: the weights of a network made from an embedding per task, and the head over it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from remanence.errors import UsageError
from remanence.models.heads import Head
from remanence.randomness import generator


class Generated(nn.Module):
    """A body without weights of its own: a hypernetwork makes them, and those of an output layer, per task.

    In training mode it answers with the scores of the active task (n, classes of it), in evaluation mode
    with those of every task side by side.

    Parameters
    ----------
    target:
        The network whose weights are made; its own are thrown away.
    width:
        Features that it gives.
    hidden, task_embedding, chunk_embedding, chunk, seed:
        As in `HNET`.
    """

    def __init__(
        self,
        target: nn.Module,
        width: int,
        hidden: Sequence[int],
        task_embedding: int,
        chunk_embedding: int,
        chunk: int,
        seed: int,
    ) -> None:
        super().__init__()
        if any(True for _ in target.buffers()):
            raise UsageError("the model has buffers (batch normalisation), which cannot be made: use another model")
        self._target = [target.to("meta")]  # in a list, so that it is no submodule: it holds nothing
        self._shapes = {name: p.shape for name, p in target.named_parameters()}
        self.width, self.chunk, self.seed, self.task_embedding = width, chunk, seed, task_embedding
        layers: list[nn.Module] = []
        widths = [task_embedding + chunk_embedding, *hidden, chunk]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(before, after), nn.ELU()]
        self.hyper = nn.Sequential(*layers[:-1])
        draw = generator(seed, "hypernetwork")
        with torch.no_grad():
            for name, parameter in self.hyper.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    bound = math.sqrt(6 / sum(parameter.shape))
                    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=draw))
        self.chunks = nn.Parameter(torch.empty(0, chunk_embedding))
        self.embeddings = nn.ParameterList()
        self.outputs: list[int] = []
        self.active = 0

    def size(self, task: int) -> int:
        """How many weights a task is given."""
        return sum(shape.numel() for shape in self._shapes.values()) + self.outputs[task] * (self.width + 1)

    def add(self, outputs: int) -> None:
        """A new task with so many classes becomes the active one."""
        task = len(self.outputs)
        self.outputs.append(outputs)
        draw = generator(self.seed, "task embedding", task)
        self.embeddings.append(nn.Parameter(torch.randn(self.task_embedding, generator=draw)))
        missing = -(-self.size(task) // self.chunk) - len(self.chunks)
        if missing > 0:
            draw = generator(self.seed, "chunk embeddings", len(self.chunks))
            new = torch.randn(missing, self.chunks.shape[1], generator=draw).to(self.chunks.device)
            self.chunks = nn.Parameter(torch.cat([self.chunks.data, new]))
        self.active = task

    def weights(self, tasks: Sequence[int], parameters: Mapping[str, Tensor] | None = None) -> list[Tensor]:
        """The flat weights of each task, all made in one pass; `parameters` stand in for its own by name."""
        own = {f"hyper.{name}": p for name, p in self.hyper.named_parameters()} | {"chunks": self.chunks}
        used = {**own, **(parameters or {})}
        counts = [-(-self.size(task) // self.chunk) for task in tasks]
        asked = torch.cat([self.embeddings[t].expand(n, -1) for t, n in zip(tasks, counts, strict=True)])
        where = torch.cat([used["chunks"][:n] for n in counts])
        hyper = {name.removeprefix("hyper."): p for name, p in used.items() if name.startswith("hyper.")}
        made = functional_call(self.hyper, hyper, (torch.cat([asked, where], 1),))
        pieces = made.split_with_sizes(counts)
        return [piece.reshape(-1)[: self.size(task)] for task, piece in zip(tasks, pieces, strict=True)]

    def scores(self, x: Tensor, task: int, flat: Tensor) -> Tensor:
        """Scores (n, classes of the task) of the target network with these weights."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        *body, weight, bias = flat.split_with_sizes([*sizes, self.outputs[task] * self.width, self.outputs[task]])
        named = {name: p.view(shape) for (name, shape), p in zip(self._shapes.items(), body, strict=True)}
        target = self._target[0].train(self.training)
        return nn.functional.linear(functional_call(target, named, (x,)), weight.view(-1, self.width), bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self.outputs:
            return self.chunks.new_zeros(len(x), 0)
        tasks = [self.active] if self.training else list(range(len(self.outputs)))
        return torch.cat([self.scores(x, t, flat) for t, flat in zip(tasks, self.weights(tasks), strict=True)], 1)

    def structure(self) -> dict[str, Any]:
        return {"outputs": self.outputs, "active": self.active}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.outputs, self.active = list(structure["outputs"]), structure["active"]
        empty = [nn.Parameter(torch.empty(self.task_embedding)) for _ in self.outputs]
        self.embeddings = nn.ParameterList(empty)


class Routed(Head):
    """Puts the scores of one task into the columns of its classes; the rest are out of the running.

    In evaluation mode the task of each row is the one whose answer has the least entropy.
    """

    def __init__(self, features: int, seed: int, temperature: float) -> None:
        super().__init__(features, 0, seed)
        self.temperature = temperature
        self.blocks: list[list[int]] = []
        self.active = 0

    def forward(self, features: Tensor) -> Tensor:
        if not self.blocks:
            return features
        if self.training:
            return self._placed(features, self.active)
        parts = features.split_with_sizes([len(block) for block in self.blocks], 1)
        logs = [(part / self.temperature).log_softmax(1) for part in parts]
        entropy = torch.stack([-(log.exp() * log).sum(1) for log in logs], 1)
        placed = torch.stack([self._placed(part, task) for task, part in enumerate(parts)])
        return placed[entropy.argmin(1), torch.arange(len(features), device=features.device)]

    def of(self, features: Tensor, task: int) -> Tensor:
        """Scores (n, classes) of one task, from features of evaluation mode."""
        return self._placed(features.split_with_sizes([len(block) for block in self.blocks], 1)[task], task)

    def _placed(self, scores: Tensor, task: int) -> Tensor:
        wide = scores.new_full((len(scores), len(self.classes)), -torch.inf)
        wide[:, self.blocks[task]] = scores
        return wide

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "blocks": self.blocks, "active": self.active}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self.blocks, self.active = [list(block) for block in structure["blocks"]], structure["active"]
