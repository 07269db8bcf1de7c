"""Learning many arbitrary facts by heart, for the claims of memories in weights: equal data, updates and compute."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from remanence.claims.engine.experiment import Measured
from remanence.models.sequence import Recurrent, SequenceModel
from remanence.randomness import derive, generator, global_generator
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch
from remanence.weights.modules.product_keys import ProductKeyLayer, key_usage, parameter_groups

NAMES, OBJECTS = 128, 256
VOCABULARY = 2 * NAMES + OBJECTS


def facts(count: int, seed: int, purpose: str) -> SequenceBatch:
    """Distinct subjects of two names, and an object drawn for each: (count, 2) tokens, asked at the second."""
    draw = generator(seed, purpose)
    subject = torch.randperm(NAMES * NAMES, generator=draw)[:count]
    tokens = torch.stack([subject // NAMES, NAMES + subject % NAMES], 1)
    targets = torch.full_like(tokens, IGNORE)
    targets[:, 1] = torch.randint(VOCABULARY - OBJECTS, VOCABULARY, (count,), generator=draw)
    return SequenceBatch(tokens, targets, torch.zeros_like(tokens), VOCABULARY)


def dense(width: int, blocks: int, expansion: int = 4) -> SequenceModel:
    """A model with a feed-forward layer in each block."""
    mixers = [Recurrent(width, "gru") for _ in range(blocks)]
    return SequenceModel(VOCABULARY, width, mixers, expansion=expansion)


def with_memory(model: SequenceModel, place: int, memory: ProductKeyLayer) -> None:
    """Put a memory in place of the feed-forward layer of one block, behind a norm like the one it had."""
    model.feeds[place] = nn.Sequential(nn.RMSNorm(memory.width, eps=1e-6), memory)


def flops(model: nn.Module) -> int:
    """Multiplications and additions for one token; norms, activations and sorting are left out."""
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, ProductKeyLayer):
            total += module.flops()
        elif any(isinstance(outer, ProductKeyLayer) for outer in _around(model, name)):
            continue
        elif isinstance(module, nn.Linear):
            total += 2 * module.in_features * module.out_features
        elif isinstance(module, nn.GRU):
            total += 6 * module.hidden_size * (module.input_size + module.hidden_size)
    return total


def _around(model: nn.Module, name: str) -> list[nn.Module]:
    parts = name.split(".")
    return [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]


def learn(
    model: nn.Module, given: SequenceBatch, seed: int, *, lr: float, values: float, times: int, rows: int = 256
) -> int:
    """Train on every fact `times` times, in an order of its own each time; how many updates that took.

    The rate rises over the first tenth of the updates and then falls as a cosine; that of values is `values` times as high.
    """
    optimizer = torch.optim.AdamW(parameter_groups(model, lr, values * lr), weight_decay=0.0)
    rates = [group["lr"] for group in optimizer.param_groups]
    count = len(given.tokens)
    updates = times * (count // rows)
    model.train()
    for time in range(times):
        order = torch.randperm(count, generator=generator(seed, "order", time))
        for place in range(count // rows):
            update = time * (count // rows) + place
            share = min((update + 1) / (0.1 * updates), 0.5 * (1 + math.cos(math.pi * update / updates)))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            batch = given.rows(order[place * rows : (place + 1) * rows])
            logits, _ = model(batch.tokens)
            loss = cross_entropy(logits[:, -1], batch.targets[:, -1])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return updates


@torch.no_grad()
def recalled(model: nn.Module, given: SequenceBatch) -> float:
    """The share of facts whose object a model names."""
    model.eval()
    guessed: list[Tensor] = [model(tokens)[0].argmax(-1) for tokens in torch.split(given.tokens, 1024)]
    return given.accuracy(torch.cat(guessed))


def measured(
    build: Callable[[str], SequenceModel],
    side: str,
    seed: int,
    held_out: bool,
    *,
    count: int,
    lr: float,
    values: float,
    times: int,
) -> Measured:
    """What one side recalls after learning `count` facts; searched on other facts than are reported."""
    with global_generator(derive(seed, "model")):
        model = build(side)
    given = facts(count, seed, "searched facts" if held_out else "facts")
    updates = learn(model, given, seed, lr=lr, values=values, times=times)
    figures = {"recalled": recalled(model, given)}
    for memory in model.modules():
        if isinstance(memory, ProductKeyLayer):
            figures |= _usage(model, memory, given)
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    return Measured(figures, {"parameters": parameters}, {"updates": updates, "operations a token": flops(model)})


@torch.no_grad()
def _usage(model: SequenceModel, memory: ProductKeyLayer, given: SequenceBatch) -> dict[str, float]:
    """Key usage, and the divergence of the weights read from uniform ones, over all facts."""
    read: list[Tensor] = []
    hook = memory.register_forward_hook(lambda layer, x, _: read.append(layer.read(x[0])))
    for tokens in torch.split(given.tokens, 1024):
        model(tokens)
    hook.remove()
    usage = key_usage(torch.stack(read).sum(0))
    return {"keys used": usage.used, "divergence": usage.divergence}
