"""Attaching caches to a model: inside the block its calls are handed to them, and none goes round them in silence."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.policy import Policy
from remanence.errors import Diverged, StateError, UsageError

NAME = "remanence"
"""Of the attention function that models have while a cache is attached to them."""

HANDED = ("input_ids", "inputs_embeds", "attention_mask", "position_ids", "cache_position", "labels", "logits_to_keep")
"""The tensors that a call of the model may bring; others may change what a token sees in ways that no cache knows."""


class Attachable(Protocol):
    """What is asked of a cache that is attached to a model."""

    policy: Policy
    attached: bool
    call: ForwardCall | None

    @property
    def seen(self) -> int: ...

    def enter(self, tokens: Tensor | None, shape: tuple[int, ...], mask: Tensor | None) -> Tensor: ...

    def attend(self, layer: int, query: Tensor, scaling: float) -> tuple[Tensor, Tensor | None]: ...

    def check_reached(self) -> None: ...

    def leave(self, logits: Tensor) -> None: ...

    def abandon(self) -> None: ...


class _UnderWay(threading.local):
    """The cache of the call that is under way in a thread."""

    cache: Attachable | None = None


_UNDER_WAY = _UnderWay()
_ATTACHMENTS: WeakKeyDictionary[Any, _Attachment] = WeakKeyDictionary()


@contextmanager
def attach(cache: Attachable, model: Any) -> Iterator[None]:
    """Inside, the model hands the cache what its policy needs; afterwards the model is as it was.

    Several caches may be attached to one model, and one of them is given with each call.
    """
    if cache.attached:
        raise StateError("the cache is inside `with cache.attach(model):` already: leave that block first")
    attachment = _ATTACHMENTS.get(model) or _Attachment(model)
    _ATTACHMENTS[model] = attachment
    attachment.add(cache)
    try:
        yield
    finally:
        if attachment.remove(cache):
            del _ATTACHMENTS[model]


class _Attachment:
    """The caches attached to a model, and what of the model was changed for them."""

    def __init__(self, model: Any) -> None:
        from transformers import AttentionInterface, AttentionMaskInterface

        AttentionInterface.register(NAME, _attend)
        AttentionMaskInterface.register(NAME, _mask)
        self.caches: list[Attachable] = []
        self.model = model
        self.parameters = list(inspect.signature(model.forward).parameters)
        self.keyword = "cache" if "cache" in self.parameters else "past_key_values"
        self._lock = threading.Lock()
        self._before = _implementations(model.config)
        self._hooks = [
            model.register_forward_pre_hook(self._enter, with_kwargs=True),
            model.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        model.set_attn_implementation(NAME)

    def add(self, cache: Attachable) -> None:
        self.caches.append(cache)
        cache.attached = True

    def remove(self, cache: Attachable) -> bool:
        """Detach a cache; whether it was the last one."""
        self.caches = [one for one in self.caches if one is not cache]
        cache.attached = False
        cache.abandon()
        if not self.caches:
            for hook in self._hooks:
                hook.remove()
            self.model.set_attn_implementation(self._before)
        return not self.caches

    def _enter(self, _: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = {**dict(zip(self.parameters, args, strict=False)), **given}
        cache = next((one for one in self.caches if any(one is value for value in named.values())), None)
        if cache is None:
            raise UsageError(
                f"the model was called without the cache that is attached to it: give it as {self.keyword}=, or leave "
                "the block `with cache.attach(model):` first"
            )
        strange = [name for name, value in named.items() if isinstance(value, Tensor) and name not in HANDED]
        if strange:
            raise UsageError(
                f"the model was given {' and '.join(strange)}, of which a bounded cache knows nothing: give it text alone"
            )
        tokens, embedded = named.get("input_ids"), named.get("inputs_embeds")
        given_as = tokens if tokens is not None else embedded
        if given_as is None:
            raise UsageError("the model was called with neither input_ids nor inputs_embeds: give one by name")
        with self._lock:
            named["position_ids"] = cache.enter(tokens, tuple(given_as.shape[:2]), named.pop("attention_mask", None))
        _UNDER_WAY.cache = cache
        if "logits" in cache.policy.sees:
            named.pop("logits_to_keep", None)  # every new token is to be seen
        return (), named

    def _leave(self, _: Any, args: tuple[Any, ...], given: dict[str, Any], output: Any) -> None:
        cache, _UNDER_WAY.cache = _UNDER_WAY.cache, None
        if cache is None or cache.call is None:
            return
        if output is None:  # the call broke off
            cache.abandon()
            return
        try:
            cache.check_reached()
            # A tuple begins with the loss, where there are labels
            logits = getattr(output, "logits", None)
            if logits is None:
                logits = output[0 if given.get("labels") is None else 1]
            if not bool(torch.isfinite(logits[:, -1]).all()):
                raise Diverged(
                    f"the model's logits are NaN or infinite after {cache.seen} tokens: check its weights and dtype; "
                    "go on from a copy or a saved cache of before"
                )
        except Exception:
            cache.abandon()
            raise
        cache.leave(logits)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, **rest: Any
) -> tuple[Tensor, Tensor | None]:
    """The attention function of a model with a cache attached, as transformers asks for it."""
    cache, layer = _UNDER_WAY.cache, getattr(module, "layer_idx", None)
    if cache is None or cache.call is None:
        raise went_round("a part of it")
    kind = type(module).__name__
    handed = cache.call.handed.get(-1 if layer is None else layer)
    if layer is None or handed is None:
        raise UsageError(
            f"{kind} attends to what it never handed to the cache: use a model that caches all it attends to"
        )
    if layer in cache.call.read:
        raise UsageError(f"{kind} attends more than once to one key-value cache: use a model with plain attention")
    for mine, theirs in zip(handed, (key, value), strict=True):
        if mine is not theirs and not (mine.shape == theirs.shape and torch.equal(mine, theirs)):
            raise UsageError(f"{kind} changes keys or values after they were cached: use a model with plain attention")
    beyond = sorted(name for name, one in rest.items() if one is not None and name in _CHANGING)
    beyond += ["a mask of its own"] if attention_mask is not None else []
    if beyond:
        raise UsageError(f"{kind} attends with {' and '.join(beyond)}: use a model with plain, full attention")
    if rest.get("dropout"):
        raise UsageError("the model drops out attention, as it does in training: call model.eval() first")
    scaling = rest.get("scaling") or module.head_dim**-0.5
    output, shares = cache.attend(layer, query, scaling)
    cache.call.read.add(layer)
    return output.transpose(1, 2).contiguous(), shares


_CHANGING = frozenset({"sliding_window", "softcap", "s_aux", "position_bias", "head_mask", "sink", "sinks"})
"""What an attention function may be asked for that changes what is attended to, and that no cache here computes."""


def _mask(*_: Any, **rest: Any) -> Tensor | None:
    """No mask: the cache knows what each token may see, if it is what a plain causal mask shows."""
    shown, cache = rest.get("mask_function"), _UNDER_WAY.cache
    if cache is not None and cache.seen == 0 and shown is not None:
        device = rest.get("device", "cpu")
        zero, near, far = (torch.tensor(place, device=device) for place in (0, 1, 1 << 20))
        if not bool(shown(zero, zero, far, zero)) or bool(shown(zero, zero, zero, near)):
            raise UsageError("the model does not let each token attend to all before it and to none after it")
    return None


def went_round(what: str = "it") -> UsageError:
    """What is raised where a call reached the model, or a part of it, and not the cache."""
    return UsageError(
        f"a cache is attached to the model, and {what} was called so that the cache does not see the call: call "
        "model(…) or model.generate(…) itself, with the cache, not model.forward or a layer"
    )


def _implementations(config: Any) -> str | dict[str, Any]:
    """Which attention functions a configuration names, of models within a model too, so that they can be restored."""
    own = str(getattr(config, IMPLEMENTATION))
    parts = {name: getattr(config, name, None) for name in getattr(config, "sub_configs", None) or {}}
    found = {name: getattr(part, IMPLEMENTATION, None) for name, part in parts.items() if part is not None}
    return {"": own, **found} if found else own


IMPLEMENTATION = "_attn_implementation"
"""Where transformers notes it; there is no other way to ask for it."""
