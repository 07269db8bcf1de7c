"""Permuted sequential digits: a handwritten digit, read pixel by pixel in a fixed shuffled order, is named.

The form is that of Le, Jaitly and Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units,
2015, arXiv:1504.00941, with the 8 × 8 digits that come with scikit-learn in place of MNIST.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def permuted_digits(
    rows: int, seed: int, *, split: str = "train", levels: int = 16, permutation: int | None = 0
) -> SequenceBatch:
    """Draw digits as sequences of 64 grey values and a question mark, which asks for the class.

    Grey values are the tokens 0 (black) to levels − 1, the question mark is the next token, and the ten tokens behind
    it are the classes. No digit comes twice before all of the split came once.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    split:
        ``"train"`` (1,438 digits) or ``"test"`` (359), as in the source ``digits``.
    levels:
        Grey values (2 to 17; the images have 17).
    permutation:
        From which the order of the pixels is drawn, the same for all sequences; None for row by row.

    Departures
    ----------
    Pixels are tokens rather than numbers. The `distance` of the question is that to the first pixel.

    Example
    -------
    >>> given = permuted_digits(2, seed=0, split="test")
    >>> given.tokens.shape, (given.targets[given.asked] - 17).tolist()
    (torch.Size([2, 65]), [9, 9])
    """
    if split not in ("train", "test") or not 2 <= levels <= 17:
        raise UsageError(
            f"permuted_digits was asked for the split {split!r} in {levels} grey values: give 'train' or 'test', and 2 "
            "to 17 grey values"
        )
    images, classes = _digits(split)
    draw = generator(seed, "permuted digits")
    rounds = -(-rows // len(images))
    chosen = torch.cat([torch.randperm(len(images), generator=draw) for _ in range(rounds)] or [torch.arange(0)])[:rows]
    grey = images[chosen] * levels // 256
    if permutation is not None:
        grey = grey[:, torch.randperm(grey.shape[1], generator=generator(permutation, "pixels"))]
    tokens = torch.cat([grey, torch.full((rows, 1), levels)], 1)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, -1] = levels + 1 + classes[chosen]
    distance[:, -1] = grey.shape[1]
    return SequenceBatch(tokens, targets, distance, levels + 11)


@functools.cache
def _digits(split: str) -> tuple[Tensor, Tensor]:
    from remanence.streams.sources import whole

    stream = whole("digits")
    if split == "test":
        return stream.tests[0].x.flatten(1).long(), stream.tests[0].y
    examples = stream.segments[0].examples
    rows = examples.cut(torch.arange(len(examples)))
    return rows.x.flatten(1).long(), rows.y
