"""Task-conditioned hypernetwork: one network makes the weights of another from a small embedding per task.

What is remembered are the weights of the hypernetwork and one embedding per task; what earlier tasks
were given is kept in place by a penalty on the weights made for them, against a frozen copy of the
hypernetwork. It costs about one network, its copy, and a few numbers per task; no example is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.models.heads import Head
from remanence.randomness import generator
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.weights.context import Context, Step
from remanence.weights.part import Part


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


@system(
    "hnet",
    paper=Paper(
        "Continual learning with hypernetworks",
        "von Oswald, Henning, Grewe, Sacramento",
        2020,
        "1906.00695",
        196,
    ),
    baseline="ewc",
    variant="chunked, with look-ahead; the task is inferred by entropy where questions come without it",
    training={"optimizer": "adam", "lr": 0.001},
    tuning_note="best of four learning rates on split MNIST with task ids, 1,000 examples an experience, two other class orders, by final accuracy on test rows",
)
class HNET(Part):
    """Task-conditioned hypernetwork.

    The hypernetwork maps the embedding of a task and that of a chunk to a piece of the weights of the model,
    output layer included. While task T is learned, the penalty β/(T-1) Σ ‖f(e_t; Θ*) - f(e_t; Θ + ΔΘ)‖²
    over the earlier tasks t is added, where Θ* is the hypernetwork at the last boundary and ΔΘ the change
    that the optimizer would make for the loss of the task alone. Each task starts with a fresh optimizer,
    and its embedding is frozen when it ends.

    Parameters
    ----------
    beta:
        Weight β of the penalty (0 or more), on a sum over all weights of the model.
    hidden:
        Width of each hidden layer of the hypernetwork (1 or more).
    layers:
        How many hidden layers it has (1 or more).
    task_embedding, chunk_embedding:
        Lengths of the embeddings (1 or more).
    chunk:
        Weights made in one pass (1 or more).
    look_ahead:
        Whether the penalty is taken after the proposed change (ΔΘ = 0 otherwise).
    temperature:
        Temperature τ of the softmax whose entropy tells the task (above 0).

    Raises
    ------
    UsageError
        If the model has buffers, or a task comes back with other classes.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5, task_ids=True)
    >>> learner = rm.make("hnet", stream, model="mlp:20", chunk=200, lr=0.005)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> test = stream.tests[0]
    >>> bool((learner.predict(test.x, task=0).labels == test.y).float().mean() > 0.8)
    True

    References
    ----------
    von Oswald et al., Continual learning with hypernetworks, ICLR 2020, arXiv:1906.00695.

    Departures
    ----------
    An output layer is made for the classes of each task, not for a fixed number of them. The variants that
    infer the task or rehearse by a generative model are not here. The paper's sizes are for layers of 400
    and 1,000; the defaults here suit layers of 100 on MNIST (0.75 times the weights they make).
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    needs = frozenset({"boundaries", "classes"})
    uses = frozenset({"previous"})
    small: ClassVar[dict[str, Any]] = {"lr": 0.003, "epochs": 2}

    @validated
    def __init__(
        self,
        beta: Annotated[float, Field(ge=0, description="weight β of the penalty")] = 0.01,
        hidden: Annotated[int, Field(ge=1, description="width of the hypernetwork's hidden layers")] = 25,
        layers: Annotated[int, Field(ge=1, description="hidden layers of the hypernetwork")] = 2,
        task_embedding: Annotated[int, Field(ge=1, description="length of a task's embedding")] = 24,
        chunk_embedding: Annotated[int, Field(ge=1, description="length of a chunk's embedding")] = 8,
        chunk: Annotated[int, Field(ge=1, description="weights made in one pass")] = 2500,
        look_ahead: Annotated[bool, Field(description="penalty after the proposed change")] = True,
        temperature: Annotated[float, Field(gt=0, description="temperature τ of the inferring entropy")] = 1.0,
    ) -> None:
        super().__init__()
        self.beta, self.look_ahead, self.temperature = beta, look_ahead, temperature
        self.sizes = ([hidden] * layers, task_embedding, chunk_embedding, chunk)
        self.ids: list[int] = []
        self.active = 0

    def setup(self, context: Context) -> None:
        model = context.model
        model.body = Generated(model.body, model.head.features, *self.sizes, seed=context.seed)
        model.head = Routed(model.head.features, context.seed, self.temperature)

    def before_experience(self, context: Context, experience: Experience) -> None:
        if not context.first_time("task"):
            return
        key = experience.index if experience.task is None else experience.task
        classes = list(experience.classes or ())
        context.add_classes(classes)
        columns = context.model.head.columns(torch.tensor(classes)).tolist()
        if key not in self.ids:
            self.ids.append(key)
            self.active = len(self.ids) - 1
            context.grow(lambda model: _add(model, columns))
        else:
            self.active = self.ids.index(key)
            _turn_to(context.model, self.active, columns)
        context.refresh_learning_rates(fresh=True)

    def lr_multiplier(self, name: str) -> float:
        prefix = "body.embeddings."
        return float(int(name.removeprefix(prefix)) == self.active) if name.startswith(prefix) else 1.0

    def on_gradient(self, step: Step) -> None:
        body, previous = step.model.body, step.context.previous
        earlier = [task for task in range(len(self.ids)) if task != self.active]
        if not earlier or previous is None or not self.beta:
            return
        ahead: dict[str, Tensor] = {}
        if self.look_ahead:
            own = dict(body.named_parameters())
            for full, change in step.preview().items():
                name = full.removeprefix("body.")
                if name == "chunks" or name.startswith("hyper."):
                    ahead[name] = own[name] + change
        with torch.no_grad():
            kept = previous.body.weights(earlier)  # type: ignore[operator]
        now = body.weights(earlier, ahead)
        apart = sum(
            ((a - b).square().sum() for a, b in zip(now, kept, strict=True)), torch.zeros((), device=now[0].device)
        )
        (self.beta / len(earlier) * apart).backward()

    def on_scores(self, scores: Tensor, features: Tensor, context: Context) -> Tensor:
        if context.asked is None or context.asked not in self.ids:
            return scores
        told: Tensor = context.model.head.of(features, self.ids.index(context.asked))  # type: ignore[operator]
        return told

    def structure(self) -> dict[str, Any]:
        return {"ids": self.ids, "active": self.active}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.ids, self.active = list(structure["ids"]), structure["active"]


def _add(model: Any, columns: list[int]) -> None:
    model.body.add(len(columns))
    model.head.blocks.append(columns)
    model.head.active = model.body.active


def _turn_to(model: Any, task: int, columns: list[int]) -> None:
    if not set(columns) <= set(model.head.blocks[task]):
        raise UsageError("a task came back with other classes than before: give it a new task id")
    model.body.active = model.head.active = task
