"""The bounded cache as older versions of transformers ask for it."""

from typing import Any

import torch
import transformers

import remanence as rm


def test_mask_sizes_are_the_same_by_count_and_by_positions() -> None:
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=8,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    ).eval()
    kept = rm.context.cache("attention-sinks", tokens=16, model=llama)
    with torch.no_grad(), kept.attach(llama):
        llama(torch.arange(30)[None] % 8, past_key_values=kept)
    layer: Any = kept.layers[0]  # type: ignore[attr-defined]
    held = kept.counts[0]
    assert layer.get_mask_sizes(3) == layer.get_mask_sizes(torch.arange(30, 33)) == (held + 3, 30 - held)
    assert layer.get_max_cache_shape() == layer.get_max_length() == -1
