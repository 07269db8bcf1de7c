"""Printing loses nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.needle import needle
from remanence.streams.recall.printable import in_bytes, printable, tokens_of


@given(st.integers(0, 10**6), st.integers(4, 94))
def test_what_is_printed_can_be_read_back(seed, vocabulary):
    drawn = needle(3, seed, length=20, vocabulary=vocabulary)
    texts = printable(drawn)
    assert all(text.isprintable() and text.isascii() and " " not in text for text in texts)
    assert torch.equal(tokens_of(texts), drawn.tokens)
    written = in_bytes(drawn)
    assert [bytes(row).decode() for row in written.tokens.tolist()] == texts
    assert torch.equal(written.asked, drawn.asked)
    assert torch.equal(written.distance, drawn.distance)
    assert [chr(answer) for answer in written.targets[written.asked]] == [
        text[at] for text, at in zip(texts, 19 - drawn.distance[:, -1], strict=True)
    ]


def test_too_many_symbols_are_refused():
    with pytest.raises(UsageError, match="smaller vocabulary"):
        printable(needle(1, 0, vocabulary=95))


@pytest.mark.parametrize("texts", [["a b"], ["é"], ["ab", "abc"]])
def test_foreign_texts_are_refused(texts):
    with pytest.raises(UsageError, match="was not printed by a recall stream"):
        tokens_of(texts)
