"""The reader: greedy continuation against a loop without any cache, and where it stops."""

import pytest
import torch

import small_language_model
from remanence.errors import UsageError
from remanence.models.byte_tokenizer import ByteTokenizer
from remanence.models.reader import Reader, reader


@pytest.fixture(scope="module")
def micro():
    return reader(small_language_model.folder())


def looped(model, tokens, length):
    """Reads everything again for every token."""
    given, score = [], 0.0
    for _ in range(length):
        with torch.no_grad():
            likely = model(torch.tensor([tokens + given])).logits[0, -1].log_softmax(0)
        if int(likely.argmax()) in (10, 258):
            break
        given.append(int(likely.argmax()))
        score += float(likely.max())
    return given, score


@pytest.mark.parametrize("question", ["Q", "Question: the key of sisok is "])
def test_it_goes_on_as_a_loop_without_a_cache_does(micro, question):
    tokens = micro.tokens("And so to bed.\n" + question)
    given, score = looped(micro.model, tokens, 6)
    reply = micro.go_on(tokens, 6)
    assert reply.text == ByteTokenizer().decode(given)[:6]
    if len(reply.text) == len(given) == 6:
        assert reply.score == pytest.approx(score, abs=1e-4)
    assert micro.answer("And so to bed.\n", question, 6) == reply


def test_it_goes_on_from_what_a_cache_has_read(micro):
    tokens = micro.tokens("And so to bed.\nThe key is ")
    _, cache = micro.logits(torch.tensor(tokens[:9]))
    at_once = micro.go_on(tokens, 4)
    in_pieces = micro.go_on(tokens[9:], 4, cache=cache)
    assert at_once.text == in_pieces.text
    assert at_once.score == pytest.approx(in_pieces.score, abs=1e-4)


class Scripted(torch.nn.Module):
    """A model that says what it is told to, whatever it reads."""

    def __init__(self, says, positions=None):
        super().__init__()
        self.says, self.read, self.given = says.encode(), [], 0
        self.config = type("Config", (), {"max_position_embeddings": positions} if positions else {})()

    def forward(self, input_ids, past_key_values, use_cache):
        self.read.append(input_ids[0].tolist())
        logits = torch.zeros(1, input_ids.shape[1], 259)
        logits[0, -1, self.says[self.given]] = 9.0
        self.given += 1
        return type("Output", (), {"logits": logits, "past_key_values": ()})()


def test_it_stops_at_the_length_and_at_the_end_of_the_line():
    assert Reader(Scripted("9933.\n"), ByteTokenizer()).answer("", "key=", 4).text == "9933"
    assert Reader(Scripted("99\n33"), ByteTokenizer()).answer("", "key=", 4).text == "99"
    assert Reader(Scripted("9933.\n"), ByteTokenizer()).answer("", "key=").text == "9933."
    endless = Reader(Scripted("a" * 99), ByteTokenizer())
    assert len(endless.answer("", "key=").text) == 32


def test_of_a_long_text_the_end_is_read():
    model = Scripted("9933", positions=20)
    Reader(model, ByteTokenizer()).answer("x" * 100 + "\n", "the key is ", 4)
    assert bytes(model.read[0]).decode() == "xxxx\nthe key is "
    assert sum(map(len, model.read)) == 16 + 3  # the last token that it gave is not read any more


def test_other_weights_are_used_and_the_model_stays_as_it_was(micro):
    before = {name: weight.clone() for name, weight in micro.model.named_parameters()}
    name = "model.norm.weight"
    changed = micro.answer("", "The key is ", 5, {name: -before[name]})
    assert changed.text != micro.answer("", "The key is ", 5).text
    assert all(torch.equal(weight, before[name]) for name, weight in micro.model.named_parameters())


def test_nothing_to_read_or_to_give_is_refused(micro):
    with pytest.raises(UsageError, match="at least one of each"):
        micro.go_on([])
    with pytest.raises(UsageError, match="at least one of each"):
        micro.go_on([1], 0)
