"""Training small sequence models on a recall task, for the claims of memory layers: equal data, equal updates."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from remanence.randomness import derive, global_generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch

Draw = Callable[[int, int], SequenceBatch]
"""``draw(rows, seed)`` gives that many fresh sequences."""


def fit(
    build: Callable[[], nn.Module],
    draw: Draw,
    *,
    seed: int,
    updates: int,
    rows: int = 32,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    warm_up: float = 0.1,
    enough: float | None = None,
) -> nn.Module:
    """A model made by `build` and trained with AdamW on fresh sequences at every update.

    Parameters
    ----------
    build:
        Makes the model, ``model(tokens) -> (logits, states)``; its weights are drawn from `seed`.
    draw:
        Gives sequences.
    seed, updates, rows, lr, weight_decay, clip, warm_up:
        The training; the rate rises over the first share `warm_up` of the updates and then falls as a cosine to zero.
    enough:
        Stop early when the mean accuracy of the last 50 updates is above this; None to go on.
    """
    with global_generator(derive(seed, "model")):
        model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    right = 0.0
    with global_generator(derive(seed, "training")):
        for update in range(updates):
            given = draw(rows, derive(seed, "sequences", update))
            share = min((update + 1) / max(1.0, warm_up * updates), 0.5 * (1 + math.cos(math.pi * update / updates)))
            for group in optimizer.param_groups:
                group["lr"] = lr * share
            logits, _ = model(given.tokens)
            loss = cross_entropy(logits.flatten(0, 1), given.targets.flatten(), ignore_index=IGNORE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            right += (given.accuracy(logits.argmax(-1)) - right) / 50
            if enough is not None and right > enough:
                break
    return model.eval()


@torch.no_grad()
def guesses(model: nn.Module, given: SequenceBatch, rows: int = 64) -> Tensor:
    """What a trained model names as the next token at every position, (rows, length)."""
    cuts = range(0, len(given.tokens), rows)
    return torch.cat([model(given.tokens[at : at + rows])[0].argmax(-1) for at in cuts])


def accuracy(model: nn.Module, draw: Draw, *, seed: int, held_out: bool, rows: int = 256) -> float:
    """The share of right answers on sequences that no training saw: one set for searching, another for reporting."""
    given = draw(rows, derive(seed, "search" if held_out else "report"))
    return given.accuracy(guesses(model, given))
