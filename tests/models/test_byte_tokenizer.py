"""Text goes into bytes and comes back whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.models.byte_tokenizer import BEGIN, END, PAD, ByteTokenizer

TEXTS = st.text(max_size=20)


@settings(deadline=None)
@given(TEXTS, st.booleans())
def test_text_comes_back_whole(text, special):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text, add_special_tokens=special)
    assert ids == [BEGIN] * special + list(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(torch.tensor(ids, dtype=torch.int64)) == text


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["left", "right"]))
def test_a_batch_is_padded_on_one_side_and_masked_there(texts, side):
    tokenizer = ByteTokenizer(side)
    read = tokenizer(texts, padding=True, return_tensors="pt")
    assert read.input_ids.shape == read["attention_mask"].shape
    assert tokenizer.batch_decode(read.input_ids) == texts
    for ids, mask, text in zip(read.input_ids, read.attention_mask, texts, strict=True):
        assert ids[mask.bool()].tolist() == tokenizer.encode(text)
        assert (ids[~mask.bool()] == PAD).all()
        rising = mask.sort().values if side == "left" else mask.sort(descending=True).values
        assert torch.equal(mask, rising)


def test_one_text_is_one_row():
    tokenizer = ByteTokenizer()
    assert tokenizer("ab")["input_ids"] == [BEGIN, 97, 98]
    assert tokenizer("ab", return_tensors="pt").input_ids.tolist() == [[BEGIN, 97, 98]]
    assert tokenizer(["ab", "c"], add_special_tokens=False).input_ids == [[97, 98], [99]]


def test_marks_are_named_only_if_wanted_and_broken_bytes_are_shown():
    tokenizer = ByteTokenizer()
    assert tokenizer.decode([BEGIN, 97, END, PAD], skip_special_tokens=False) == "<s>a</s><pad>"
    assert tokenizer.decode([BEGIN, 97, END, PAD]) == "a"
    assert tokenizer.decode([195]) == "\ufffd"


def test_mistakes_are_one_sentence():
    with pytest.raises(UsageError, match="give left or right"):
        ByteTokenizer("middle")
    with pytest.raises(UsageError, match="259 is no token"):
        ByteTokenizer().decode([259])
    with pytest.raises(UsageError, match="padding=True"):
        ByteTokenizer()(["a", "bc"], return_tensors="pt")
