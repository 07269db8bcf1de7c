"""Task-conditioned hypernetwork: one network makes the weights of another from a small embedding per task.

What is remembered are the weights of the hypernetwork and one embedding per task; what earlier tasks
were given is kept in place by a penalty on the weights made for them, against a frozen copy of the
hypernetwork. It costs about one network, its copy, and a few numbers per task; no example is kept.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from remanence.errors import UsageError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.weights.context import Context, Step
from remanence.weights.growth.hypernetwork import Generated, Routed
from remanence.weights.part import Part


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
        Widths of the hidden layers of the hypernetwork, ``25,25``; the paper has ``100,75,50`` on split MNIST.
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
    An output layer is made for the classes of each task, not for a fixed number of them. Where questions come
    without their task it is inferred by entropy, the paper's HNET+ENT; the two ways that train a network to
    infer it, on replayed rows of a generative model, are not here. The paper's sizes are for layers of 400
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
        hidden: Annotated[
            str, Field(pattern=r"^[1-9]\d*(,[1-9]\d*)*$", description="widths of the hypernetwork's hidden layers")
        ] = "25,25",
        task_embedding: Annotated[int, Field(ge=1, description="length of a task's embedding")] = 24,
        chunk_embedding: Annotated[int, Field(ge=1, description="length of a chunk's embedding")] = 8,
        chunk: Annotated[int, Field(ge=1, description="weights made in one pass")] = 2500,
        look_ahead: Annotated[bool, Field(description="penalty after the proposed change")] = True,
        temperature: Annotated[float, Field(gt=0, description="temperature τ of the inferring entropy")] = 1.0,
    ) -> None:
        super().__init__()
        self.beta, self.look_ahead, self.temperature = beta, look_ahead, temperature
        self.sizes = ([int(width) for width in hidden.split(",")], task_embedding, chunk_embedding, chunk)
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
