"""Text as bytes: every byte is a token, and three marks come after them, so nothing has to be learned or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.files import write_atomically

PAD, BEGIN, END = 256, 257, 258
VOCABULARY = 259
FILE = "byte_tokenizer.json"
"""Stands beside a model that reads bytes; it says so, and there is nothing else to say."""

Side: TypeAlias = Literal["left", "right"]


class Encoded(dict[str, Any]):
    """``input_ids`` and ``attention_mask``, to be handed on with ``**`` or read as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class ByteTokenizer:
    """Bytes of UTF-8 as tokens 0 to 255, then the marks of padding (256), beginning (257) and end (258).

    It has the names that transformers' tokenizers have, as far as they make sense for bytes.

    Parameters
    ----------
    padding_side:
        On which side shorter texts of a batch are filled up, ``left`` (for generating) or ``right``.

    Example
    -------
    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("Ça")
    [257, 195, 135, 97]
    >>> tokenizer.decode([257, 195, 135, 97])
    'Ça'
    >>> tokenizer(["To be", "or"], padding=True).attention_mask[1]
    [0, 0, 0, 1, 1, 1]
    """

    pad_token_id, bos_token_id, eos_token_id = PAD, BEGIN, END
    vocab_size = VOCABULARY

    def __init__(self, padding_side: Side = "left") -> None:
        if padding_side not in ("left", "right"):
            raise UsageError(f"padding_side is {padding_side!r}: give left or right")
        self.padding_side = padding_side

    def __len__(self) -> int:
        return VOCABULARY

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The bytes of a text, after the mark of the beginning if special tokens are wanted."""
        return [BEGIN] * add_special_tokens + list(text.encode())

    def decode(self, tokens: Iterable[int] | Tensor, *, skip_special_tokens: bool = True) -> str:
        """The text of tokens; bytes that are no UTF-8 become U+FFFD, and marks, unless skipped, their names."""
        ids = tokens.tolist() if isinstance(tokens, Tensor) else list(tokens)
        names = {PAD: b"<pad>", BEGIN: b"<s>", END: b"</s>"}
        if wrong := [token for token in ids if not 0 <= token < VOCABULARY]:
            raise UsageError(f"{wrong[0]} is no token of bytes: give numbers from 0 to {VOCABULARY - 1}")
        kept = (names[token] * (not skip_special_tokens) if token > 255 else bytes([token]) for token in ids)
        return b"".join(kept).decode(errors="replace")

    def batch_decode(self, rows: Sequence[Iterable[int]] | Tensor, *, skip_special_tokens: bool = True) -> list[str]:
        """The texts of several rows of tokens."""
        return [self.decode(row, skip_special_tokens=skip_special_tokens) for row in rows]

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        padding: bool = False,
        return_tensors: Literal["pt"] | None = None,
        add_special_tokens: bool = True,
    ) -> Encoded:
        """One text or several as ``input_ids`` and ``attention_mask``: lists, or with ``pt`` tensors (rows, length)."""
        single = isinstance(text, str)
        texts = [text] if isinstance(text, str) else list(text)
        ids = [self.encode(one, add_special_tokens=add_special_tokens) for one in texts]
        masks = [[1] * len(row) for row in ids]
        if padding and ids:
            longest = max(map(len, ids))
            ids = [self._filled(row, PAD, longest) for row in ids]
            masks = [self._filled(row, 0, longest) for row in masks]
        if return_tensors is None:
            return Encoded(input_ids=ids[0] if single else ids, attention_mask=masks[0] if single else masks)
        if len({len(row) for row in ids}) > 1:
            raise UsageError("texts of different lengths make no tensor: give padding=True")
        return Encoded(
            input_ids=torch.tensor(ids, dtype=torch.int64), attention_mask=torch.tensor(masks, dtype=torch.int64)
        )

    def _filled(self, row: list[int], mark: int, longest: int) -> list[int]:
        empty = [mark] * (longest - len(row))
        return empty + row if self.padding_side == "left" else row + empty

    def save_pretrained(self, folder: str | Path) -> None:
        """Say in a folder that the model there reads bytes."""
        write_atomically(Path(folder) / FILE, '{"tokenizer": "bytes"}\n')
