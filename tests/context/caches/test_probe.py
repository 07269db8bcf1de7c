"""What models do with their keys: right, or refused by name."""

import pytest
import torch
import transformers

import remanence as rm
from remanence.context.caches.probe import shape_of
from remanence.errors import UsageError
from small_llama import small_llama

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DEEPSEEK = {
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
TEXT = torch.randint(3, 60, (1, 100), generator=torch.Generator().manual_seed(1))


def model_of(kind, *, positions=512, **settings):
    """A small model of a kind of transformers', with weights and norms as far apart as training leaves them."""
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    config = transformers.CONFIG_MAPPING[kind](**{**SIZES, "max_position_embeddings": positions, **settings})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    draw = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        weight.data *= 4 if weight.dim() > 1 else 1
        if "norm" in name.lower():
            weight.data += torch.randn(weight.shape, generator=draw) / 2
    return model


def read(model, cache, size):
    with cache.attach(model):
        return torch.cat([model(piece, past_key_values=cache).logits for piece in TEXT.split(size, 1)], 1)


@pytest.mark.parametrize(
    "kind", ["llama", "qwen2", "qwen3", "smollm3", "gpt_neox", "phi", "phi3", "olmo2", "granite", "glm"]
)
def test_what_is_accepted_reads_as_the_model_alone(kind):
    model = model_of(kind)
    expected = model(TEXT, use_cache=False).logits
    for name, settings in (("full-cache", {}), ("heavy-hitters", {"tokens": 128, "positions": "original"})):
        cache = rm.context.cache(name, model=model, **settings)
        assert torch.allclose(read(model, cache, 33), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["llama", "smollm3", "gpt_neox", "phi"])
def test_moved_keys_are_those_of_other_positions(kind):
    """A window of 16 never needs more than 40 positions: what is read with many is read with few."""
    found = []
    for positions in (512, 40):
        model = model_of(kind, positions=positions, num_hidden_layers=4 if kind == "smollm3" else 2)
        found.append(read(model, rm.context.cache("sliding-window", model=model, tokens=16), 1))
    assert torch.allclose(*found, atol=1e-4 * float(found[0].abs().max()))


def test_layers_without_positions_are_left_where_they_are():
    rotary = shape_of(model_of("smollm3")).rotary
    assert [one is None for one in rotary] == [False, False, False, True]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("deepseek_v3", DEEPSEEK),
        ("diffllama", {}),
        ("roberta", {"is_decoder": True}),
        ("bert", {"is_decoder": True}),
        ("gpt2", {}),
        ("doge", {}),
        ("bloom", {}),
        ("gemma2", {}),
        ("gpt_oss", {"num_local_experts": 2, "num_experts_per_tok": 1}),
        ("helium", {"head_dim": 8}),
        ("cohere", {}),
        ("stablelm", {}),
    ],
)
def test_whatever_it_is_it_is_right_or_refused_by_name(kind, settings):
    model = model_of(kind, **settings)
    expected = model(TEXT, use_cache=False).logits
    ways = [("full-cache", {}), ("heavy-hitters", {"tokens": 128, "positions": "original"}), ("d2o", {"tokens": 128})]
    for name, given in ways:
        try:
            cache = rm.context.cache(name, model=model, **given)
        except UsageError as error:
            assert type(model).__name__ in str(error) or "keys cannot be moved" in str(error)
        else:
            assert torch.allclose(read(model, cache, 33), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("kind", "settings"), [("diffllama", {}), ("roberta", {"is_decoder": True}), ("doge", {})])
def test_what_no_cache_here_computes_is_refused(kind, settings):
    model = model_of(kind, **settings)
    for name in ("full-cache", "heavy-hitters", "attention-sinks"):
        with pytest.raises(UsageError, match=f"{type(model).__name__} cannot be read with a bounded cache"):
            rm.context.cache(name, model=model)


def test_keys_that_are_normalised_after_turning_cannot_be_moved():
    model = model_of("hunyuan_v1_dense", head_dim=8)
    with pytest.raises(UsageError, match="this model's keys cannot be moved"):
        rm.context.cache("attention-sinks", model=model, tokens=16)
    expected = model(TEXT, use_cache=False).logits
    cache = rm.context.cache("attention-sinks", model=model, tokens=128, positions="original")
    assert torch.allclose(read(model, cache, 33), expected, atol=1e-4 * float(expected.abs().max()))


def test_the_text_of_a_model_that_sees():
    text = transformers.LlamaConfig(**SIZES, max_position_embeddings=512)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION), text_config=text, image_token_index=63
    )
    torch.manual_seed(0)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    before = [m.config._attn_implementation for m in model.modules() if hasattr(m, "set_attn_implementation")]
    cache = rm.context.cache("heavy-hitters", model=model, tokens=128)
    with cache.attach(model):
        logits = torch.cat([model(input_ids=piece, past_key_values=cache).logits for piece in TEXT.split(33, 1)], 1)
        with pytest.raises(UsageError, match="pixel_values"):
            model(input_ids=TEXT, past_key_values=cache, pixel_values=torch.zeros(1, 3, 32, 32))
    assert torch.allclose(logits, model(input_ids=TEXT).logits, atol=1e-5)
    assert before == [m.config._attn_implementation for m in model.modules() if hasattr(m, "set_attn_implementation")]


def test_a_model_is_tried_once_and_again_when_its_weights_changed():
    model, calls = small_llama(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(3):
        rm.context.cache("full-cache", model=model)
    tried = len(calls)
    assert 0 < tried < 10
    next(p for p in model.parameters() if p.dim() == 2).data += 1
    rm.context.cache("full-cache", model=model)
    assert len(calls) == 2 * tried


def test_trying_changes_nothing_of_the_model():
    model = small_llama().train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    rm.context.cache("full-cache", model=model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model._forward_hooks and not model._forward_pre_hooks
