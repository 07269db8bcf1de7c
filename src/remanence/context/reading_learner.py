"""What learners have in common that read lines with a language model and remember them in its activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import torch

from remanence.learner import Learner
from remanence.models.reader import Reader
from remanence.streams.text_rows import unpack

if TYPE_CHECKING:
    from remanence.streams.experience import Experience


class ReadingLearner(Learner):
    """A learner around a reader, whose weights are no part of what it remembers.

    Parameters
    ----------
    reading:
        The language model.
    seed:
        Unused: nothing is drawn.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"answering"})
    training_settings_used: ClassVar[frozenset[str] | None] = frozenset()
    kind: ClassVar[str] = "activations"
    batch_size = 1
    probes = 1

    def __init__(self, reading: Reader, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        # In a tuple, so that the weights are not taken for those of a module of the learner's
        self._reader: tuple[Reader, ...] = (reading,)

    @property
    def reader(self) -> Reader:
        """The language model."""
        return self._reader[0]

    @staticmethod
    def _lines(experience: Experience, start: int) -> Iterator[tuple[int, str]]:
        """The lines of an experience from the row `start` on, each with its id and its line break."""
        for place in range(start, len(experience.examples)):
            rows = experience.examples.learn(torch.tensor([place]))
            yield int(rows.ids[0]), f"{unpack(rows.x)[0]['text'].rstrip()}\n"
