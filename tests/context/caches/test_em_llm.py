"""Where events begin, against the rule followed token by token; which are recalled, and which because they stood beside."""

import statistics

import pytest
import torch

from bank_search import found_by, search_of
from remanence.context.caches.em_llm import EMLLM
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.rotary import Rotary
from remanence.context.caches.segmentation import conductance, modularity, surprise
from remanence.errors import UsageError

VOCABULARY, LENGTH = 6, 40


def heard(policy, logits, tokens, cuts, keys=None):
    """One layer that has read the tokens in calls cut so; the number of each token's event."""
    keys = torch.randn(1, 2, LENGTH, 4, generator=torch.Generator().manual_seed(9)) if keys is None else keys
    held = LayerCache(0, policy.entry_stats)
    held.capacity = held.whole = LENGTH
    for first, end in zip([0, *cuts], [*cuts, LENGTH], strict=True):
        held.append(keys[:, :, first:end], keys[:, :, first:end], torch.arange(first, end)[None])
        call = ForwardCall(tokens[:, first:end], None, end - first, torch.arange(first, end)[None])
        policy.on_logits([held], tokens[:, first:end], logits[:, first:end], call)
    return held.stat("event")[0, 0].int().tolist()


@pytest.fixture
def spoken():
    """Logits and tokens, some of which surprise."""
    draw = torch.Generator().manual_seed(1)
    return 2 * torch.randn(1, LENGTH, VOCABULARY, generator=draw), torch.randint(
        VOCABULARY, (1, LENGTH), generator=draw
    )


def surprises_of(logits, tokens):
    """Of every token; nothing predicted the first."""
    before = torch.cat([torch.zeros(1, 1, VOCABULARY), logits[:, :-1]], 1)
    return surprise(before, tokens)[0].tolist()


def events_by_loop(surprises, gamma, spread, largest):
    numbers, event, length = [], 0, 0
    for at, now in enumerate(surprises):
        past = surprises[max(0, at - spread) : at]
        surprising = len(past) > 1 and now > statistics.fmean(past) + gamma * statistics.stdev(past)
        if length and (surprising or length >= largest):
            event, length = event + 1, 0
        length += 1
        numbers.append(event)
    return numbers


@pytest.mark.parametrize("cuts", [[], [7, 8, 30], list(range(1, LENGTH))])
@pytest.mark.parametrize(("gamma", "spread", "largest"), [(1.0, 8, 64), (0.0, 30, 5), (1e9, 8, 4)])
def test_an_event_begins_where_the_text_surprises(spoken, cuts, gamma, spread, largest):
    policy = EMLLM(gamma=gamma, spread=spread, largest=largest, refine="none")
    expected = events_by_loop(surprises_of(*spoken), gamma, spread, largest)
    assert heard(policy, *spoken, cuts) == expected
    assert expected[-1] > 2
    if gamma == 1e9:
        assert expected == [at // largest for at in range(LENGTH)]


def moved_by_loop(starts, ties, measure):
    """As the authors' program moves boundaries, with a least size of 1."""
    moved = [0]
    for start in starts:
        if start - moved[-1] > 1:
            half = int((start - moved[-1]) / 2)
            low, high = max(0, moved[-1] - half), min(len(ties), start + half)
            part = ties[low:high, low:high]
            measured = [
                modularity(part, cut) if measure == "modularity" else -conductance(part, cut)
                for cut in range(moved[-1] - low + 1, start - low)
            ]
            start = moved[-1] + 1 + int(torch.stack(measured).argmax())
        moved.append(start)
    return moved[1:]


@pytest.mark.parametrize("measure", ["modularity", "conductance"])
def test_boundaries_move_back_to_the_best_cut_of_the_keys(spoken, measure):
    keys = 1 + torch.randn(1, 2, LENGTH, 4, generator=torch.Generator().manual_seed(9))
    expected = events_by_loop(surprises_of(*spoken), 1.0, 8, 64)
    starts = [at for at in range(1, LENGTH) if expected[at] != expected[at - 1]]
    bounds = moved_by_loop(starts, sum(keys[0, head] @ keys[0, head].T for head in range(2)), measure)
    moved = [sum(at >= bound for bound in bounds) for at in range(LENGTH)]
    policy = EMLLM(spread=8, refine=measure)
    assert heard(policy, *spoken, [], keys) == moved
    assert moved != expected and all(new <= old for new, old in zip(bounds, starts, strict=True))
    assert int(policy.tensors()["length"][0]) == LENGTH - bounds[-1]


def test_the_graph_is_of_keys_without_positions_of_the_later_layers():
    draw, rotary = torch.Generator().manual_seed(3), Rotary(torch.tensor([1.0, 0.1], dtype=torch.float64))
    keys, layers = torch.randn(8, 1, 2, 5, 4, generator=draw), []
    for layer in range(8):
        held = LayerCache(layer, ("away", "event"), rotary)
        held.append(rotary.turn(keys[layer], torch.arange(7, 12)), keys[layer], torch.arange(5)[None])
        layers.append(held)
    call = ForwardCall(None, torch.tensor([[False, True, True, True, True]]), 5, torch.arange(7, 12)[None])
    expected = sum(keys[layer, 0, head] @ keys[layer, 0, head].T for layer in (5, 6, 7) for head in range(2))
    expected[0] = expected[:, 0] = 0
    assert torch.allclose(EMLLM().graph(layers, call, 0), expected, atol=1e-4)
    one = EMLLM(refine_from_layer=7).graph(layers, call, 0)
    assert torch.allclose(one[1:, 1:], (keys[7, 0] @ keys[7, 0].mT).sum(0)[1:, 1:], atol=1e-4)
    with pytest.raises(UsageError, match="from layer 8 on, and the model has 8"):
        EMLLM(refine_from_layer=8).graph(layers, call, 0)


def recall(policy, events, alike):
    """The events recalled of a row with one head, all of it in the bank."""
    found = policy._recall(0, 0, torch.tensor(events), torch.tensor(alike), None)
    recalled = [events[place] for place in found.tolist()]
    assert all(recalled.count(event) == events.count(event) for event in recalled)
    return sorted(set(recalled))


@pytest.fixture
def ready():
    def make(similar, contiguous):
        policy = EMLLM(similar=similar, contiguous=contiguous)
        policy.set_tensors({"neighbours": torch.full((1, 1, max(1, contiguous)), -1)})
        return policy

    return make


EVENTS = [2, 2, 3, 3, 3, 5, 6, 6, 7, 8]
"""Event 4 is not there any more."""


def test_the_events_of_the_likest_tokens_are_recalled(ready):
    alike = [0.0, 0.1, 0.9, 0.0, 0.0, 0.2, 0.3, 0.8, 0.0, 0.0]
    assert recall(ready(1, 0), EVENTS, alike) == [3]
    assert recall(ready(2, 0), EVENTS, alike) == [3, 6]
    assert recall(ready(50, 0), EVENTS, alike) == [2, 3, 5, 6, 7, 8]


def test_neighbours_stay_for_some_calls(ready):
    policy = ready(1, 2)
    at = {event: [float(one == event) for one in EVENTS] for event in set(EVENTS)}
    assert recall(policy, EVENTS, at[6]) == [5, 6, 7]
    # 3 has one neighbour that is there; the latest neighbours push the oldest out
    assert recall(policy, EVENTS, at[3]) == [2, 3, 5]
    assert recall(policy, EVENTS, at[8]) == [2, 7, 8]


def test_likeness_is_the_share_of_attention():
    policy, draw = EMLLM(similar=1, contiguous=0), torch.Generator().manual_seed(2)
    held = LayerCache(0, policy.entry_stats)
    held.capacity = held.whole = 8
    held.append(*torch.randn(2, 1, 2, 8, 4, generator=draw), torch.arange(8)[None])
    held.stat("away")[:, :, :6] = 1.0
    held.stat("event").copy_(torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    search = search_of(policy, held, 6 * torch.randn(1, 4, 3, 4, generator=draw))
    scores, found = search.scores(), found_by(policy, search)[0, 0, 0, 0]
    best = {}
    for head in range(2):
        for token in range(6):
            shares = [float(scores[0, head, g, t, :6].softmax(0)[token]) for g in range(2) for t in range(3)]
            best[token // 2] = max(best.get(token // 2, 0.0), statistics.fmean(shares))
    event = max(best, key=best.get)
    assert found.nonzero().flatten().tolist() == [2 * event, 2 * event + 1]
