"""A language model that knows nothing, for tests: random weights in a folder, the same for every process of a run."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import torch


def folder(width: int = 16, layers: int = 2, positions: int = 256) -> str:
    """The folder of a Llama over bytes with weights drawn from one seed; it is made where it is not there yet."""
    place = Path(os.environ["REMANENCE_TEST_MODELS"]) / f"llama-{width}-{layers}-{positions}"
    if not place.exists():
        # Loaded only where the model is made: it takes seconds, in every process that a test starts
        from transformers import LlamaConfig, LlamaForCausalLM

        from remanence.models.byte_tokenizer import ByteTokenizer

        config = LlamaConfig(
            vocab_size=259,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=positions,
            tie_word_embeddings=True,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = LlamaForCausalLM(config)
        with tempfile.TemporaryDirectory(dir=place.parent) as made:
            model.save_pretrained(Path(made) / "model")
            ByteTokenizer().save_pretrained(Path(made) / "model")
            with suppress(OSError):  # another process was faster
                (Path(made) / "model").rename(place)
    return str(place)
