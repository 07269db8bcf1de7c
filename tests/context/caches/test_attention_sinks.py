"""Sinks and a window: equal to masked attention with original positions, to a loop with closed ones."""

import pytest
import torch
import transformers

import remanence as rm


def masked(length, tokens, sinks):
    """What each token sees when a cache holds `tokens` entries, the new one among them: sinks, and the newest."""
    at = torch.arange(length)
    near = (at[:, None] - at[None, :]) < tokens - sinks
    return (at[None, :] <= at[:, None]) & (near | (at[None, :] < sinks))


def one_by_one(model, cache, tokens):
    with cache.attach(model):
        return torch.cat([model(tokens[:, t : t + 1], past_key_values=cache).logits for t in range(tokens.shape[1])], 1)


@pytest.mark.parametrize(("tokens", "sinks"), [(12, 4), (7, 1), (30, 0)])
def test_with_original_positions_it_is_masked_attention_at_any_depth(llama, text, tokens, sinks):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=tokens, sinks=sinks, positions="original", slack=1)
    mask = torch.zeros(90, 90).masked_fill(~masked(90, tokens, sinks), torch.finfo(torch.float32).min)
    expected = llama(text, attention_mask=mask[None, None]).logits
    assert torch.allclose(one_by_one(llama, cache, text), expected, atol=1e-4)


def rotated(x, position, base=10_000.0):
    """Rotary embedding of (heads, features) at one position, pair by pair."""
    half, x = x.shape[1] // 2, x.clone()
    turned = x.clone()
    for pair in range(half):
        angle = torch.tensor(position * base ** (-pair / half), dtype=torch.float64)
        cos, sin = angle.cos().float(), angle.sin().float()
        turned[:, pair] = x[:, pair] * cos - x[:, pair + half] * sin
        turned[:, pair + half] = x[:, pair + half] * cos + x[:, pair] * sin
    return turned


def reference(model, tokens, kept, sinks):
    """Token by token with lists: unrotated keys, positions counted among the entries that are left."""
    past = [[] for _ in model.model.layers]
    logits = []
    for token in tokens[0]:
        x = model.model.embed_tokens(token)
        for layer, entries in zip(model.model.layers, past, strict=True):
            attention = layer.self_attn
            h = layer.input_layernorm(x)
            q, k, v = (
                p(h).view(-1, attention.head_dim) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            entries.append((k, v))
            if len(entries) > kept:
                del entries[sinks]
            q = rotated(q, len(entries) - 1)
            keys = torch.stack([rotated(k, place) for place, (k, _) in enumerate(entries)])
            values = torch.stack([v for _, v in entries])
            heads = []
            for head in range(q.shape[0]):
                mine = head // attention.num_key_value_groups
                shares = torch.softmax(keys[:, mine] @ q[head] * attention.scaling, 0)
                heads.append(shares @ values[:, mine])
            x = x + attention.o_proj(torch.cat(heads))
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        logits.append(model.lm_head(model.model.norm(x)))
    return torch.stack(logits)[None]


@pytest.mark.parametrize(("tokens", "sinks"), [(12, 4), (7, 0)])
def test_with_closed_positions_it_is_a_reference_loop(llama, text, tokens, sinks):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=tokens, sinks=sinks, slack=1)
    assert torch.allclose(one_by_one(llama, cache, text), reference(llama, text, tokens, sinks), atol=2e-4)


def test_outside_the_block_one_sequence_reads_the_same(llama, text):
    inside = rm.context.cache("attention-sinks", model=llama, tokens=20)
    outside = rm.context.cache("attention-sinks", model=llama, tokens=20)
    expected = one_by_one(llama, inside, text)
    found = [llama(text[:, t : t + 1], past_key_values=outside).logits for t in range(90)]
    assert torch.allclose(torch.cat(found, 1), expected, atol=1e-4)


def test_it_may_be_left_and_entered_again(llama, text):
    straight, broken = (rm.context.cache("attention-sinks", model=llama, tokens=20) for _ in range(2))
    expected = torch.cat([one_by_one(llama, straight, text) for _ in range(4)], 1)
    parts = []
    for turn in range(4):  # 360 tokens: positions are counted anew on the way
        if turn % 2:
            parts += [llama(text[:, t : t + 1], past_key_values=broken).logits for t in range(90)]
        else:
            parts.append(one_by_one(llama, broken, text))
    assert torch.allclose(torch.cat(parts, 1), expected, atol=1e-4)


def test_sinks_stay_and_the_middle_goes(llama, text):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=16, sinks=3)
    one_by_one(llama, cache, text)
    index = cache.held[1].index[0, 0].tolist()
    assert index[:3] == [0, 1, 2]
    assert index[3:] == list(range(90 - len(index) + 3, 90))


def test_the_sinks_of_a_padded_row_are_its_own_first_tokens(llama):
    tokens = torch.ones(2, 60, dtype=torch.int64)
    mask = torch.ones(2, 60, dtype=torch.int64)
    mask[1, :10] = 0
    cache = rm.context.cache("attention-sinks", model=llama, tokens=16, sinks=2)
    with cache.attach(llama):
        llama(tokens, attention_mask=mask, past_key_values=cache)
    assert cache.held[0].index[:, 0, :2].tolist() == [[0, 1], [10, 11]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_turning_does_not_wear_rounded_keys_off(llama, dtype):
    from small_llama import small_llama

    model = small_llama(num_hidden_layers=1).to(dtype)
    tokens = torch.randint(40, (1, 2_000), generator=torch.Generator().manual_seed(5))
    cache = rm.context.cache("attention-sinks", model=model, tokens=16, sinks=4, slack=1)
    fresh = transformers.DynamicCache()
    with cache.attach(model):
        for at in range(2_000):
            model(tokens[:, at : at + 1], past_key_values=cache)
    model(tokens[:, :4], past_key_values=fresh)
    # the sinks are still at the positions 0 to 3 of what is held, counted from the next token
    held = cache.held[0]
    placed = held.rotary.turn(held.keys[:, :, :4], held.count - cache.rows.next.view(1, 1, 1))
    assert (placed - fresh.layers[0].keys[:, :, :4]).abs().max() < 0.05 * fresh.layers[0].keys.abs().max()
