"""What is to be copied is what is not noise, wherever it stood."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.selective_copying import selective_copying
from remanence.streams.recall.sequence_batch import IGNORE


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 20), st.integers(3, 12), st.booleans())
def test_the_answers_are_what_is_left_without_the_noise(seed, items, noise, vocabulary, shown):
    length = 2 * items + noise
    drawn = selective_copying(3, seed, items=items, length=length, vocabulary=vocabulary, shown=shown)
    for tokens, targets, distance in zip(drawn.tokens.tolist(), drawn.targets.tolist(), drawn.distance, strict=True):
        read = length - items
        heard = [(place, token) for place, token in enumerate(tokens[:read]) if token]
        assert targets == [IGNORE] * read + [token for _, token in heard]
        assert tokens[read] == vocabulary - 1
        assert tokens[read + 1 :] == (targets[read:-1] if shown else [vocabulary - 1] * (items - 1))
        assert distance.tolist() == [0] * read + [read + n - place for n, (place, _) in enumerate(heard)]


def test_items_fall_on_all_places_alike():
    places = (selective_copying(4000, 0, items=2, length=12, vocabulary=4).tokens[:, :10] > 0).double().mean(0)
    assert torch.allclose(places, torch.full((10,), 0.2, dtype=torch.float64), atol=0.03)


@pytest.mark.parametrize("wrong", [{"items": 0}, {"items": 5, "length": 9}, {"vocabulary": 2}])
def test_what_cannot_be_copied_is_refused(wrong):
    with pytest.raises(UsageError, match="two tokens for each item"):
        selective_copying(1, 0, **wrong)
