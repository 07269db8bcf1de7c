"""Moving keys that already carry a rotary position: a key at position p, turned by s, is the key at p + s."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotary:
    """The rotary position embedding of a model.

    Parameters
    ----------
    frequencies:
        (rotated features / 2,) float64: radians a position.
    """

    frequencies: Tensor

    def turn(self, x: Tensor, by: Tensor) -> Tensor:
        """Move ``x`` (…, n, features) by whole positions, ``by`` (…, n) or broadcast to it.

        The angles are computed in float64, so that a shift by many positions is as exact as a small one.

        >>> rotary = Rotary(torch.tensor([1.0], dtype=torch.float64))
        >>> rotary.turn(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).tolist()
        [[1.0, 0.0]]
        """
        return self.apply(x, *self.angles(by))

    def angles(self, by: Tensor) -> tuple[Tensor, Tensor]:
        """What `apply` needs for a shift ``by`` (…, n) positions: two factors, each (…, n, rotated features) float32."""
        angle = by.unsqueeze(-1).double() * self.frequencies.to(by.device)
        cos, sin = angle.cos().float(), angle.sin().float()
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def apply(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Turn ``x`` (…, n, features) by what `angles` gave."""
        width = cos.shape[-1]
        some = x if x.shape[-1] == width else x[..., :width]
        turned = (some * cos + some.roll(width // 2, -1) * sin).to(x.dtype)
        return turned if some is x else torch.cat([turned, x[..., width:]], -1)


def rotary_of(model: Any) -> Rotary | None:
    """The rotary embedding of a Hugging Face model, or None where there is none whose keys can be moved.

    That they can is tried: a key that the model's own function rotates to one position must, turned by the
    difference, equal the same key rotated to another.
    """
    owner = model.get_decoder() if hasattr(model, "get_decoder") else model
    embedding = getattr(owner, "rotary_emb", None)
    frequencies = getattr(embedding, "inv_freq", None)
    if (
        embedding is None
        or frequencies is None
        or getattr(embedding, "rope_type", "default") in ("dynamic", "longrope")
    ):
        return None
    apply = getattr(sys.modules[type(owner).__module__], "apply_rotary_pos_emb", None)
    if apply is None:
        return None
    rotary = Rotary(frequencies.double())
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    key = torch.linspace(-1, 1, width, device=frequencies.device).view(1, 1, 1, width)
    try:
        near, far = (_rotated(embedding, apply, key, position) for position in (5, 13))
    except (TypeError, ValueError, RuntimeError):  # another signature, another layout: not one that is known here
        return None
    moved = rotary.turn(near, torch.full((1, 1, 1), 8, device=key.device))
    return rotary if torch.allclose(moved, far, atol=1e-4) else None


def _rotated(embedding: Any, apply: Any, key: Tensor, position: int) -> Tensor:
    with torch.no_grad():
        cos, sin = embedding(key, torch.tensor([[position]], device=key.device))
        turned = cos.shape[-1]
        passed: Tensor = apply(key[..., :turned], key[..., :turned], cos, sin)[1]
        return torch.cat([passed, key[..., turned:]], -1)
