"""Titans: the three ways of putting memory and attention together, each against a loop over its parts."""

import pytest
import torch

from memory_layers import keeps_its_promises, same
from remanence.context.layers.attention import rotate
from remanence.context.layers.titans import Titans
from remanence.errors import StateError, UsageError

VARIANTS = ["MAC", "MAG", "MAL", "LMM"]


def wakened(variant, **settings):
    """The last layer of a memory starts at zero, behind which no gradient reaches the first."""
    torch.manual_seed(1)
    layer = Titans(4, variant, **{"window": 4, "persistent": 2, **settings})
    torch.nn.init.normal_(layer.memory.memory[-1], std=0.1)
    return layer.double()


@pytest.mark.parametrize("variant", VARIANTS)
def test_reading(variant, tmp_path):
    keeps_its_promises(wakened(variant), tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_reading_without_persistent_tokens_momentum_and_decay(variant, tmp_path):
    keeps_its_promises(wakened(variant, persistent=0, heads=2, momentum=False, decay=False, memory_layers=1), tmp_path)


def test_memory_as_context_is_a_loop_over_segments():
    layer = wakened("MAC", convolution=0)
    x = torch.randn(1, 10, 4, dtype=torch.float64)
    expected, state = [], layer.memory.initial(1)
    for segment in x.split(4, 1):
        recalled = layer.memory.recall(segment, state)
        size = segment.shape[1]
        q, k, v = layer.attention.heads_of(segment)
        _, far_k, far_v = layer.attention.heads_of(recalled)
        at = torch.arange(4)[:size]
        near = []
        for t in range(size):
            turned = rotate(q[:, :, t : t + 1], at[t : t + 1] + 4)
            scores = torch.cat(
                [
                    q[:, :, t : t + 1] @ layer.attention.persistent[0].transpose(1, 2),
                    turned @ rotate(far_k[:, :, : t + 1], at[: t + 1]).transpose(2, 3),
                    turned @ rotate(k[:, :, : t + 1], at[: t + 1] + 4).transpose(2, 3),
                ],
                -1,
            )
            kept = layer.attention.persistent[1].unsqueeze(0)
            values = torch.cat([kept, far_v[:, :, : t + 1], v[:, :, : t + 1]], 2)
            near.append(layer.attention.out(((scores / 2).softmax(-1) @ values).flatten(1)))
        near = torch.stack(near, 1)
        far, state = layer.memory(near, state)
        gate = 2 * layer.memory_norm(far).sigmoid()
        expected.append(layer.out(layer.norm(near) * gate))
    same(layer(x)[0], torch.cat(expected, 1))


def test_memory_as_a_gate_is_attention_gated_by_memory():
    layer = wakened("MAG")
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    near, far = layer.attention(x)[0], layer.memory(x)[0]
    same(layer(x)[0], layer.out(layer.norm(near) * 2 * layer.memory_norm(far).sigmoid()))


def test_memory_as_a_layer_is_attention_over_memory():
    layer = wakened("MAL")
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    far = layer.memory(x)[0]
    same(layer(x)[0], far + layer.attention(layer.norm(x + far))[0])


def test_memory_alone_has_no_attention():
    layer = wakened("LMM")
    x = torch.randn(1, 7, 4, dtype=torch.float64)
    same(layer(x)[0], layer.memory(x)[0])
    assert not hasattr(layer, "attention") and layer.state_bytes == layer.memory.state_bytes


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_lies_beyond_the_window_still_counts(variant):
    layer = wakened(variant)
    x = torch.randn(1, 20, 4, dtype=torch.float64)
    changed = x.clone()
    changed[:, 0] += 1
    assert (layer(changed)[0] - layer(x)[0])[:, -1].abs().max().item() > 1e-9


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients(variant):
    layer = wakened(variant, window=2, convolution=0)
    x = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_mistakes():
    with pytest.raises(UsageError, match="chunks of 3 for segments of 4: leave out the chunk"):
        Titans(4, "MAC", window=4, chunk=3)
    with pytest.raises(UsageError, match="variant must be"):
        Titans(4, variant="MAX")
    with pytest.raises(StateError, match="mapping with a memory"):
        Titans(4)(torch.zeros(1, 2, 4), torch.zeros(1))
