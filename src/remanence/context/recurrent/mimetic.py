"""A beginning from which recall is learned in minutes: layers that have queries and keys compare codes from the start.

What is asked with is the code of the last three bytes; what something is stored under, the code of the three before
it. Training would have to find that the two are to be compared before anything else could be learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from remanence.context.layers.mixture_of_memories import MixtureOfMemories
from remanence.context.layers.neural_memory import NeuralMemory
from remanence.randomness import generator

_SPREAD = 0.5  # of a query's numbers, where keys are normalised behind a nonlinearity that is nearly linear there
_SHARP = 2.0  # where the product itself has to tell likes from others
_HELD = 8.0  # the logit of what a memory keeps from token to token: half is left after two thousand


@torch.no_grad()
def begin(layer: nn.Module, letters: int, codes: int, seed: int) -> int:
    """Let queries and keys of a layer begin with the same projection of the codes; how many such pairs it has.

    Parameters
    ----------
    layer:
        A memory layer whose inputs are features of a byte, the code before it, and the code with it.
    letters, codes:
        How many features each of these has.
    seed:
        From which the projection is drawn.

    References
    ----------
    As in `remanence.models.mimetic`: Trockman, Kolter, Mimetic Initialization of Self-Attention Layers, 2023,
    arXiv:2305.09828.
    """
    draw, found = generator(seed, "beginning"), 0
    width = letters + 2 * codes
    for part in layer.modules():
        queries, keys = getattr(part, "queries", None), getattr(part, "keys", None)
        if isinstance(queries, nn.Linear) and isinstance(keys, nn.Linear) and queries.in_features == width:
            rows, times = queries.out_features, keys.out_features // queries.out_features
            spread = _SHARP if hasattr(part, "feature_map") else _SPREAD
            shared = torch.randn(rows, codes, generator=draw) * spread * codes**-0.5
            queries.weight.copy_(_placed(shared, letters + codes, width))
            keys.weight.copy_(_placed(shared, letters, width).repeat(times, 1))
            found += 1
        if isinstance(forgetting := getattr(part, "forgetting", None), nn.Linear) and forgetting.bias is not None:
            forgetting.bias.fill_(-_HELD)
        if isinstance(part, MixtureOfMemories):
            part.rate_log.zero_()
            part.step_bias.fill_(-_HELD)
        if isinstance(part, NeuralMemory):
            part.rates.bias[0] = _HELD
    return found


def _placed(block: Tensor, first: int, width: int) -> Tensor:
    """A block of columns that begins at `first` of so many; the others are zero."""
    made = torch.zeros(len(block), width)
    made[:, first : first + block.shape[1]] = block
    return made
