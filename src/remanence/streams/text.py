"""Text as vectors: the packaged MiniLM read without its own library, its vectors cached by content.

The extra ``[text]`` brings the weights as a package, so nothing is downloaded when text is encoded.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from remanence import vector_cache
from remanence.minilm import EPSILON, HEADS, LAYERS, WIDTH, buckets, check_texts, packaged, tokenized, tokenizer

_EXTRA = "text"
_NAME = f"minilm:torch@1#{WIDTH}"
_TOKENS_AT_ONCE = 1024
_ROWS_AT_ONCE = 500


def encode(texts: Sequence[str], *, cache: bool = True) -> Tensor:
    """Texts as vectors (n, 384) float32 of length 1, whose products are cosine similarities.

    Parameters
    ----------
    texts:
        Any number; of each the first 256 tokens are read.
    cache:
        Keep the vectors on disk, by a hash of the text, and look there first.

    Raises
    ------
    MissingExtra
        If the packaged encoder is not installed.
    StateError
        If its weights are not the ones expected.

    Example
    -------
    >>> cat, kitten, tax = encode(["a cat", "a kitten", "income tax"])  # doctest: +SKIP
    >>> bool(cat @ kitten > cat @ tax)  # doctest: +SKIP
    True

    References
    ----------
    Wang, Wei, Dong, Bao, Yang, Zhou: MiniLM: Deep Self-Attention Distillation for Task-Agnostic
    Compression of Pre-Trained Transformers, 2020, arXiv 2002.10957. Reimers, Gurevych: Sentence-BERT,
    2019, arXiv 1908.10084.
    """
    check_texts(texts)
    found = torch.empty(len(texts), WIDTH)
    unique = list(dict.fromkeys(texts))
    kept = vector_cache.recall(_NAME, unique, WIDTH) if cache else {}
    known = {text: torch.from_numpy(vector.copy()) for text, vector in kept.items()}
    missing = [text for text in unique if text not in known]
    missing.sort(key=len)
    for begin in range(0, len(missing), _ROWS_AT_ONCE):
        part = missing[begin : begin + _ROWS_AT_ONCE]
        vectors = _encoded(part)
        known.update(zip(part, vectors, strict=True))
        if cache:
            vector_cache.keep(_NAME, part, vectors.numpy())
    for place, text in enumerate(texts):
        found[place] = known[text]
    return found


def encode_tokens(texts: Sequence[str]) -> list[Tensor]:
    """Texts as one vector per token, each (tokens, 384) float32 with rows of length 1; nothing is cached.

    The tokens are those that the encoder reads, its two marks at beginning and end among them, 256 at most.

    Raises
    ------
    MissingExtra
        If the packaged encoder is not installed.
    StateError
        If its weights are not the ones expected.

    Example
    -------
    >>> [tuple(vectors.shape) for vectors in encode_tokens(["a cat", "a cat sat"])]  # doctest: +SKIP
    [(4, 384), (5, 384)]
    """
    check_texts(texts)
    weights = _weights()
    tokens = tokenized(list(texts), _EXTRA)
    found: list[Tensor] = [torch.empty(0, WIDTH)] * len(tokens)
    for batch in buckets([len(row) for row in tokens], _TOKENS_AT_ONCE):
        with torch.inference_mode():
            states = functional.normalize(_states(weights, [tokens[place] for place in batch])[0], dim=2)
        for vectors, place in zip(states, batch, strict=True):
            found[place] = vectors[: len(tokens[place])].clone()
    return found


def _encoded(texts: list[str]) -> Tensor:
    """Vectors of texts, in batches of about as many tokens each, texts of like length together."""
    weights = _weights()
    tokens = tokenized(texts, _EXTRA)
    vectors = torch.empty(len(texts), WIDTH)
    for batch in buckets([len(row) for row in tokens], _TOKENS_AT_ONCE):
        vectors[batch] = _forward(weights, [tokens[place] for place in batch])
    return vectors


@torch.inference_mode()
def _forward(weights: dict[str, Tensor], tokens: list[list[int]]) -> Tensor:
    """The mean over the tokens' last states, and its direction."""
    x, there = _states(weights, tokens)
    mean = (x * there.unsqueeze(2)).sum(1) / there.sum(1, keepdim=True)
    return functional.normalize(mean, dim=1)


def _states(weights: dict[str, Tensor], tokens: list[list[int]]) -> tuple[Tensor, Tensor]:
    """What the encoder's six layers make of each token (n, longest, 384), and where there is one (n, longest)."""
    longest = max(map(len, tokens))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in tokens])
    there = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in tokens])
    mask = None if bool(there.all()) else there.bool()[:, None, None, :]

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def normal(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)

    x = functional.embedding(ids, weights["embeddings.word_embeddings.weight"])
    x = x + weights["embeddings.position_embeddings.weight"][:longest]
    x = normal(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for k in range(LAYERS):
        layer = f"encoder.layer.{k}"
        parts = (linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        query, key, value = (part.view(*part.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = linear(attended.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
        x = normal(x + attended, f"{layer}.attention.output.LayerNorm")
        inner = functional.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = normal(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x, there


@functools.cache
def _weights() -> dict[str, Tensor]:
    tokenizer(_EXTRA)
    return load_file(packaged("model.safetensors", _EXTRA))
