"""Sequence order: of two stretches of what was read, which came first.

The task is SORT of Pink et al., Assessing Episodic Memory in LLMs with Sequence Order Recall Tasks, 2024,
arXiv:2410.08133: an excerpt, two segments of it that do not overlap, at a controlled distance, and the question which
of them stands earlier. It asks for the order of what happened, not for what happened.
"""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch

_TRIES = 64
_FACTOR = 6364136223846793005  # an odd multiplier for hashing stretches; wrapping round is meant


def sequence_order(
    rows: int,
    seed: int,
    *,
    questions: int = 1,
    segment: int = 4,
    nearest: int | None = None,
    farthest: int | None = None,
    length: int = 256,
    vocabulary: int = 64,
) -> SequenceBatch:
    """Draw sequences that ask for the order of their segments.

    An excerpt of random symbols comes first. Each question is token 0, one segment, token 1, the other segment, and
    its last token asks: token 0 is the answer where the segment behind token 0 came first in the excerpt, token 1
    where the other did. Half of the answers of a draw are 0 (one more where their number is odd). Each segment
    stands in the excerpt only once.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    questions:
        Pairs of segments that are asked about (1 or more).
    segment:
        Tokens of a segment (1 or more).
    nearest, farthest:
        The distance between the beginnings of two segments is drawn from this range, ends included; None for the
        least (`segment`) and the largest that the excerpt allows. The paper's distance bins are such ranges.
    length:
        Tokens of a sequence, of which each question takes 2 × segment + 2 at the end.
    vocabulary:
        Tokens 0 and 1 frame the questions, all others are symbols. With few symbols and long excerpts a short segment
        may nowhere stand only once, which is refused.

    Departures
    ----------
    Random symbols stand in for the words of a book, so nothing but memory helps. The `distance` of a question is that
    to the end of the earlier segment; the paper's is the one between the two.

    Example
    -------
    >>> given = sequence_order(1, seed=0, segment=2, length=16, vocabulary=12)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist()
    ([[5, 7, 5, 9, 6, 2, 5, 3, 5, 11, 0, 5, 7, 1, 3, 5]], [0])
    """
    size = 2 * segment + 2
    excerpt = length - questions * size
    low = segment if nearest is None else nearest
    high = excerpt - segment if farthest is None else farthest
    if questions < 1 or segment < 1 or vocabulary < 4 or not segment <= low <= high <= excerpt - segment:
        raise UsageError(
            f"sequence_order was asked for {questions} questions about segments of {segment} tokens, {low} to {high} "
            f"apart, in {length} tokens of {vocabulary} kinds: the excerpt has {excerpt} tokens then, the distance may "
            f"be {segment} to {excerpt - segment}, and at least four kinds of tokens are needed"
        )
    draw = generator(seed, "sequence order")
    text = torch.randint(2, vocabulary, (rows, excerpt), generator=draw)
    apart = torch.randint(low, high + 1, (rows, questions, _TRIES), generator=draw)
    room = excerpt - segment - apart + 1
    early = (torch.rand(apart.shape, generator=draw, dtype=torch.float64) * room).long()
    once = _once(text, segment)
    clear = (once.gather(1, early.flatten(1)) & once.gather(1, (early + apart).flatten(1))).view(apart.shape)
    if not bool(clear.any(2).all()):
        raise UsageError(
            f"sequence_order found no two segments of {segment} tokens, {low} to {high} apart, that stand only once "
            f"among {excerpt} tokens of {vocabulary - 2} symbols: give longer segments or a larger vocabulary"
        )
    found = clear.to(torch.uint8).argmax(2, keepdim=True)
    first = early.gather(2, found).squeeze(2)
    second = first + apart.gather(2, found).squeeze(2)

    swapped = (torch.randperm(rows * questions, generator=draw) % 2 == 1).view(rows, questions)
    shown = torch.stack([torch.where(swapped, second, first), torch.where(swapped, first, second)], 2)
    stretch = (shown.unsqueeze(3) + torch.arange(segment)).flatten(1)
    pairs = text.gather(1, stretch).view(rows, questions, 2, segment)
    frame = torch.tensor([0, 1]).view(1, 1, 2, 1).expand(rows, questions, 2, 1)
    tokens = torch.cat([text, torch.cat([frame, pairs], 3).flatten(1)], 1)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    at = excerpt + size - 1 + size * torch.arange(questions)
    targets[:, at] = swapped.long()
    distance[:, at] = at - (first + segment - 1)
    return SequenceBatch(tokens, targets, distance, vocabulary)


def _once(text: Tensor, segment: int) -> Tensor:
    """Which stretches of each row are unlike all others of it, (rows, beginnings) bool.

    Equal stretches have equal hashes, so a stretch whose hash is alone is alone; that unequal ones may share a hash
    only leaves some out.
    """
    stretches = text.unfold(1, segment, 1)
    code = torch.zeros(stretches.shape[:2], dtype=torch.int64)
    for place in range(segment):
        code = code * _FACTOR + stretches[:, :, place]
    ordered, order = code.sort(1)
    same = ordered[:, 1:] == ordered[:, :-1]
    edge = torch.zeros(len(text), 1, dtype=torch.bool)
    twin = torch.cat([same, edge], 1) | torch.cat([edge, same], 1)
    return torch.empty_like(twin).scatter_(1, order, ~twin)
