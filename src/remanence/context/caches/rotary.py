"""Moving keys that already carry a rotary position: a key at position p, turned by s, is the key at p + s."""

from __future__ import annotations

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


def rotaries_of(model: Any) -> list[Rotary]:
    """The rotary embeddings within a Hugging Face model, but for those whose frequencies change with the text."""
    found: list[Rotary] = []
    for module in model.modules():
        changing = getattr(module, "rope_type", "default") in ("dynamic", "longrope")
        for name, buffer in [] if changing else module.named_buffers(recurse=False):
            if name.endswith("inv_freq") and buffer.dim() == 1:
                frequencies = buffer.double()
                if not any(torch.equal(one.frequencies, frequencies) for one in found):
                    found.append(Rotary(frequencies))
    return found
