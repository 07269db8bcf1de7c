"""Mistakes with caches: each is told in one sentence that names what was given and what to do."""

import pytest
import torch
import transformers

import remanence as rm
from remanence.errors import BudgetError, StateError, Unsupported, UsageError


def test_an_unknown_policy_names_the_nearest(llama):
    with pytest.raises(UsageError, match="did you mean 'attention-sinks'"):
        rm.context.cache("attention-sink", model=llama, tokens=32)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (
            lambda: transformers.T5ForConditionalGeneration(
                transformers.T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
            ),
            "is an encoder-decoder",
        ),
        (
            lambda: transformers.MistralForCausalLM(
                transformers.MistralConfig(
                    vocab_size=20,
                    hidden_size=16,
                    intermediate_size=8,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    sliding_window=8,
                )
            ),
            "sliding",
        ),
        (
            lambda: transformers.MambaForCausalLM(
                transformers.MambaConfig(vocab_size=20, hidden_size=8, state_size=4, num_hidden_layers=1)
            ),
            "MambaForCausalLM",
        ),
        (lambda: torch.nn.Linear(2, 2), "a Linear was given as the model"),
    ],
)
def test_a_model_that_cannot_be_used_is_named_with_those_that_can(model, why):
    with pytest.raises(UsageError, match=why) as told:
        rm.context.cache("attention-sinks", model=model(), tokens=32)
    assert "Llama" in str(told.value)


def test_learned_positions_can_only_stay_as_they_are():
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, n_positions=64, n_embd=8, n_layer=2, n_head=2)
    ).eval()
    with pytest.raises(UsageError, match="cannot be moved"):
        rm.context.cache("attention-sinks", model=model, tokens=16)
    cache = rm.context.cache("attention-sinks", model=model, tokens=16, positions="original")
    text = torch.arange(60)[None] % 20
    with cache.attach(model):
        model(text, past_key_values=cache)
        with pytest.raises(UsageError, match="read at most 4 at once"):
            model(text[:, :10], past_key_values=cache)


def test_a_budget_smaller_than_sinks_and_window(llama):
    with pytest.raises(BudgetError, match="5 tokens are fewer than the 6"):
        rm.context.cache("attention-sinks", model=llama, tokens=5)
    with pytest.raises(BudgetError, match="give at least"):
        rm.context.cache("attention-sinks", model=llama, budget=1000)
    with pytest.raises(UsageError, match="give one of them"):
        rm.context.cache("attention-sinks", model=llama, budget=10_000, tokens=32)


def test_the_smallest_budget_that_is_named_is_enough(llama):
    with pytest.raises(BudgetError) as told:
        rm.context.cache("attention-sinks", model=llama, budget=1000)
    least = int(str(told.value).split("at least ")[1].split()[0])
    with pytest.raises(BudgetError):
        rm.context.cache("attention-sinks", model=llama, budget=least - 1)
    cache = rm.context.cache("attention-sinks", model=llama, budget=least)
    with cache.attach(llama):
        for _ in range(20):
            llama(torch.ones(1, 1, dtype=torch.int64), past_key_values=cache)
            assert cache.nbytes <= least


def test_padding_on_both_sides(llama):
    mask = torch.tensor([[0, 1, 1], [1, 1, 0]])
    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    with cache.attach(llama), pytest.raises(UsageError, match="on the left and on the right"):
        llama(torch.ones(2, 3, dtype=torch.int64), attention_mask=mask, past_key_values=cache)


def test_several_sequences_outside_the_block(llama):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    with pytest.raises(UsageError, match="sees the padding"):
        llama(torch.ones(2, 3, dtype=torch.int64), past_key_values=cache)


def test_a_policy_of_ones_own(llama, tmp_path):
    class Every(rm.context.Policy):
        """Even tokens first."""

        def score(self, held):
            return -(held.index % 2).double()

    text = torch.arange(60)[None] % 40
    cache = rm.context.cache(Every(), model=llama, tokens=16, slack=1)
    with cache.attach(llama):
        llama(text[:, :30], past_key_values=cache)
    assert cache.held[0].index[0, 0].tolist() == [*range(2, 30, 2), 29]
    cache.save(tmp_path / "own.safetensors")
    with pytest.raises(UsageError, match="a policy of your own: give policy="):
        rm.context.reopen(tmp_path / "own.safetensors", model=llama)
    again = rm.context.reopen(tmp_path / "own.safetensors", model=llama, policy=Every())
    for one in (cache, again):
        with one.attach(llama):
            llama(text[:, 30:], past_key_values=one)
    assert torch.equal(cache.held[1].keys, again.held[1].keys)
    with pytest.raises(UsageError, match="give it to its constructor"):
        rm.context.cache(Every(), model=llama, tokens=16, sinks=4)
    with pytest.raises(BudgetError, match="2 that Every needs"):
        rm.context.cache(Every(), model=llama, tokens=1)
    named = rm.context.cache("sliding-window", model=llama, tokens=16)
    named.save(tmp_path / "named.safetensors")
    with pytest.raises(UsageError, match="leave the policy out"):
        rm.context.reopen(tmp_path / "named.safetensors", model=llama, policy=Every())


def test_more_rows_share_the_budget_and_too_many_change_nothing(llama):
    text = torch.arange(150)[None] % 40
    cache = rm.context.cache("attention-sinks", model=llama, budget="40KB")
    with cache.attach(llama):
        llama(text, past_key_values=cache)
        alone = cache.counts[0]
        cache.batch_repeat_interleave(3)
        assert cache.nbytes <= 40_000
        assert cache.counts[0] < alone / 2
        llama(text[:, :20].repeat(3, 1), past_key_values=cache)
        assert cache.nbytes <= 40_000
        before = [*cache.counts]
        with pytest.raises(BudgetError, match="sequence"):
            cache.batch_repeat_interleave(100)
        assert cache.counts == before
        cache.batch_select_indices(torch.tensor([1]))
        llama(text[:, :100], past_key_values=cache)
        assert alone / 2 < cache.counts[0]
        assert cache.nbytes <= 40_000


@pytest.mark.parametrize("given", [{"tokens": "64"}, {"tokens": 64.0}, {"tokens": 64, "slack": 1.5}])
def test_a_size_that_is_no_whole_number(llama, given):
    with pytest.raises(UsageError, match=r"expected (a whole number|1 or more)"):
        rm.context.cache("attention-sinks", model=llama, **given)


@pytest.mark.parametrize("policy", ["extended-mind", "memorizing-transformers", "camelot"])
def test_an_attention_of_its_own_outside_the_block(llama, policy):
    cache = rm.context.cache(policy, model=llama, tokens=80)
    with pytest.raises(UsageError, match=f"the policy {policy} needs the model's queries"):
        llama(torch.ones(1, 3, dtype=torch.int64), past_key_values=cache)


def test_a_block_within_a_block(llama):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    with cache.attach(llama), pytest.raises(StateError, match="leave that block first"), cache.attach(llama):
        pass
    with cache.attach(llama):
        llama(torch.ones(1, 3, dtype=torch.int64), past_key_values=cache)
    assert cache.seen == 3


@pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) < 5,
    reason="transformers 4 stops at an index of its own before it calls the model",
)
def test_only_what_is_new_was_given_to_generate(llama):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    text = torch.ones(1, 50, dtype=torch.int64)
    with cache.attach(llama):
        llama(text, past_key_values=cache)
        with pytest.raises(UsageError, match="takes the whole text, and reads what comes after the 50 tokens"):
            llama.generate(text[:, :5], past_key_values=cache, max_new_tokens=2)
    assert cache.seen == 50


def test_a_sequence_beyond_the_positions(llama):
    cache = rm.context.cache("full-cache", model=llama)
    text = torch.ones(1, 250, dtype=torch.int64)
    with cache.attach(llama):
        llama(text, past_key_values=cache)
        with pytest.raises(UsageError, match="10 tokens after 250 go beyond the 256 positions"):
            llama(text[:, :10], past_key_values=cache)
    with pytest.raises(UsageError, match="read at most 256"):
        closed = rm.context.cache("attention-sinks", model=llama, tokens=32)
        with closed.attach(llama):
            llama(text.repeat(1, 2), past_key_values=closed)


def test_a_saved_cache_of_another_model_or_dtype(llama, tmp_path):
    from small_llama import small_llama

    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    with cache.attach(llama):
        llama(torch.ones(1, 40, dtype=torch.int64), past_key_values=cache)
    path = tmp_path / "cache.safetensors"
    cache.save(path)
    with pytest.raises(StateError, match="the cache of another model"):
        rm.context.reopen(path, model=small_llama(seed=9))
    with pytest.raises(StateError, match=r"saved in torch.float32 and the model computes in torch.bfloat16"):
        rm.context.reopen(path, model=small_llama().to(torch.bfloat16))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StateError, match="truncated"):
        rm.context.reopen(path, model=llama)


def test_another_batch_comes_to_a_cache(llama):
    cache = rm.context.cache("attention-sinks", model=llama, tokens=32)
    with cache.attach(llama):
        llama(torch.ones(1, 4, dtype=torch.int64), past_key_values=cache)
        with pytest.raises(UsageError, match="make a cache for each batch"):
            llama(torch.ones(2, 4, dtype=torch.int64), past_key_values=cache)


def test_what_went_cannot_be_cropped_back(llama):
    with pytest.raises(Unsupported, match="copy it before"):
        rm.context.cache("attention-sinks", model=llama, tokens=32).crop(-1)
