"""Overwriting: keys are given new values again and again, and asked for at any time for the latest.

It is the test of Yntema and Mueser, Remembering the present states of a number of variables, 1960, with the tokens of
`mqar`: what was true before is in the way of what is true now.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.randomness import generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def overwriting(
    rows: int, seed: int, *, keys: int = 8, asked: float = 0.3, length: int = 256, vocabulary: int = 64
) -> SequenceBatch:
    """Draw sequences of keys whose values change.

    Two tokens are a step: a key and its new value, or the question mark (token 0) and a key, which asks for the value
    that this key was given last. The last step is a question.

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    keys:
        Different keys of a sequence (1 to half of the symbols), each step taking any of them.
    asked:
        How likely a step with a known key is a question rather than a new value (0 to 1).
    length:
        Tokens of a sequence, an even number (4 or more).
    vocabulary:
        Token 0 is the question mark, the lower half of the others are keys, the upper half values.

    Example
    -------
    >>> given = overwriting(1, seed=0, keys=2, asked=0.5, length=12, vocabulary=9)
    >>> given.tokens.view(-1, 2).tolist()
    [[3, 8], [0, 3], [3, 7], [3, 5], [4, 8], [0, 3]]
    >>> given.targets[given.asked].tolist(), given.distance[given.asked].tolist()
    ([8, 5], [2, 4])
    """
    known = (vocabulary - 1) // 2
    if not 1 <= keys <= known or length < 4 or length % 2 or not 0 <= asked <= 1:
        raise UsageError(
            f"overwriting was asked for {keys} of {known} keys in {length} tokens, asked with probability {asked}: at "
            "most as many keys as there are, an even number of 4 or more tokens, and a probability from 0 to 1"
        )
    draw, steps = generator(seed, "overwriting"), length // 2
    names = torch.rand(rows, known, generator=draw).argsort(1)[:, :keys] + 1
    chosen = torch.randint(keys, (rows, steps), generator=draw)
    final = torch.randint(steps - 1, (rows,), generator=draw)
    chosen[:, -1] = chosen.gather(1, final.unsqueeze(1)).squeeze(1)
    value = torch.randint(1 + known, vocabulary, (rows, steps), generator=draw)
    question = torch.rand(rows, steps, generator=draw) < asked
    question[:, -1] = True

    step = torch.arange(steps)
    mine = chosen.unsqueeze(1) == torch.arange(keys).unsqueeze(1)
    first = mine.to(torch.uint8).argmax(2)  # a key's first step gives it a value
    question &= step != first.gather(1, chosen)
    written = torch.where(mine & ~question.unsqueeze(1), step, -1).cummax(2).values
    latest = written.gather(1, chosen.unsqueeze(1)).squeeze(1)

    name = names.gather(1, chosen)
    tokens = torch.stack([name.masked_fill(question, 0), torch.where(question, name, value)], 2).flatten(1)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, 1::2][question] = value.gather(1, latest)[question]
    distance[:, 1::2] = (2 * (step - latest)).masked_fill(~question, 0)
    return SequenceBatch(tokens, targets, distance, vocabulary)
