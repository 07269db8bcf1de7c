"""The gated delta rule: a matrix memory that corrects what it holds for a key instead of adding to it.

Source: Yang, Kautz and Hatamizadeh, Gated Delta Networks: Improving Mamba2 with Delta Rule, 2024, arXiv:2412.06464;
without decay it is DeltaNet, Schlag et al., 2021, arXiv:2102.11174. The chunked form follows Yang et al., 2024,
arXiv:2406.06484: inside a chunk the corrections solve one triangular system.
"""

from __future__ import annotations

import torch
from torch import Tensor

from remanence.context.layers.linear_attention import CHUNK, decays


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_decay: Tensor, memory: Tensor, *, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Read and write a matrix memory, a chunk of positions at a time.

    S_t = a_t S_{t-1} + β_t k_t (v_t - (a_t S_{t-1})ᵀ k_t)ᵀ, y_t = S_tᵀ q_t.

    Parameters
    ----------
    q, k:
        Queries and keys (…, length, keys); keys of length one keep the rule stable for β up to 2.
    v:
        Values (…, length, values).
    beta:
        β, the strength of a write (…, length); 0 writes nothing.
    log_decay:
        Logarithms of the decays a_t (…, length), at most zero; 0 forgets nothing.
    memory:
        S (…, keys, values).
    chunk:
        Positions taken together.
    """
    read = []
    for start in range(0, q.shape[-2], chunk):
        here = slice(start, start + chunk)
        queries, keys, strength = q[..., here, :], k[..., here, :], beta[..., here].unsqueeze(-1)
        pairs = decays(log_decay[..., here])
        since = log_decay[..., here].cumsum(-1).unsqueeze(-1).exp()
        wanted = strength * (v[..., here, :] - since * (keys @ memory))
        # What a key still holds of the corrections before it in this chunk: strictly lower triangular.
        overlap = strength * (pairs * (keys @ keys.transpose(-1, -2))).tril(-1)
        written = torch.linalg.solve_triangular(overlap, wanted, upper=False, unitriangular=True)
        read.append((pairs * (queries @ keys.transpose(-1, -2))) @ written + since * (queries @ memory))
        last = pairs[..., -1, :].unsqueeze(-1)
        memory = since[..., -1:, :] * memory + (last * keys).transpose(-1, -2) @ written
    return (torch.cat(read, -2) if read else v), memory
