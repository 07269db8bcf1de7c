"""What a model does with its keys, tried on the model itself, once, before a cache is made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from remanence.context.caches.full_cache import FullCache
from remanence.context.caches.hugging_face import cache_class
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.rotary import Rotary, rotaries_of
from remanence.context.caches.supported import SUPPORTED, Shape, declared_shape
from remanence.errors import Diverged, UsageError
from remanence.randomness import generator

_LENGTH, _SHIFT = 12, 7
_PIECES = (8, 1, 3)
_TRIED: WeakKeyDictionary[Any, Shape] = WeakKeyDictionary()


def shape_of(model: Any) -> Shape:
    """What a cache must know of a model, tried on the model.

    A few tokens are read with a cache that keeps everything, in pieces, and must give the logits that the model gives
    without one. Then they are read at other positions: a layer whose keys turn with their positions as rotary ones do
    can be moved, and so can one whose keys know no position.

    Raises
    ------
    UsageError
        If a cache policy cannot be used with it.
    """
    declared = declared_shape(model)
    known = _TRIED.get(model)
    if known is None or known.fingerprint != declared.fingerprint:
        known = _TRIED[model] = _tried(model, declared)
    return known


def _tried(model: Any, declared: Shape) -> Shape:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            return _measured(model, declared)
    except Diverged:
        raise
    except Exception as error:  # whatever a model of somebody else's raises when it is read with a cache
        told = str(error).strip().split("\n")[0]
        kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        raise UsageError(
            f"{type(model).__name__} cannot be read with a bounded cache ({kind}{told}): cache policies work with {SUPPORTED}"
        ) from None
    finally:
        for module in training:
            module.training = True


def _measured(model: Any, declared: Shape) -> Shape:
    length = max(2, min(_LENGTH, declared.positions // 2))
    tokens = _tokens(model, declared.vocabulary, length)
    plain = model(input_ids=tokens, use_cache=False).logits.float()
    if not bool(torch.isfinite(plain).all()):
        raise Diverged("the model's logits are NaN or infinite: check its weights and dtype")
    here, cached = _read(model, declared, tokens, 0)
    rough = declared.dtype in (torch.float16, torch.bfloat16)
    if not _close(cached, plain, 5e-2 if rough else 1e-4):
        differ = float((cached - plain).abs().max())
        raise UsageError(
            f"with a cache that keeps everything its logits differ by {differ:.2g}, of at most {float(plain.abs().max()):.2g}"
        )
    shapes = {(one.keys.shape[1], one.keys.shape[3], one.values.shape[1], one.values.shape[3]) for one in here}
    if len(shapes) > 1:
        raise UsageError("its layers have keys and values of different shapes")
    heads, features = here[0].keys.shape[1], here[0].keys.shape[3]
    shape = replace(declared, heads=heads, features=features)
    shift = min(_SHIFT, declared.positions - length)
    if shift < 1:
        return shape
    there, _ = _read(model, declared, tokens, shift)
    least = 5e-2 if rough else 1e-3
    found = [
        _moved(rotaries_of(model), one.keys, other.keys, shift, least) for one, other in zip(here, there, strict=True)
    ]
    if None in found:
        return shape
    return replace(shape, movable=True, rotary=tuple(one if isinstance(one, Rotary) else None for one in found))


def _read(model: Any, declared: Shape, tokens: Tensor, first: int) -> tuple[list[LayerCache], Tensor]:
    """What a cache that keeps everything holds of tokens from a position on, and the logits."""
    cache = cache_class()(FullCache(), declared, budget=None, tokens=None)
    cache.rows.next = torch.full((1,), first, dtype=torch.int64, device=tokens.device)
    logits, at = [], 0
    with cache.attach(model):
        for piece in _PIECES:
            if at < tokens.shape[1]:
                logits.append(model(input_ids=tokens[:, at : at + piece], past_key_values=cache).logits)
            at += piece
    return cache.held, torch.cat(logits, 1).float()


def _tokens(model: Any, vocabulary: int, length: int) -> Tensor:
    """Words like any others: none that a configuration names, such as padding or the place of a picture."""
    described = model.config.to_dict()
    parts = [described, *(part for part in described.values() if isinstance(part, dict))]
    named = {value for part in parts for name, value in part.items() if "token" in str(name) and isinstance(value, int)}
    plain = [token for token in range(vocabulary) if token not in named] or [0]
    drawn = torch.randint(len(plain), (1, length), generator=generator(0, "tokens of a probe"))
    return torch.tensor(plain)[drawn].to(model.device)


def _moved(
    rotaries: list[Rotary], here: Tensor, there: Tensor, by: int, least: float
) -> Rotary | Literal["still"] | None:
    """How the keys of a layer move with their positions; ``"still"`` if they stay as they are, None if nobody knows."""
    shift = torch.full((here.shape[2],), by, device=here.device)
    for rotary in rotaries:
        if 2 * len(rotary.frequencies) <= here.shape[3] and _close(rotary.turn(here, shift), there, least):
            return rotary
    return "still" if _close(here, there, least) else None


def _close(one: Tensor, other: Tensor, least: float) -> bool:
    """Whether two tensors are equal up to a share of the largest number in them."""
    if one.shape != other.shape:
        return False
    return float((one.float() - other.float()).abs().max()) <= least * float(other.float().abs().max())
