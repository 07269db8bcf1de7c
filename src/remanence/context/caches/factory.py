"""Caches by the name of their policy, and saved caches reopened."""

from __future__ import annotations

import os
from typing import Any

from remanence import registry
from remanence.context.caches.cache import PolicyCache
from remanence.context.caches.hugging_face import cache_class
from remanence.context.caches.policy import Policy
from remanence.context.caches.probe import shape_of
from remanence.context.caches.saved import read_saved
from remanence.errors import BudgetError, UsageError, nearest
from remanence.footprint import parse_bytes


def cache(
    policy: str | Policy,
    *,
    model: Any,
    budget: int | str | None = None,
    tokens: int | None = None,
    slack: int | None = None,
    **settings: Any,
) -> PolicyCache:
    """A bounded cache, to be passed to a model as ``past_key_values=``.

    Parameters
    ----------
    policy:
        The name of a cache policy, such as ``"attention-sinks"``, or a policy of your own, made for this cache.
    model:
        The Hugging Face causal language model that will read with it.
    budget:
        The most bytes that it holds after any call, of all layers and sequences together: a number, or ``"64KB"``.
    tokens:
        Instead of bytes, the most entries of a layer. With neither, nothing is ever let go.
    slack:
        How many entries are let go at once when a layer is full (1 or more); by default one in 32 of its capacity,
        so that choosing costs little. With 1 it stays as full as it may be.
    **settings:
        Hyperparameters of the policy, where it was named.

    Raises
    ------
    UsageError
        If the policy or a setting is unknown, or the model is not supported.
    BudgetError
        If the budget is smaller than what the policy never lets go.

    Example
    -------
    >>> import torch
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> config = LlamaConfig(vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
    ...     num_attention_heads=4, num_key_value_heads=2)
    >>> model = LlamaForCausalLM(config).eval()
    >>> kept = cache("attention-sinks", tokens=8, model=model)
    >>> with torch.no_grad(), kept.attach(model):
    ...     _ = model(torch.arange(20)[None] % 32, past_key_values=kept)
    >>> kept.get_seq_length(), max(kept.counts)
    (20, 7)
    """
    name = policy if isinstance(policy, str) else ""
    if budget is not None and tokens is not None:
        raise UsageError(f"a budget of {budget} and {tokens} tokens were given: give one of them")
    if tokens is not None and type(tokens) is not int:
        raise UsageError(f"tokens is {tokens!r}, expected a whole number: the most entries of a layer")
    if slack is not None and (type(slack) is not int or slack < 1):
        raise UsageError(f"a slack of {slack!r} was given, expected 1 or more entries")
    chosen = _policy(policy, settings)
    size = None if budget is None else parse_bytes(budget)
    if tokens is not None and tokens < chosen.smallest():
        raise BudgetError(
            f"{tokens} tokens are fewer than the {chosen.smallest()} that {name or type(chosen).__name__} needs for "
            f"{chosen.sinks} sinks, {chosen.recent} recent tokens and one new: give more, or fewer of these"
        )
    made: PolicyCache = cache_class()(
        chosen, shape_of(model), budget=size, tokens=tokens, slack=slack, name=name, settings=settings
    )
    made.layer_budget.check()
    return made


def _policy(given: str | Policy, settings: dict[str, Any]) -> Policy:
    """The policy of this name with these settings, or the one that was given."""
    if isinstance(given, Policy):
        if settings:
            raise UsageError(
                f"{', '.join(settings)} came with a policy that is made already: give it to its constructor"
            )
        return given
    known = policies()
    if given not in known:
        raise UsageError(f"there is no cache policy {given!r}: {nearest(str(given), known)}")
    made: Policy = known[given].factory(**settings)
    return made


def reopen(path: str | os.PathLike[str], *, model: Any, policy: Policy | None = None) -> PolicyCache:
    """The cache that ``cache.save(path)`` wrote, to go on with.

    Parameters
    ----------
    path:
        Of the file.
    model:
        The model that it was read with, in the same dtype.
    policy:
        Where the cache was made with a policy of your own: one made the same way.

    Raises
    ------
    StateError
        If the file is missing, truncated, or the cache of another model or dtype.
    UsageError
        If the policy cannot be known from the file and was not given, or the other way round.
    """
    tensors, structure = read_saved(path, shape_of(model))
    if (policy is None) != bool(structure["cache"]):
        told = f"was made by name ({structure['cache']}): leave the policy out"
        raise UsageError(f"{path} {told if policy else 'was made with a policy of your own: give policy='}")
    made = cache(
        policy or structure["cache"],
        model=model,
        budget=structure["budget"],
        tokens=structure["tokens"],
        slack=structure["slack"],
        **structure["settings"],
    )
    made.load_state(tensors, structure, model.device)
    return made


def policies() -> dict[str, registry.System]:
    """The cache policies by name."""
    return registry.in_room("remanence.context.caches")
