"""What a stream is made of: a task, experiences, test sets, and what of them is disclosed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.examples import Concatenated, Examples, Unlabelled

TaskKind = Literal["classification", "regression", "retrieval", "answering"]


class Task(NamedTuple):
    """What is asked of a learner, and how an answer is scored.

    The metric is ``accuracy``, ``rmse``, ``recall@k`` (the share of a question's evidence among the first k
    records that the answer names), ``hit@k`` (whether any of it is among them) or ``exact match`` (whether the
    text of the answer is the right one, blanks around it aside).
    """

    kind: TaskKind = "classification"
    metric: str = "accuracy"

    @property
    def higher_is_better(self) -> bool:
        return self.metric != "rmse"

    @property
    def k(self) -> int:
        """How many records an answer to a question may name."""
        return int(self.metric.partition("@")[2] or 1)

    @property
    def about_records(self) -> bool:
        """Whether what is learned are records without targets, and the test sets hold questions about them."""
        return self.kind in ("retrieval", "answering")


CLASSIFICATION = Task()
REGRESSION = Task("regression", "rmse")
ANSWERING = Task("answering", "exact match")


@dataclass(frozen=True)
class Disclosure:
    """What a stream tells its learner.

    Parameters
    ----------
    boundaries:
        That one experience ends and another begins.
    classes:
        Which classes an experience holds, before it is learned (implies boundaries).
    task_ids:
        Which task the training examples belong to.
    test_task_ids:
        Which task the examples of a question belong to.
    again:
        That the examples of an experience may be read a second time.
    """

    boundaries: bool = True
    classes: bool = True
    task_ids: bool = False
    test_task_ids: bool = False
    again: bool = True

    def disclosed(self) -> set[str]:
        """The names of what is disclosed, in the words that learners use in `needs`."""
        words = {
            "boundaries": self.boundaries,
            "classes": self.classes,
            "task ids": self.task_ids,
            "task ids at test time": self.test_task_ids,
            "a second reading": self.again,
        }
        return {word for word, is_disclosed in words.items() if is_disclosed}


@dataclass(frozen=True)
class Experience:
    """What a learner is handed: training examples, and only what the stream discloses about them.

    `index` counts what was handed before it. `classes` are the labels that occur in it and `task` is
    its task id, each ``None`` where the stream does not tell. `asks_task` says that questions will come
    with their task id. Where it is not `labelled` there are inputs alone, in the order of time.
    """

    index: int
    examples: Examples
    classes: tuple[int, ...] | None = None
    task: int | None = None
    boundary: bool = True
    again: bool = True
    asks_task: bool = False
    client: str | None = None
    labelled: bool = True


@dataclass(frozen=True)
class TestSet:
    """A named set of questions with their answers, scored by the arena alone."""

    name: str
    x: Tensor
    y: Tensor
    task: int | None = None
    classes: tuple[int, ...] = ()

    __test__ = False  # keeps pytest from taking the name for a test case


@dataclass(frozen=True)
class Segment:
    """One experience as the arena knows it, before anything is hidden from the learner."""

    examples: Examples
    classes: tuple[int, ...] = ()
    task: int | None = None
    name: str = ""
    client: str | None = None
    labelled: bool = True
    """Whether the learner gets its targets."""


@dataclass(frozen=True)
class Stream:
    """An ordered source of experiences.

    Parameters
    ----------
    name:
        What it is called in reports, ``digits/split``.
    segments:
        The experiences in order, whole.
    tests:
        Named test sets. Class-incremental streams have one per experience, in order, so that the
        accuracy matrix is square; an empty list means that the stream is evaluated prequentially.
    task:
        What is asked and how it is scored.
    shape:
        Shape of one input, without the batch.
    disclosure:
        What the learner is told.
    class_names:
        Names of the labels 0, 1, 2… where they have any.
    recipe:
        A JSON-able description that `remanence.streams.build` turns into this stream again, in
        another process; ``None`` for streams made of objects in memory.
    defaults:
        Training settings that suit this source; whoever runs the stream may override them.
    notes:
        Figures for the report, such as how many missing values were imputed.
    scale:
        Origin and unit of regression targets: a value v of the stream is origin + v × unit in the units
        of the source, and an error is that many units large.
    distances:
        How many tokens lie on average between what is asked about and its question, for a test set asked right
        after its experience, one experience later, and so on; empty where nobody counts them.
    """

    name: str
    segments: Sequence[Segment]
    tests: Sequence[TestSet]
    task: Task = CLASSIFICATION
    shape: tuple[int, ...] = ()
    disclosure: Disclosure = Disclosure()
    class_names: tuple[str, ...] = ()
    recipe: dict[str, object] | None = None
    defaults: dict[str, object] | None = None
    notes: dict[str, object] | None = None
    scale: tuple[float, float] = (0.0, 1.0)
    distances: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def prequential(self) -> bool:
        return not self.tests

    @property
    def segment_ends(self) -> list[int]:
        """How many examples have passed at the end of each segment."""
        total, ends = 0, []
        for segment in self.segments:
            total += len(segment.examples)
            ends.append(total)
        return ends

    def experiences(self) -> Iterator[Experience]:
        """The disclosed views, in order: one per segment, or a single long one without boundaries."""
        told = self.disclosure
        if not told.boundaries:
            if not all(segment.labelled for segment in self.segments):
                raise UsageError(
                    f"the stream {self.name} hides both boundaries and the labels of some experiences: tell boundaries"
                )
            yield Experience(0, Concatenated([s.examples for s in self.segments]), boundary=False, again=told.again)
            return
        for index, segment in enumerate(self.segments):
            yield Experience(
                index,
                segment.examples if segment.labelled else Unlabelled(segment.examples),
                classes=segment.classes if told.classes and segment.classes and segment.labelled else None,
                task=segment.task if told.task_ids else None,
                boundary=True,
                again=told.again and segment.examples.again,
                asks_task=told.test_task_ids,
                client=segment.client,
                labelled=segment.labelled,
            )

    def disclose(self, **told: bool) -> Stream:
        """The same stream with other disclosure: ``stream.disclose(boundaries=False, classes=False)``."""
        return replace(self, disclosure=replace(self.disclosure, **told))
