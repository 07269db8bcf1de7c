"""Forgetting-prioritized finetuning: repair the few parameters that forget, on the rehearsal memory.

What is remembered is the memory of another part. At the end of each experience the normalisation layers
and the head, which change most between tasks, are finetuned on it while everything else stands still. It
costs `updates` passes of memory batches per experience and no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from remanence.hyperparameters import validated
from remanence.models.model import Model
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.batch import Batch
from remanence.weights.context import Context
from remanence.weights.part import Part

Modules = Literal["norms and head", "norms, head and first layer", "all"]
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
PAPER = Paper(
    "Does Continual Learning Equally Forget All Parameters?",
    "Zhao, Zhou, Long, Jiang, Zhang",
    2023,
    "2304.04158",
    2,
)


def forgetful(model: Model, modules: Modules) -> list[str]:
    """Names of the parameters to finetune, as the paper's sensitivity ranks modules.

    >>> from remanence.models import build
    >>> forgetful(build("mlp:8", (4,)), "norms, head and first layer")
    ['body.1.weight', 'body.1.bias', 'head.weight', 'head.bias']
    """
    first = next((name for name, layer in model.body.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    chosen = []
    for name, layer in model.named_modules():
        wanted = modules == "all" or isinstance(layer, NORMS) or name == "head" or name.startswith("head.")
        wanted |= modules == "norms, head and first layer" and name == f"body.{first}"
        if wanted:
            chosen += [f"{name}.{own}" for own, p in layer.named_parameters(recurse=False) if p.requires_grad]
    return chosen


@system(
    "fpf",
    paper=PAPER,
    baseline="er",
    host="er",
    training={"lr": 0.1},
    tuning_note="lr among 0.03, 0.1 on split MNIST in two other class orders, 1,000 examples an experience, 200 kept, by final accuracy on test rows",
    variant="modules chosen by kind, as the paper found them, not by measuring them again",
)
class FPF(Part):
    """FPF: finetuning at the end of each experience.

    Batches of the memory are learned with plain SGD on the chosen modules, from the learning rate `rate`
    down to zero along a cosine.

    Parameters
    ----------
    updates:
        How many updates at the end of each experience (1 or more).
    rows:
        Remembered rows per update; 0 means the batch size.
    rate:
        Learning rate at the start (0 or more); 0 means the training's.
    modules:
        What is finetuned: normalisation layers and head, with the first layer where inputs change.

    Raises
    ------
    UsageError
        If no other part holds a rehearsal memory.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("er+fpf", stream, updates=20)
    >>> list(learner.steps(next(stream.experiences())))[-1].examples
    0

    References
    ----------
    Zhao et al., Does Continual Learning Equally Forget All Parameters?, 2023, arXiv:2304.04158.

    Departures
    ----------
    The paper finetunes once, after the last task; a stream's last experience is not known beforehand, so
    this happens after each. It scores the sensitivity of modules on the first tasks and finds those that
    are chosen here by kind. Its numbers of updates are not known to us for certain.
    """

    @validated
    def __init__(
        self,
        updates: Annotated[int, Field(ge=1, description="finetuning updates per experience")] = 300,
        rows: Annotated[int, Field(ge=0, description="remembered rows per update, 0: batch size")] = 0,
        rate: Annotated[float, Field(ge=0, description="learning rate of finetuning, 0: the training's")] = 0.0,
        modules: Annotated[Modules, Field(description="what is finetuned")] = "norms and head",
    ) -> None:
        super().__init__()
        self.updates, self.rows, self.rate_at_start, self.modules_wanted = updates, rows, rate, modules

    def setup(self, context: Context) -> None:
        _ = context.memory  # says so at once if there is none

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        if not len(context.memory):
            return None
        return context.phase(
            "finetuning",
            lambda k: self.remembered(context),
            self.updates,
            parameters=forgetful(context.model, self.modules_wanted),
            optimizer="sgd",
            lr=self.rate_at_start or context.lr,
            momentum=0.0,
            weight_decay=0.0,
            schedule="cosine",
        )

    def remembered(self, context: Context) -> Batch:
        """Rows of the memory for the update where the context stands."""
        draw = context.generator("finetuning")
        found: Batch = context.memory.batch(context.memory.draw(self.rows or context.batch_size, draw))
        return found
