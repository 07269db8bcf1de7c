"""Which models a cache policy can be used with, and what it must know of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch

from remanence.context.caches.rotary import Rotary
from remanence.errors import MissingExtra, UsageError

SUPPORTED = (
    "decoders of transformers with full attention through its AttentionInterface and one key-value cache, "
    "such as Llama, Qwen2, Qwen3, Mistral without a sliding window, GPT-NeoX or Phi"
)


@dataclass(frozen=True)
class Shape:
    """What a cache must know of a model.

    Parameters
    ----------
    layers, heads, features:
        Layers, key-value heads of each, features of a head.
    positions:
        The longest sequence that it takes.
    vocabulary:
        How many different tokens there are.
    dtype:
        Of keys and values.
    rotary:
        How the keys of each layer are moved, or None where they know no position.
    movable:
        Whether keys can be moved.
    fingerprint:
        Equal for models whose caches may be exchanged.
    """

    layers: int
    heads: int
    features: int
    positions: int
    vocabulary: int
    dtype: torch.dtype
    rotary: tuple[Rotary | None, ...]
    movable: bool
    fingerprint: str


def declared_shape(model: Any) -> Shape:
    """What a model says of itself; what it does with its keys is tried by `probe.shape_of`.

    Raises
    ------
    UsageError
        If a cache policy cannot be used with it.
    """
    try:
        from transformers import PreTrainedModel
    except ImportError:
        raise MissingExtra("transformers", "lm", "a cache policy") from None

    if not isinstance(model, PreTrainedModel):
        raise UsageError(f"a {type(model).__name__} was given as the model: cache policies work with {SUPPORTED}")
    config = model.config.get_text_config(decoder=True)
    why = _unsupported(model, config)
    if why:
        raise UsageError(f"{type(model).__name__} {why}: cache policies work with {SUPPORTED}")
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    features = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    described = {
        "class": type(model).__name__,
        "layers": config.num_hidden_layers,
        "heads": heads,
        "features": features,
        "vocabulary": config.vocab_size,
        "rope": getattr(config, "rope_parameters", None) or _rope(config),
        "weights": _sample(model),
    }
    text = json.dumps(described, sort_keys=True, default=str)
    return Shape(
        config.num_hidden_layers,
        heads,
        features,
        getattr(config, "max_position_embeddings", None) or 1 << 30,
        config.vocab_size,
        model.dtype,
        (None,) * config.num_hidden_layers,
        False,
        hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
    )


def _rope(config: Any) -> dict[str, Any]:
    """As transformers 5 writes it, so that a cache saved with it is known to transformers 4, and the other way."""
    scaled = getattr(config, "rope_scaling", None) or {}
    return {"rope_type": "default", "rope_theta": getattr(config, "rope_theta", None), **scaled}


def _sample(model: Any) -> list[float]:
    """A few weights of the first and the last layer: models of one shape that were trained apart differ in them."""
    parameters = [p for p in model.parameters() if p.dim() == 2]
    return [round(float(p.detach()[0, 0]), 6) for p in (parameters[0], parameters[-1])]


def _unsupported(model: Any, config: Any) -> str:
    if getattr(model.config, "is_encoder_decoder", False):
        return "is an encoder-decoder, whose cache is two in one"
    kinds = set(getattr(config, "layer_types", None) or ())
    strange = sorted(kinds - {"full_attention"})
    if strange:
        return f"has layers of {' and '.join(strange)}"
    if getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True):
        return f"attends in a sliding window of {config.sliding_window} tokens"
    if not hasattr(config, "num_attention_heads") or not hasattr(config, "num_hidden_layers"):
        return "has no attention layers with keys and values"
    return ""
