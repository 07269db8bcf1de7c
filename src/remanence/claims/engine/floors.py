"""What a baseline must be clearly above before a comparison with it shows anything."""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.streams.experience import Stream

PLAIN = {"classification": "naive", "regression": "naive", "retrieval": "recent", "answering": "recent"}
"""The learner that does nothing special, by what a stream asks for."""


def trivial(stream: Stream, by: str) -> float | None:
    """The score of the best answer that looks at no input, None where the stream has no such answer.

    Parameters
    ----------
    stream:
        With its data.
    by:
        ``online_accuracy`` asks about every row before it is learned, where repeating the last label is an answer,
        too; any other metric asks the test sets, where a label is chosen for each task if its id comes with the question.

    Example
    -------
    >>> from remanence import streams
    >>> round(trivial(streams.split("digits", experiences=5), "accuracy"), 2)
    0.12
    """
    if stream.task.kind == "regression":
        return _mean_value(stream)
    if stream.task.kind != "classification":
        return None
    if by == "online_accuracy" or not stream.tests:
        labels = torch.cat([segment.examples.labels() for segment in stream.segments])
        repeated = float((labels[1:] == labels[:-1]).float().mean()) if len(labels) > 1 else 0.0
        return max(float(_shares(labels).max()), repeated)
    size = 1 + max(int(test.y.max()) for test in stream.tests)
    shares = torch.stack([_shares(test.y, size) for test in stream.tests])
    best = shares.max(1).values.mean() if stream.disclosure.test_task_ids else shares.mean(0).max()
    return float(best)


def _shares(labels: Tensor, size: int = 0) -> Tensor:
    return torch.bincount(labels.long(), minlength=size) / len(labels)


def _mean_value(stream: Stream) -> float:
    """The error of always answering the mean of what is to be learned."""
    mean = torch.cat([segment.examples.labels() for segment in stream.segments]).mean()
    asked = [test.y for test in stream.tests] or [segment.examples.labels() for segment in stream.segments]
    return float(torch.stack([(y - mean).square().mean().sqrt() for y in asked]).mean())
