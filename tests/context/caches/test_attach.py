"""Inside the block a call reaches the cache, or raises: never an answer as if the cache had been there."""

import inspect
import threading

import pytest
import torch

import remanence as rm
from remanence.errors import StateError, UsageError

POLICIES = sorted(rm.context.policies())
SMALL = {
    name: {"recent": 8} if "recent" in {h.name for h in card.hyperparameters} else {}
    for name, card in rm.context.policies().items()
}


def made(name, model):
    """A cache that has let go of something before the text ends."""
    return rm.context.cache(name, model=model, tokens=40, **SMALL[name])


def keyword(model):
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


@pytest.mark.parametrize("name", POLICIES)
def test_every_way_to_give_the_cache_is_the_same(llama, text, name):
    def positional(cache, piece):
        parameters = list(inspect.signature(llama.forward).parameters)
        before = [piece] + [None] * (parameters.index(keyword(llama)) - 1)
        return llama(*before, cache)

    ways = [
        lambda cache, piece: llama(piece, past_key_values=cache),
        lambda cache, piece: llama(piece, **{keyword(llama): cache}),
        positional,
    ]
    found = []
    for way in ways:
        cache = made(name, llama)
        with cache.attach(llama):
            found.append(torch.cat([way(cache, piece).logits for piece in text.split(30, 1)], 1))
        assert cache.seen == 90 and (name == "full-cache" or min(cache.counts) < 90)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    if name != "full-cache":
        assert not torch.allclose(found[0], llama(text).logits, atol=1e-2)


@pytest.mark.parametrize("name", POLICIES)
def test_generation_reaches_it(llama, text, name):
    cache, by_hand = made(name, llama), made(name, llama)
    with cache.attach(llama):
        told = llama.generate(text, past_key_values=cache, max_new_tokens=4, do_sample=False)
    assert cache.seen == told.shape[1] - 1
    with by_hand.attach(llama):
        logits = llama(text, past_key_values=by_hand).logits
        for at in range(90, told.shape[1]):
            assert int(logits[0, -1].argmax()) == int(told[0, at])
            logits = llama(told[:, at : at + 1], past_key_values=by_hand).logits


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    ("way", "told"),
    [
        (lambda model, cache, text: model(text), "without the cache that is attached to it"),
        (lambda model, cache, text: model.generate(text, max_new_tokens=2), "without the cache that is attached to it"),
        (lambda model, cache, text: model.forward(text, past_key_values=cache), "does not see the call"),
        (lambda model, cache, text: model.forward(text), "does not see the call"),
        (lambda model, cache, text: model.model(text, past_key_values=cache), "does not see the call"),
        (lambda model, cache, text: model.model(text), "does not see the call"),
    ],
    ids=["no cache", "generate without", "forward", "forward without", "body", "body without"],
)
def test_a_call_that_goes_round_it_raises(llama, text, name, way, told):
    cache = made(name, llama)
    with cache.attach(llama):
        llama(text[:, :50], past_key_values=cache)
        with pytest.raises(UsageError, match=told):
            way(llama, cache, text[:, 50:])
        assert cache.seen == 50
        llama(text[:, 50:], past_key_values=cache)
    other = made(name, llama)
    with other.attach(llama):
        for piece in (text[:, :50], text[:, 50:]):
            expected = llama(piece, past_key_values=other).logits
    with cache.attach(llama):
        again = llama(text[:, :1], past_key_values=cache).logits
    with other.attach(llama):
        assert torch.equal(again, llama(text[:, :1], past_key_values=other).logits)
    assert expected.shape == (1, 40, 40)


def in_thread(work):
    """What a function gives, or raises, in a thread of its own."""
    found = []

    def run():
        try:
            with torch.no_grad():
                found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_reads_as_this_one(llama, text):
    cache, other = made("heavy-hitters", llama), made("heavy-hitters", llama)
    with cache.attach(llama), other.attach(llama):
        read = in_thread(lambda: llama(text, past_key_values=cache).logits)
        assert torch.equal(read, llama(text, past_key_values=other).logits)
        assert isinstance(in_thread(lambda: llama(text)), UsageError)
        assert isinstance(in_thread(lambda: llama.forward(text, past_key_values=cache)), UsageError)
    assert cache.seen == other.seen == 90


def test_two_threads_cannot_read_with_one_cache_at_a_time(llama, text):
    cache, found = made("heavy-hitters", llama), []

    def meanwhile(*_):
        for call in (llama, llama.model):
            found.append(in_thread(lambda call=call: call(text[:, :2], past_key_values=cache)))

    hook = llama.model.layers[1].register_forward_pre_hook(meanwhile)
    with cache.attach(llama):
        llama(text, past_key_values=cache)
    hook.remove()
    assert [type(one) for one in found] == [StateError, StateError]
    assert "another thread" in str(found[0])
    assert cache.seen == 90 and cache.counts == [39] * 3


def test_another_cache_is_not_taken_for_the_one_that_is_attached(llama, text):
    cache, other = made("heavy-hitters", llama), made("attention-sinks", llama)
    with cache.attach(llama), pytest.raises(UsageError, match="without the cache that is attached"):
        llama(text, past_key_values=other)
    assert cache.seen == other.seen == 0


def test_several_caches_may_be_attached_in_any_order(llama, text):
    plain, before = llama(text).logits, llama.config._attn_implementation
    first, second = made("heavy-hitters", llama), made("snap-kv", llama)
    one, two = first.attach(llama), second.attach(llama)
    one.__enter__()
    two.__enter__()
    llama(text, past_key_values=first)
    one.__exit__(None, None, None)
    llama(text, past_key_values=second)
    two.__exit__(None, None, None)
    assert first.seen == second.seen == 90
    assert llama.config._attn_implementation == before
    assert torch.equal(llama(text).logits, plain)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_call_that_broke_off_leaves_nothing(llama, text, kind):
    cache, other = made("heavy-hitters", llama), made("heavy-hitters", llama)

    def stop(*_):
        raise kind

    with cache.attach(llama):
        llama(text[:, :30], past_key_values=cache)
        hook = llama.model.layers[2].register_forward_pre_hook(stop)
        with pytest.raises(kind):
            llama(text[:, 30:], past_key_values=cache)
        hook.remove()
        found = llama(text[:, 30:], past_key_values=cache).logits
    with other.attach(llama):
        llama(text[:, :30], past_key_values=other)
        assert torch.equal(found, llama(text[:, 30:], past_key_values=other).logits)
    assert cache.seen == 90


def test_what_a_cache_knows_nothing_of_is_refused(llama, text):
    cache = made("heavy-hitters", llama)
    with cache.attach(llama), pytest.raises(UsageError, match="was given pixel_values"):
        llama(text, past_key_values=cache, pixel_values=torch.zeros(1))


def test_a_model_in_training_that_drops_attention_out(text):
    from small_llama import small_llama

    model = small_llama(attention_dropout=0.5)
    cache = made("heavy-hitters", model)
    model.train()
    with cache.attach(model), pytest.raises(UsageError, match=r"call model\.eval\(\)"):
        model(text, past_key_values=cache)
