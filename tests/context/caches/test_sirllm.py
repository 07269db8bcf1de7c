"""Token entropies against a loop, where they are written, how they fade, and what stays."""

import pytest
import torch

import remanence as rm
from remanence.errors import UsageError


def surprises(model, tokens):
    """-log p of every token given those before it, one forward pass for each; the first has the largest of its call."""
    found = [torch.nan]
    for at in range(1, tokens.shape[1]):
        logits = model(tokens[:, :at]).logits[0, -1]
        found.append(-float(torch.log_softmax(logits, -1)[tokens[0, at]]))
    return torch.tensor(found)


@pytest.mark.parametrize("cuts", [[40], [7, 8, 9, 40], list(range(1, 41))])
def test_entropies_are_those_of_a_loop_however_the_text_is_cut(llama, text, cuts):
    cache, at = rm.context.cache("sirllm", model=llama, tokens=200), 0
    with cache.attach(llama):
        for cut in cuts:
            llama(text[:, at:cut], past_key_values=cache)
            at = cut
    expected = surprises(llama, text[:, :40])
    for held in cache.held:
        assert torch.allclose(held.stat("entropy")[0, :, 1:], expected[1:].expand(2, -1), atol=1e-5)
    first = cache.held[0].stat("entropy")[0, 0, : cuts[0]]
    assert float(first[0]) == float(first[1:].max() if cuts[0] > 1 else 0)


def test_padding_has_no_entropy_and_the_rest_has_its_own(llama, text):
    row = text[:, :20]
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.int64), row], 1)
    mask = torch.cat([torch.zeros(1, 6, dtype=torch.int64), torch.ones_like(row)], 1)
    cache = rm.context.cache("sirllm", model=llama, tokens=200)
    with cache.attach(llama):
        llama(padded, attention_mask=mask, past_key_values=cache)
    entropy = cache.held[1].stat("entropy")[0, 0]
    assert torch.equal(entropy[:6], torch.zeros(6))
    assert torch.allclose(entropy[7:], surprises(llama, row)[1:], atol=1e-5)


def test_old_entropies_fade_with_each_round_and_not_with_single_tokens(llama, text):
    plain, fading = (rm.context.cache("sirllm", model=llama, tokens=200, decay=decay) for decay in (1.0, 0.5))
    for cache in (plain, fading):
        with cache.attach(llama):
            for low, high in ((0, 10), (10, 20), (20, 21), (21, 30)):
                llama(text[:, low:high], past_key_values=cache)
    ratio = fading.held[0].stat("entropy")[0, 0] / plain.held[0].stat("entropy")[0, 0]
    assert torch.allclose(ratio, torch.tensor([0.25] * 10 + [0.5] * 11 + [1.0] * 9))


def test_sinks_window_and_the_most_surprising_stay(llama, text):
    cache = rm.context.cache("sirllm", model=llama, tokens=20, sinks=2, recent_share=0.25, slack=1)
    with cache.attach(llama):
        llama(text[:, :60], past_key_values=cache)
    entropy = surprises(llama, text[:, :60])
    kept, recent = 19, 19 // 4
    between = sorted(range(2, 60 - recent), key=lambda k: -entropy[k])[: kept - 2 - recent]
    expected = [0, 1, *sorted(between), *range(60 - recent, 60)]
    for held in cache.held:
        assert held.index[0].tolist() == [expected] * 2


def test_what_it_holds_besides_is_counted_and_within_the_budget(llama, text):
    cache = rm.context.cache("sirllm", model=llama, budget=20_000)
    with cache.attach(llama):
        for at in range(0, 90, 9):
            llama(text[:, at : at + 9], past_key_values=cache)
            assert cache.nbytes <= 20_000
    own = sum(tensor.numel() * tensor.element_size() for held in cache.held for _, tensor in held.tensors())
    assert cache.nbytes == own + 8
    assert cache.held[0].besides["logits"].shape == (1, 40)


def test_embeddings_do_not_say_which_tokens_they_are(llama):
    cache = rm.context.cache("sirllm", model=llama, tokens=20)
    with cache.attach(llama), pytest.raises(UsageError, match="needs the tokens"):
        llama(inputs_embeds=torch.zeros(1, 3, 32), past_key_values=cache)
