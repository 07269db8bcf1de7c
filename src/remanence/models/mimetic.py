"""A beginning for small Llamas from which recall is learned in minutes: attention that already looks where it will.

The first layer's heads look none, one, two, three… tokens back; the second layer's compare what stands before each
earlier token with what stands here, and pass on the token itself. Training finds this circuit (induction heads) by
itself only after many more bytes than are read here; everything remains free to change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from remanence.randomness import generator

_BACK = 5.0  # how sharply the first layer looks back
_QUICK = 0.1  # radians a token, above which a rotation tells neighbours apart
_WRITE = 2.0  # how large is what a head of the first layer writes, in terms of an embedding
_MATCH = 2.5  # how sharply the second layer compares
_PASS = 0.2  # how much it passes on


@torch.no_grad()
def begin(model: Any, seed: int) -> None:
    """Set the embeddings and the attention of the first two layers of a ``LlamaForCausalLM`` of two layers or more.

    References
    ----------
    Trockman, Kolter: Mimetic Initialization of Self-Attention Layers, 2023, arXiv 2305.09828 (the idea: begin with the
    patterns that trained attention shows). Olsson, Elhage, Nanda, …: In-context Learning and Induction Heads, 2022,
    arXiv 2209.11895 (the patterns).
    """
    config = model.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size, width = config.head_dim, config.hidden_size
    shared = heads // groups
    draw = generator(seed, "beginning")

    def turn(rows: int, columns: int) -> Tensor:
        """Orthonormal columns, drawn at random; no more columns than rows."""
        found: Tensor = torch.linalg.qr(torch.randn(rows, columns, generator=draw)).Q
        return found

    def rows_of(head: int) -> slice:
        return slice(head * size, (head + 1) * size)

    # Every embedding gets one direction in common, so that attention can go by place and not by content.
    embedding = model.model.embed_tokens.weight
    common = torch.full((width,), width**-0.5)
    embedding.sub_(torch.outer(embedding @ common, common))
    large = float(embedding.norm(dim=1).mean())
    embedding.mul_(large / embedding.norm(dim=1, keepdim=True).clamp_min(1e-9)).add_(common * large)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    frequency = model.model.rotary_emb.inv_freq.float()
    quick = (frequency > _QUICK).float()
    still = torch.cat([quick, torch.zeros_like(quick)])
    content = turn(width, size).T
    content -= torch.outer(content @ common, common)
    blocks = turn(width, heads * size).tensor_split(heads, dim=1)
    gain = (_WRITE * large / (size / 2) ** 0.5) ** 0.5
    for head in range(heads):
        turned = torch.cat([quick * torch.cos(head * frequency), -quick * torch.sin(head * frequency)])
        first.q_proj.weight[rows_of(head)] = torch.outer(turned, common) * _BACK**0.5
        first.o_proj.weight[:, rows_of(head)] = blocks[head] * gain
        second.o_proj.weight[:, rows_of(head)] = content.T * _PASS
    # Only what turns slowly still agrees over hundreds of tokens.
    slow = frequency * config.max_position_embeddings < 1
    places = torch.cat([slow, slow]).nonzero().flatten()
    for group in range(groups):
        first.k_proj.weight[rows_of(group)] = torch.outer(still, common) * _BACK**0.5
        first.v_proj.weight[rows_of(group)] = content * gain
        mixed = torch.zeros(heads - 1, size, size)
        for one in mixed:
            one[places] = turn(size, len(places)).T
        here = torch.stack([one @ blocks[back].T for back, one in enumerate(mixed)]).sum(0)
        before = torch.stack([one @ blocks[back + 1].T for back, one in enumerate(mixed)]).sum(0)
        second.k_proj.weight[rows_of(group)] = before * _MATCH**0.5
        second.v_proj.weight[rows_of(group)] = blocks[0].T * _PASS
        for head in range(group * shared, (group + 1) * shared):
            second.q_proj.weight[rows_of(head)] = here * _MATCH**0.5
