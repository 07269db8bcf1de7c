"""Asking a learner: scores on test sets, and on new examples before they are learned."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

from torch import Tensor

from remanence.answer import Answer
from remanence.errors import UsageError
from remanence.learner import Learner
from remanence.streams.examples import Examples, Rows, Unlabelled
from remanence.streams.experience import Experience, Stream, Task, TestSet
from remanence.streams.text_rows import unpack_texts

ROWS = 1024
"""Questions asked at once, so that memory stays bounded."""


def error_sum(answer: Answer, y: Tensor, stream: Stream) -> float:
    """How many labels or texts are wrong, the evidence missed, or the sum of squared errors in the source's units."""
    if stream.task.kind == "retrieval":
        return evidence_missed(answer, y, stream.task)
    if stream.task.kind == "answering":
        return float(wrong_texts(answer, y))
    if stream.task.kind == "regression":
        return float((answer.values.cpu().double() - y.double()).square().sum()) * stream.scale[1] ** 2
    return float((answer.labels != y.cpu()).sum())


def evidence_missed(answer: Answer, evidence: Tensor, task: Task) -> float:
    """Summed over questions, the share of evidence (n, e; padded with -1) that the first k records miss."""
    if answer.records is None:
        raise UsageError("the learner's answer names no records, which a stream of questions asks for")
    named = answer.records[:, : task.k].cpu()
    there = evidence >= 0
    found = (evidence.unsqueeze(2) == named.unsqueeze(1)).any(2) & there
    if task.metric.startswith("hit"):
        return float((~found.any(1)).sum())
    return float((1 - found.sum(1) / there.sum(1).clamp(min=1)).double().sum())


def wrong_texts(answer: Answer, right: Tensor) -> int:
    """How many texts of the answer differ from the right ones (n, bytes; padded with 0), blanks around them aside."""
    if len(answer.texts) != len(right):
        raise UsageError(
            f"the learner's answer holds {len(answer.texts)} texts for {len(right)} questions: give one text a question"
        )
    pairs = zip(answer.texts, unpack_texts(right), strict=True)
    return sum(given.strip() != wanted.strip() for given, wanted in pairs)


def score_of(error: float, rows: int, task: Task) -> float:
    """The share that was right, or the root mean squared error, from a sum of errors."""
    return math.sqrt(error / rows) if task.kind == "regression" else 1 - error / rows


def score(learner: Learner, test: TestSet, stream: Stream) -> float:
    """The stream's metric on one test set."""
    asked = test.task if stream.disclosure.test_task_ids else None
    wrong = 0.0
    for start in range(0, len(test.y), ROWS):
        answer = learner.predict(test.x[start : start + ROWS], asked)
        wrong += error_sum(answer, test.y[start : start + ROWS], stream)
    return score_of(wrong, len(test.y), stream.task)


@dataclass
class OnlineScore:
    """Running score on new examples, each asked about just before it is learned for the first time.

    `window` counts since the last probe, `experience` since the experience began, `whole` since the start:
    each is [sum of errors, rows]. `passed` counts the rows of this experience that were asked about.
    """

    whole: list[float] = field(default_factory=lambda: [0.0, 0.0])
    experience: list[float] = field(default_factory=lambda: [0.0, 0.0])
    window: list[float] = field(default_factory=lambda: [0.0, 0.0])
    passed: int = 0
    seconds: float = 0.0

    def add(self, error: float, rows: int) -> None:
        for place in (self.whole, self.experience, self.window):
            place[0] += error
            place[1] += rows

    @staticmethod
    def score(place: list[float], task: Task) -> float | None:
        return score_of(place[0], int(place[1]), task) if place[1] else None


class PrequentialExamples(Examples):
    """Examples that ask the learner about rows right before handing them out to be learned.

    Only the first pass counts: as many rows as there are examples.
    """

    def __init__(self, base: Examples, learner: Learner, stream: Stream, online: OnlineScore) -> None:
        self.base, self.learner, self.stream, self.online = base, learner, stream, online
        self.ordered, self.again = base.ordered, base.again
        self.truth = base.base if isinstance(base, Unlabelled) else None

    def __len__(self) -> int:
        return len(self.base)

    def cut(self, index: Tensor) -> Rows:
        return self.base.cut(index)

    def span(self, start: int, stop: int) -> Rows:
        return self.base.span(start, stop)

    def learn(self, index: Tensor) -> Rows:
        rows = self.base.learn(index)
        new = min(len(index), len(self.base) - self.online.passed)
        if new > 0:
            begun = time.perf_counter()
            y = rows.y[:new] if self.truth is None else self.truth.cut(index[:new]).y
            wrong = error_sum(self.learner.predict(rows.x[:new]), y, self.stream)
            self.online.add(wrong, new)
            self.online.passed += new
            self.online.seconds += time.perf_counter() - begun
        return rows


def score_before_learning(experience: Experience, learner: Learner, stream: Stream, online: OnlineScore) -> Experience:
    """The experience with examples that are asked about before they are learned."""
    return replace(experience, examples=PrequentialExamples(experience.examples, learner, stream, online))
