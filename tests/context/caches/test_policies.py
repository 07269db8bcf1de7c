"""What holds for every cache policy, whatever it keeps."""

import pytest
import torch

import remanence as rm
from remanence.errors import Diverged, UsageError
from small_llama import small_llama

POLICIES = sorted(rm.context.policies())
SMALL = {
    name: {"recent": 12} if "recent" in {h.name for h in card.hyperparameters} else {}
    for name, card in rm.context.policies().items()
}


def read(model, cache, tokens, cuts, **given):
    """Read in pieces; the logits at every token."""
    found, at = [], 0
    with cache.attach(model):
        for cut in [*cuts, tokens.shape[1]]:
            found.append(model(tokens[:, at:cut], past_key_values=cache, **given).logits)
            at = cut
    return torch.cat(found, 1)


@pytest.mark.parametrize("cuts", [[], [40, 41, 70], list(range(1, 90))], ids=["at once", "in pieces", "one by one"])
@pytest.mark.parametrize("name", POLICIES)
def test_a_budget_as_large_as_the_text_changes_nothing(llama, text, name, cuts):
    cache = rm.context.cache(name, model=llama, tokens=200)
    assert torch.allclose(read(llama, cache, text, cuts), llama(text).logits, atol=1e-4)
    assert cache.get_seq_length() == 90


def smaller(name):
    """A model that reads quickly; of two layers where a policy treats them differently."""
    layers = 2 if name in ("dynamic-kv", "memorizing-transformers") else 1
    return small_llama(hidden_size=16, num_hidden_layers=layers, max_position_embeddings=1_000_000)


@pytest.mark.parametrize("name", POLICIES)
def test_bytes_stay_within_the_budget_and_flat(name):
    llama = smaller(name)
    budget = 8_000 * llama.config.num_hidden_layers
    cache = rm.context.cache(name, model=llama, budget=budget)
    tokens = torch.randint(40, (1, 20_000), generator=torch.Generator().manual_seed(0))
    sizes = []
    with cache.attach(llama):
        for at in range(2_000):
            llama(tokens[:, at : at + 1], past_key_values=cache)
            sizes.append(cache.nbytes)
            assert sizes[-1] <= budget
        for at in range(0, 20_000, 125):
            llama(tokens[:, at : at + 125], past_key_values=cache)
            sizes.append(cache.nbytes)
            assert sizes[-1] <= budget
    assert max(sizes[-100:]) <= max(sizes[:1_500])
    assert max(sizes) > budget // 2
    assert cache.get_seq_length() == 22_000


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"full-cache"}))
def test_a_budget_beyond_the_positions_of_the_model_is_used_as_far_as_they_go(llama, name):
    cache = rm.context.cache(name, model=llama, tokens=1_000)
    tokens = torch.randint(40, (1, 540), generator=torch.Generator().manual_seed(6))
    logits = read(llama, cache, tokens, [*range(60, 500, 60), *range(500, 540)])
    assert torch.isfinite(logits).all()
    front = [int(cache.policy.positioned(held).sum(2).max()) for held in cache.held]
    assert max(front) <= 256
    assert min(cache.counts) >= 256 - 60 - 8


@pytest.mark.parametrize("name", POLICIES)
def test_padding_is_not_seen(llama, name):
    draw = torch.Generator().manual_seed(3)
    rows = [torch.randint(40, (1, n), generator=draw) for n in (30, 18, 25)]
    alone = [llama(row).logits[0, -1] for row in rows]
    padded = torch.cat([torch.cat([torch.zeros(1, 30 - row.shape[1], dtype=torch.int64), row], 1) for row in rows])
    mask = torch.cat([(torch.arange(30) >= 30 - row.shape[1])[None].long() for row in rows])
    cache = rm.context.cache(name, model=llama, tokens=100)
    with cache.attach(llama):
        llama(padded[:, :20], attention_mask=mask[:, :20], past_key_values=cache)
        last = llama(padded[:, 20:], attention_mask=mask, past_key_values=cache).logits[:, -1]
    assert torch.allclose(last, torch.stack(alone), atol=1e-4)


@pytest.mark.parametrize("name", POLICIES)
def test_it_generates_as_the_model_does_while_nothing_must_go(llama, text, name):
    cache = rm.context.cache(name, model=llama, tokens=120)
    expected = llama.generate(text[:, :20], max_new_tokens=30, do_sample=False)
    with cache.attach(llama):
        assert torch.equal(
            llama.generate(text[:, :20], past_key_values=cache, max_new_tokens=30, do_sample=False), expected
        )


@pytest.mark.parametrize("name", POLICIES)
def test_beams_share_no_memory_that_differs(llama, text, name):
    settings = {"max_new_tokens": 20, "num_beams": 3, "do_sample": False}
    cache = rm.context.cache(name, model=llama, tokens=120)
    with cache.attach(llama):
        found = llama.generate(text[:, :20], past_key_values=cache, **settings)
    assert torch.equal(found, llama.generate(text[:, :20], **settings))


@pytest.mark.parametrize("name", [name for name in POLICIES if rm.context.policies()[name].factory.rows_apart])
def test_a_batch_is_as_its_rows_alone(llama, name):
    rows = torch.randint(40, (3, 80), generator=torch.Generator().manual_seed(4))
    cuts = [30, 50, 51, 60]
    together = read(llama, rm.context.cache(name, model=llama, tokens=32, **SMALL[name]), rows, cuts)
    alone = [
        read(llama, rm.context.cache(name, model=llama, tokens=32, **SMALL[name]), row[None], cuts) for row in rows
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


@pytest.mark.parametrize("name", POLICIES)
def test_a_conversation_goes_on_after_a_restart(llama, text, name, tmp_path):
    cache = rm.context.cache(name, model=llama, tokens=32, **SMALL[name])
    read(llama, cache, text, [30, 60])
    cache.save(tmp_path / "cache.safetensors")
    opened, other = rm.context.reopen(tmp_path / "cache.safetensors", model=llama), cache.copy()
    assert opened.get_seq_length() == 90
    onwards = [read(llama, one, text, [1, 2, 40]) for one in (cache, opened, other)]
    assert torch.equal(onwards[0], onwards[1])
    assert torch.equal(onwards[0], onwards[2])
    assert opened.nbytes <= cache.nbytes


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"full-cache", "sliding-window", "attention-sinks"}))
def test_outside_the_block_it_says_what_it_lacks(llama, text, name):
    with pytest.raises(UsageError, match=f"the policy {name} needs the model's .*: read inside"):
        llama(text, past_key_values=rm.context.cache(name, model=llama, tokens=32, **SMALL[name]))


@pytest.mark.parametrize("name", POLICIES)
def test_the_model_is_afterwards_as_it_was(llama, text, name):
    before, expected = llama.config._attn_implementation, llama(text).logits
    read(llama, rm.context.cache(name, model=llama, tokens=32, **SMALL[name]), text, [50])
    assert llama.config._attn_implementation == before
    assert not llama._forward_hooks
    assert not llama._forward_pre_hooks
    assert torch.equal(llama(text).logits, expected)


@pytest.mark.parametrize("name", POLICIES)
def test_broken_logits_are_told_and_leave_the_cache(llama, text, name):
    cache = rm.context.cache(name, model=llama, tokens=32, **SMALL[name])
    read(llama, cache, text, [50])
    counts = cache.counts
    weight = llama.lm_head.weight
    kept = weight.clone()
    weight.fill_(torch.nan)
    with pytest.raises(Diverged, match="NaN or infinite after 90 tokens"):
        read(llama, cache, text[:, :5], [])
    weight.copy_(kept)
    assert cache.counts == counts
    assert torch.isfinite(read(llama, cache, text[:, :5], [])).all()


@pytest.mark.soak
@pytest.mark.parametrize("name", POLICIES)
def test_bytes_stay_flat_over_a_hundred_thousand_tokens(name):
    llama = small_llama(hidden_size=16, num_hidden_layers=2, max_position_embeddings=1_000_000)
    cache = rm.context.cache(name, model=llama, budget=16_000, **SMALL[name])
    tokens = torch.randint(40, (1, 100_000), generator=torch.Generator().manual_seed(0))
    with cache.attach(llama):
        for at in range(100_000):
            llama(tokens[:, at : at + 1], past_key_values=cache)
            assert cache.nbytes <= 16_000
