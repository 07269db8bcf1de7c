"""Sliding-window attention against attention of all pairs under a mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from memory_layers import keeps_its_promises, same
from remanence.context import tree
from remanence.context.layers import attention
from remanence.context.layers.attention import WindowAttention, rotate
from remanence.errors import StateError, UsageError


@pytest.mark.parametrize("settings", [{"window": 2}, {"window": 4, "heads": 2}, {"window": 20, "persistent": 2}])
def test_reading(settings, tmp_path):
    keeps_its_promises(WindowAttention(8, **settings), tmp_path)


def test_reading_with_all_in_sight(tmp_path):
    keeps_its_promises(WindowAttention(8, heads=2, window=None), tmp_path, grows=True)


@settings(max_examples=20, deadline=None)
@given(
    window=st.one_of(st.none(), st.integers(2, 9)),
    persistent=st.integers(0, 3),
    length=st.integers(1, 12),
    piece=st.integers(1, 5),
)
def test_it_is_attention_of_all_pairs_under_a_mask(window, persistent, length, piece):
    torch.manual_seed(length)
    layer = WindowAttention(8, heads=2, window=window, persistent=persistent).double()
    x = torch.randn(2, length, 8, dtype=torch.float64)
    q, k, v = layer.heads_of(x)
    at = torch.arange(length)
    gap = at[:, None] - at
    seen = (gap >= 0) & (gap < (window or length))
    q_turned, k_turned = rotate(q, at), rotate(k, at)
    # Persistent keys have no position: they get the queries as they were, in features of their own.
    if layer.prefix is None:
        read = scaled_dot_product_attention(q_turned, k_turned, v, attn_mask=seen)
    else:
        keys, values = (part.expand(2, -1, -1, -1) for part in layer.prefix)
        nothing = torch.zeros_like(k)
        queries = torch.cat([q, q_turned], -1) * 2**0.5
        keys = torch.cat([torch.cat([keys, torch.zeros_like(keys)], -1), torch.cat([nothing, k_turned], -1)], 2)
        seen = torch.cat([torch.ones(length, persistent, dtype=torch.bool), seen], 1)
        read = scaled_dot_product_attention(queries, keys, torch.cat([values, v], 2), attn_mask=seen)
    expected = layer.out(read.transpose(1, 2).flatten(2))
    state, found = None, []
    for part in x.split(piece, 1):
        y, state = layer(part, state)
        found.append(y)
    same(torch.cat(found, 1), expected)


def test_scores_depend_on_differences_of_positions_only():
    q, k = torch.randn(2, 5, 6, dtype=torch.float64)
    at = torch.arange(5)
    same(rotate(q, at) @ rotate(k, at).T, rotate(q, at + 1000) @ rotate(k, at + 1000).T)
    same(rotate(q, at).norm(dim=-1), q.norm(dim=-1))
    assert torch.equal(rotate(q, torch.zeros(5)), q)


def test_a_long_text_is_read_in_pieces(monkeypatch):
    layer = WindowAttention(4, window=3).double()
    x = torch.randn(1, 20, 4, dtype=torch.float64)
    whole, _ = layer(x)
    monkeypatch.setattr(attention, "PIECE", 7)
    same(layer(x)[0], whole)


def test_the_state_does_not_hold_on_to_what_was_read():
    layer = WindowAttention(4, window=3)
    _, state = layer(torch.zeros(1, 50, 4))
    assert tree.nbytes(state) == layer.state_bytes == 2 * 2 * 4 * 4 + 8
    assert int(state["held"]) == 2


def test_gradients():
    layer = WindowAttention(4, heads=2, window=3, persistent=1).double()
    x = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_mistakes():
    with pytest.raises(UsageError, match="a multiple of 4: every head needs an even width"):
        WindowAttention(6, heads=2)
    with pytest.raises(UsageError, match="window must be"):
        WindowAttention(6, window=1)
    with pytest.raises(StateError, match="mapping of keys, values and held"):
        WindowAttention(4)(torch.zeros(1, 2, 4), torch.zeros(1))
