"""MEMO: the last layers are added anew for each experience, the first ones are shared; exemplars fill the rest.

What is remembered are the frozen last layers of every earlier experience and herded exemplars of every
class. A new block costs a part of a network instead of a whole one, and under a budget the exemplars
give up the bytes that a block takes; each update passes through all blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.streams.experience import Experience
from remanence.update import Update
from remanence.weights.context import Context
from remanence.weights.growth.block_growth import BlockGrowth
from remanence.weights.growth.expansion import drop_auxiliary


@system(
    "memo",
    paper=Paper(
        "A Model or 603 Exemplars: Towards Memory-Efficient Class-Incremental Learning",
        "Zhou, Wang, Ye, Zhan",
        2023,
        "2205.13218",
        25,
    ),
    baseline="der-expandable",
    variant="shared layers keep learning (the paper's setting for equal experiences); weights aligned",
    training={"lr": 0.1},
    tuning_note="best of four learning rates on split MNIST, 1,000 examples an experience, one pass, 200 exemplars, two other class orders, by final accuracy on test rows",
)
class MEMO(BlockGrowth):
    """Memory-efficient expandable model.

    The body is cut into shared layers and a block of specialised ones. From the second experience on
    a block is added, a copy of the newest, and the older blocks are frozen; the linear head reads all
    blocks. The loss is the cross-entropy over all classes plus that of an auxiliary head, which reads the
    new block alone and takes all old classes for one. After each experience the new rows of the head are
    scaled to the mean length of the old ones, and exemplars are herded.

    Parameters
    ----------
    size:
        Exemplars in all (1 or more), shared equally by the classes; under a budget, at most so many.
    specialised:
        How many of the last layers with weights make a block (1 or more).
    auxiliary:
        Weight of the auxiliary loss (0 or more).
    train_shared:
        Whether the shared layers go on learning after the first experience.
    align:
        Whether the new rows of the head are scaled after each experience.

    Raises
    ------
    UsageError
        If the body is not a sequence of layers that can be cut.
    BudgetError
        If a block does not fit even with a single exemplar left.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("memo", stream, model="mlp:32,16")
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> len(learner.model.body.blocks), learner.model.head.weight.shape
    (5, torch.Size([10, 80]))

    References
    ----------
    Zhou et al., A Model or 603 Exemplars: Towards Memory-Efficient Class-Incremental Learning, ICLR 2023,
    arXiv:2205.13218.

    Departures
    ----------
    The paper counts backbone and exemplars only; here every byte counts, the head and the auxiliary head
    too. Each update learns its share of the exemplars, so that every one passes once an epoch, where the
    paper shuffles new examples and exemplars together. Exemplars of a class that comes back are kept
    as they are. With `train_shared` the frozen blocks see inputs that drift. The
    alignment supposes long training with decay, which leaves the head's new rows longer than the old ones;
    where training is short they are shorter, and it enlarges them: on split MNIST (300 examples an
    experience, 10 epochs, 200 KB, one class order) accuracy was 0.58 with it and 0.76 without.
    """

    needs = frozenset({"boundaries", "classes", "a second reading"})
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})

    @validated
    def __init__(
        self,
        size: Annotated[int, Field(ge=1, description="exemplars in all, at most")] = 2000,
        specialised: Annotated[int, Field(ge=1, description="last layers with weights that make a block")] = 1,
        auxiliary: Annotated[float, Field(ge=0, description="weight of the auxiliary loss")] = 1.0,
        train_shared: Annotated[bool, Field(description="shared layers learn after the first experience")] = True,
        align: Annotated[bool, Field(description="scale the head's new rows after each experience")] = True,
    ) -> None:
        super().__init__(size, auxiliary, specialised)
        self.train_shared, self.align = train_shared, align

    def lr_multiplier(self, name: str) -> float:
        if name.startswith("body.shared.") and self.experiences > 1 and not self.train_shared:
            return 0.0
        return super().lr_multiplier(name)

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update]:
        if context.first_time("align"):
            context.grow(drop_auxiliary)
            if self.align and 0 < self.old < len(context.model.classes):
                _align(context.model, self.old)
        yield from self.herd(context, experience)


def _align(model: Any, old: int) -> None:
    weight = model.head.weight.data
    lengths = torch.linalg.vector_norm(weight, dim=1)
    weight[old:] *= lengths[:old].mean() / lengths[old:].mean()
