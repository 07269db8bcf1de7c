"""A language model that knows nothing, and a stream for it: what the contract of systems that read is tested on."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

TALK: dict[str, Any] = {
    "source": "recall",
    "scenarios": [["planted", {"experiences": 3, "tokens": 200, "facts": 2, "filler": "talk", "seed": 0}]],
}
"""The recipe of a stream of lines with questions, short enough for such a model."""


def small_language_model(folder: Path, width: int = 16, layers: int = 2, positions: int = 256) -> str:
    """The folder of a Llama over bytes with weights drawn from one seed; it is made where it is not there yet.

    Parameters
    ----------
    folder:
        In which models are kept; several processes may share it.
    width, layers, positions:
        How large the model is, and how many tokens it reads at once.
    """
    place = folder / f"llama-{width}-{layers}-{positions}"
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
        with tempfile.TemporaryDirectory(dir=folder) as made:
            model.save_pretrained(Path(made) / "model")
            ByteTokenizer().save_pretrained(Path(made) / "model")
            with suppress(OSError):  # another process was faster
                (Path(made) / "model").rename(place)
    return str(place)
