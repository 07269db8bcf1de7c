"""The n-back test in space: a mark on a grid, and at each grid whether it is where it was n grids before.

The task is that of Gong, Wan and Wang, Working Memory Capacity of ChatGPT: An Empirical Study, 2023,
arXiv:2305.03731, in its spatial base version: a grid of 3 by 3 cells, 24 grids, 8 of which are matches.
"""

from __future__ import annotations

import torch

from remanence.errors import UsageError
from remanence.streams.recall.n_back import n_back
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch


def spatial_n_back(
    rows: int, seed: int, *, n: int = 2, items: int = 24, matches: int = 8, side: int = 3
) -> SequenceBatch:
    """Draw sequences of the spatial n-back test.

    An item is written as its side × side cells, row by row: token 1 for the cell with the mark, token 0 for the
    others. From item n on the last cell of each asks for an answer: token 3 is "match", token 2 "no match".

    Parameters
    ----------
    rows, seed:
        How many sequences, and from which they are drawn.
    n, items, matches:
        As for `n_back`; a sequence has items × side × side tokens.
    side:
        Cells along a side of the grid (2 or more; the paper also has 4, 5 and 7).

    Departures
    ----------
    As for `n_back`; the lines that the paper draws between cells are left out.

    Example
    -------
    >>> given = spatial_n_back(1, seed=0, n=1, items=3, matches=1, side=2)
    >>> given.tokens.view(3, 4).tolist(), given.targets[given.asked].tolist()
    ([[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], [3, 2])
    """
    if side < 2:
        raise UsageError(f"spatial_n_back was asked for a grid of side {side}: give 2 or more")
    cells = side * side
    drawn = n_back(rows, seed, n=n, items=items, matches=matches, symbols=cells)
    tokens = torch.nn.functional.one_hot(drawn.tokens, cells).flatten(1)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    targets[:, cells - 1 :: cells] = torch.where(drawn.asked, drawn.targets - cells + 2, IGNORE)
    distance[:, cells - 1 :: cells] = drawn.distance * cells
    return SequenceBatch(tokens, targets, distance, 4)
