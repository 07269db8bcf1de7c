"""A body and a head of experts, of which one is active, and a selector that learns which of them answers an input."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from remanence.models.heads import Head
from remanence.randomness import derive, generator, global_generator

UNKNOWN = -10.0
"""Where an expert's score of a class starts that it has never seen."""


class Experts(nn.Module):
    """Bodies side by side, of which each row passes through one.

    Features are (n, experts × (width + 1)): those of the chosen expert and a constant one in its place,
    zeros elsewhere. In training mode the active expert is chosen; in evaluation mode the one that the
    selector names, and the active one before there is a selector.
    """

    def __init__(self, body: nn.Module, width: int, hidden: int, seed: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList([body])
        self.selector: nn.Sequential | None = None
        self.width, self.hidden, self.seed, self.inputs, self.active = width, hidden, seed, 0, 0
        self.forced: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        only = self.active if self.training or self.selector is None else None
        only = only if self.forced is None else self.forced
        if only is not None:
            return self._block(x, only)
        chosen = self.choose(x)
        features = x.new_zeros(len(x), len(self.experts) * (self.width + 1))
        for expert in torch.unique(chosen).tolist():
            mine = chosen == expert
            features[mine] = self._block(x[mine], expert)
        return features

    def choose(self, x: Tensor) -> Tensor:
        """The expert (n,) that the selector names for prepared inputs."""
        if self.selector is None:
            return torch.full((len(x),), self.active, device=x.device)
        scores: Tensor = self.selector(x)
        named: Tensor = scores.argmax(1)
        return named

    def _block(self, x: Tensor, expert: int) -> Tensor:
        found = pad(self.experts[expert](x), (0, 1), value=1.0)
        step = self.width + 1
        placed: Tensor = pad(found, (expert * step, (len(self.experts) - 1 - expert) * step))
        return placed

    def add(self) -> None:
        """A new expert becomes the active one; its layers start anew."""
        fresh = copy.deepcopy(self.experts[0])
        with global_generator(derive(self.seed, "expert", len(self.experts))):
            for module in fresh.modules():
                if callable(again := getattr(module, "reset_parameters", None)):
                    again()
        self.experts.append(fresh)
        self.active = len(self.experts) - 1

    def renew_selector(self, choices: int, inputs: int) -> None:
        """A selector among so many experts, untrained; none for 0."""
        self.inputs, self.selector = inputs, None
        if choices:
            with global_generator(derive(self.seed, "selector", choices)):
                layers = [nn.Linear(inputs, self.hidden), nn.ReLU(), nn.Linear(self.hidden, choices)]
            self.selector = nn.Sequential(nn.Flatten(), *layers)

    def structure(self) -> dict[str, Any]:
        choices = 0 if self.selector is None else self.selector[-1].out_features
        return {"experts": len(self.experts), "active": self.active, "choices": choices, "inputs": self.inputs}

    def restructure(self, structure: dict[str, Any]) -> None:
        del self.experts[structure["experts"] :]
        while len(self.experts) < structure["experts"]:
            self.experts.append(copy.deepcopy(self.experts[0]))
        self.active = structure["active"]
        self.renew_selector(structure["choices"], structure["inputs"])


class ExpertsHead(Head):
    """One linear layer per expert, each reading its own place in the features."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__(width, 0, seed)
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(0, width + 1))])
        self.active = 0

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, torch.cat(list(self.weights), 1))

    def add(self) -> None:
        """A layer for a new expert, which becomes the active one."""
        self.active = len(self.weights)
        self.weights.append(nn.Parameter(self._drawn(len(self.classes), 0)))

    def _drawn(self, rows: int, start: int) -> Tensor:
        draw = generator(self.seed, "head", start, self.active)
        bound = 1 / math.sqrt(self.features)
        return torch.empty(rows, self.features + 1).uniform_(-bound, bound, generator=draw)

    def widen(self, old: int, new: int) -> None:
        for expert, weight in enumerate(self.weights):
            rows = self._drawn(new - old, old)
            if expert != self.active:
                rows.zero_()[:, -1] = UNKNOWN
            self.weights[expert] = nn.Parameter(torch.cat([weight.data, rows.to(weight.device)]))

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "experts": len(self.weights), "active": self.active}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self.active = structure["active"]
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(0)) for _ in range(structure["experts"]))
