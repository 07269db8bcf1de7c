"""A needle in a haystack of symbols: a key and its value, deep in a long sequence, asked for at the end.

The form is that of Kamradt, Needle In A Haystack, 2023 (github.com/gkamradt/LLMTest_NeedleInAHaystack), with symbols
in place of sentences. Nothing marks the needle: key, value and hay are drawn from the same symbols, and only the
question tells which run of symbols was a key.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def needle(
    rows: int,
    seed: int,
    *,
    needles: int = 1,
    depth: float | None = None,
    key: int = 2,
    length: int = 256,
    vocabulary: int = 64,
) -> SequenceBatch:
    """Draw sequences with needles in them.

    A needle is `key` symbols and a value. At the end every key is shown once more, in random order, each behind the
    question mark (token 0); the last symbol of a key asks for its value. A key's symbols stand in the hay as well,
    but never as that key: the answer is unique.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    needles:
        Keys of a sequence (1 or more).
    depth:
        Where the needles lie, one behind another: 0 at the beginning of the hay, 1 at its end. None for places of
        their own, drawn anew for every sequence.
    key:
        Symbols of a key (1 or more). A key of one symbol stands nowhere else, so it can be told by being rare.
    length:
        Tokens of a sequence, questions included: needles × (2 × key + 2) or more.
    vocabulary:
        Token 0 is the question mark, all others are symbols: more than needles × key of them.

    Example
    -------
    >>> given = needle(1, seed=0, depth=0.5, length=16, vocabulary=10)
    >>> given.tokens.tolist(), given.targets[given.asked].tolist(), given.distance[given.asked].tolist()
    ([[6, 5, 3, 7, 5, 9, 8, 5, 2, 9, 9, 1, 2, 0, 9, 8]], [5], [8])
    """
    if (
        needles < 1
        or key < 1
        or length < needles * (2 * key + 2)
        or vocabulary < needles * key + 2
        or not (depth is None or 0 <= depth <= 1)
    ):
        raise UsageError(
            f"needle was asked for {needles} needles with keys of {key} symbols at depth {depth} in {length} tokens of "
            f"{vocabulary} kinds: give at least {max(1, needles) * (2 * max(1, key) + 2)} tokens of "
            f"{max(1, needles) * max(1, key) + 2} kinds, and a depth from 0 to 1 or None"
        )
    draw = generator(seed, "needle")
    size, hay = key + 1, length - needles * (key + 1)
    # No symbol stands twice in the keys of a sequence and no value is a symbol of a key, so keys cannot overlap.
    symbols = torch.rand(rows, vocabulary - 1, generator=draw).argsort(1) + 1
    keys, others = symbols[:, : needles * key].view(rows, needles, key), symbols[:, needles * key :]

    def unlike(shape: tuple[int, ...]) -> torch.Tensor:
        """Symbols (rows, …) that are in no key of their sequence."""
        chosen = torch.randint(others.shape[1], (rows, *shape), generator=draw)
        return others.gather(1, chosen.flatten(1)).view(rows, *shape)

    values = unlike((needles,))
    room = hay - needles * size
    if depth is None:
        start = torch.rand(rows, room + needles, generator=draw).topk(needles).indices.sort(1).values
        start = start + torch.arange(needles) * (size - 1)
    else:
        start = (round(depth * room) + torch.arange(needles) * size).expand(rows, -1)
    spans = (start.unsqueeze(2) + torch.arange(size)).flatten(1)

    tokens = torch.zeros(rows, length, dtype=torch.int64)
    tokens[:, :hay] = torch.randint(1, vocabulary, (rows, hay), generator=draw)
    laid = torch.zeros(rows, hay, dtype=torch.bool).scatter_(1, spans, True)
    tokens.scatter_(1, spans, torch.cat([keys, values.unsqueeze(2)], 2).flatten(1))
    # A key that came about by chance has at least one symbol of hay: that becomes one which is in no key.
    stretches, starts = tokens[:, :hay].unfold(1, key, 1), hay - key + 1
    chance = torch.zeros(rows, hay, dtype=torch.bool)
    for one in range(needles):
        found = (stretches == keys[:, one].unsqueeze(1)).all(2)
        for within in range(key):
            chance[:, within : within + starts] |= found
    tokens[:, :hay] = torch.where(chance & ~laid, unlike((hay,)), tokens[:, :hay])

    order = torch.rand(rows, needles, generator=draw).argsort(1)
    asked = torch.cat([torch.zeros(rows, needles, 1, dtype=torch.int64), keys], 2)
    tokens[:, hay:] = asked.gather(1, order.unsqueeze(2).expand(-1, -1, size)).flatten(1)
    at = (hay + key + torch.arange(needles) * size).expand(rows, -1)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets.scatter_(1, at, values.gather(1, order))
    distance.scatter_(1, at, at - (start + key).gather(1, order))
    return SequenceBatch(tokens, targets, distance, vocabulary)
