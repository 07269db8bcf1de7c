"""Where events begin, against the rule followed token by token; which are recalled, and which because they stood beside."""

import statistics

import pytest
import torch

from bank_search import found_by, search_of
from remanence.context.caches.em_llm import EMLLM
from remanence.context.caches.forward_call import ForwardCall
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.segmentation import refined, surprise

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


@pytest.mark.parametrize("measure", ["modularity", "conductance"])
def test_boundaries_move_to_the_best_cut_of_the_keys_between(spoken, measure):
    keys = torch.randn(1, 2, LENGTH, 4, generator=torch.Generator().manual_seed(9))
    expected = events_by_loop(surprises_of(*spoken), 1.0, 8, 64)
    bounds = [0, *(at for at in range(1, LENGTH) if expected[at] != expected[at - 1]), LENGTH]
    for place in range(1, len(bounds) - 1):
        low, high = bounds[place - 1], bounds[place + 1]
        adjacency = torch.zeros(high - low, high - low)
        for i in range(low, high):
            for j in range(low, high):
                products = [torch.cosine_similarity(keys[0, h, i], keys[0, h, j], dim=0) for h in range(2)]
                adjacency[i - low, j - low] = max(0.0, float(sum(products)) / 2)
        if high - low > 2:
            bounds[place] = low + refined(adjacency, measure)
    moved = [sum(at >= bound for bound in bounds[1:-1]) for at in range(LENGTH)]
    found = heard(EMLLM(spread=8, refine=measure), *spoken, [], keys)
    assert found == moved
    assert found != expected


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
