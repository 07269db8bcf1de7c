"""Dynamically expandable representation: a whole new body for each experience, then a classifier on balanced data.

What is remembered are the frozen bodies of every earlier experience and herded exemplars of every class;
the classifier that reads them all is learned anew after each experience. It costs a network per
experience, in bytes and in every forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from remanence.hyperparameters import validated
from remanence.randomness import derive
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.context import Context, Step
from remanence.weights.growth.block_growth import BlockGrowth
from remanence.weights.growth.expansion import drop_auxiliary
from remanence.weights.objective import plain_objective


@system(
    "der-expandable",
    paper=Paper(
        "DER: Dynamically Expandable Representation for Class Incremental Learning",
        "Yan, Xie, He",
        2021,
        "2103.16788",
        364,
    ),
    baseline="er",
    variant="without channel masks and pruning, as in the authors' released code",
    training={"lr": 0.1},
    tuning_note="best of four learning rates on split MNIST, 1,000 examples an experience, one pass, 200 exemplars, two other class orders, by final accuracy on test rows",
)
class DERExpandable(BlockGrowth):
    """Dynamically expandable representation.

    From the second experience on the body is copied, the older bodies are frozen, and the linear head
    reads all of them. The first stage adds an auxiliary loss on the newest body alone, for which all old
    classes are one. In the second stage the head starts anew and is trained by itself on equally many
    exemplars of each class, its scores divided by a temperature.

    Parameters
    ----------
    size:
        Exemplars in all (1 or more), shared equally by the classes; under a budget, at most so many.
    auxiliary:
        Weight λ_a of the auxiliary loss (0 or more).
    temperature:
        Temperature δ of the second stage (above 0).
    classifier_epochs:
        Passes over the balanced exemplars in the second stage (0 leaves it out).
    classifier_lr:
        Learning rate of the second stage (0 takes that of the first).
    classifier_batch:
        Rows per update of the second stage (0 takes the batch size of the first).

    Raises
    ------
    BudgetError
        If a body does not fit even with a single exemplar left.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("der-expandable", stream, model="mlp:16", classifier_epochs=2)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.model.body.blocks), learner.model.head.weight.shape
    (5, torch.Size([10, 80]))

    References
    ----------
    Yan, Xie, He, DER: Dynamically Expandable Representation for Class Incremental Learning, CVPR 2021,
    arXiv:2103.16788.

    Departures
    ----------
    The channel masks, their sparsity loss and the pruning are left out, as in the authors' released code;
    the paper's smaller sizes do not follow. Each update learns its share of the exemplars, so that every one
    passes once an epoch, where the paper shuffles them among the new examples. The second stage uses the
    exemplars alone, those of the new classes included; its learning rate falls by a cosine, not in steps,
    and it has momentum 0.9 as in the paper, but no weight decay unless the training settings have.
    """

    needs = frozenset({"boundaries", "classes", "a second reading"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="exemplars in all, at most")] = 2000,
        auxiliary: Annotated[float, Field(ge=0, description="weight λ_a of the auxiliary loss")] = 1.0,
        temperature: Annotated[float, Field(gt=0, description="temperature δ of the classifier stage")] = 5.0,
        classifier_epochs: Annotated[int, Field(ge=0, description="epochs of the classifier stage")] = 30,
        classifier_lr: Annotated[float, Field(ge=0, description="its learning rate, 0: as the first stage")] = 0.1,
        classifier_batch: Annotated[
            int, Field(ge=0, description="rows per update of it, 0: as in the first stage")
        ] = 0,
    ) -> None:
        super().__init__(size, auxiliary, 0)
        self.temperature = temperature
        self.classifier_epochs, self.classifier_lr = classifier_epochs, classifier_lr
        self.classifier_batch = classifier_batch

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        if context.first_time("auxiliary head away"):
            context.grow(drop_auxiliary)
        yield from self.herd(context, experience)
        if self.experiences > 1 and self.classifier_epochs:
            if context.first_time("reset"):
                _reset(context.model, derive(context.seed, "classifier", context.experience))
            yield from self._classifier(context)

    def _classifier(self, context: Context) -> Iterator[Update]:
        batches, per_epoch = self.balanced(context, self.classifier_batch or context.batch_size)

        def objective(step: Step) -> Tensor:
            step.scores = step.scores / self.temperature
            return plain_objective(step)

        yield from context.phase(
            "classifier",
            batches,
            per_epoch * self.classifier_epochs,
            parameters=["head"],
            objective=objective,
            lr=self.classifier_lr or None,
            momentum=0.9,
            schedule="cosine",
        )


def _reset(model: Any, seed: int) -> None:
    model.head.reset(seed)
