"""What reading through a cache is measured by: bytes predicted and facts said, against the model without a cache."""

import pytest
import torch

import remanence as rm
from remanence.claims.measures import caches
from remanence.streams.recall.needle_text import needle_text

FILLER = "All the world's a stage.\nAnd all the men and women merely players.\n"


@pytest.fixture(scope="module")
def reader():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=259, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("piece", [7, 64, 1000])
def test_what_is_predicted_is_what_the_model_predicts_at_once(reader, piece):
    texts = [needle_text(300, seed, facts=2, filler=FILLER) for seed in (1, 2)]
    found = caches.read(reader, rm.context.cache("full-cache", model=reader), texts, piece=piece)
    nats, count = 0.0, 0
    for given in texts:
        tokens = torch.tensor([[caches.BEGIN, *given.text.encode()]])
        scores = torch.log_softmax(reader(tokens).logits[0], -1)
        for at in range(300):
            if not any(fact.start <= at < fact.end for fact in given.facts):
                nats -= float(scores[at, tokens[0, at + 1]])
                count += 1
    assert found.predicted == count
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert sorted(distance for distance, _ in found.right) == sorted(
        300 - fact.value_at for given in texts for fact in given.facts
    )


@torch.no_grad()
def test_an_answer_is_right_if_every_byte_of_it_is_what_the_model_would_write(reader):
    text, question = list(b"And so to bed.\n"), list(b"Question: ")
    tokens = torch.tensor([[caches.BEGIN, *text, *question]])
    written = reader.generate(tokens, max_new_tokens=4, do_sample=False)[0, tokens.shape[1] :].tolist()
    cache = rm.context.cache("full-cache", model=reader)
    with cache.attach(reader):
        reader(tokens[:, : len(text) + 1], past_key_values=cache)
    assert caches.answers(reader, cache.copy(), [question], [written]) == [True]
    for wrong in range(4):
        other = [byte + (place == wrong) for place, byte in enumerate(written)]
        assert caches.answers(reader, cache.copy(), [question], [[byte % 259 for byte in other]]) == [False]


def test_texts_for_searching_are_others(data):
    settings = caches.Texts(length=200, facts=1, count=2)
    searched, reported = (settings.drawn(0, held_out=held_out) for held_out in (True, False))
    assert {one.text for one in searched}.isdisjoint(one.text for one in reported)
    assert settings.drawn(0, held_out=True) == searched
