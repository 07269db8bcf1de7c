"""Whether an item matches is what looking n items back says, on letters and on grids."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.streams.recall.n_back import n_back
from remanence.streams.recall.sequence_batch import IGNORE
from remanence.streams.recall.spatial_n_back import spatial_n_back


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 20), st.integers(2, 9), st.data())
def test_the_answers_are_what_looking_back_says(seed, n, judged, symbols, data):
    matches = data.draw(st.integers(0, judged))
    drawn = n_back(3, seed, n=n, items=n + judged, matches=matches, symbols=symbols)
    for tokens, targets, distance in zip(drawn.tokens.tolist(), drawn.targets.tolist(), drawn.distance, strict=True):
        assert all(0 <= token < symbols for token in tokens)
        same = [tokens[at] == tokens[at - n] for at in range(n, n + judged)]
        assert sum(same) == matches
        assert targets == [IGNORE] * n + [symbols + match for match in same]
        assert distance.tolist() == [0] * n + [n] * judged


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6), st.integers(2, 4))
def test_a_grid_has_one_mark_and_is_compared_by_its_place(seed, n, judged, side):
    cells = side * side
    drawn = spatial_n_back(2, seed, n=n, items=n + judged, matches=1, side=side)
    for tokens, targets, distance in zip(drawn.tokens, drawn.targets.tolist(), drawn.distance.tolist(), strict=True):
        grids = tokens.view(-1, cells)
        assert grids.sum(1).tolist() == [1] * (n + judged)
        where = grids.argmax(1).tolist()
        for at, target in enumerate(targets):
            item = at // cells
            if at % cells == cells - 1 and item >= n:
                assert target == 2 + (where[item] == where[item - n])
                assert distance[at] == n * cells
            else:
                assert (target, distance[at]) == (IGNORE, 0)


def test_the_base_versions_are_those_of_the_paper():
    verbal, spatial = n_back(5, 0), spatial_n_back(5, 0)
    assert verbal.tokens.shape == (5, 24)
    assert spatial.tokens.shape == (5, 24 * 9)
    assert (verbal.targets == 21).sum(1).tolist() == [8] * 5 == (spatial.targets == 3).sum(1).tolist()


def test_matches_fall_on_all_places_alike_and_all_symbols_come():
    drawn = n_back(4000, 0, n=3, items=13, matches=2, symbols=4)
    shares = (drawn.targets[:, 3:] == 5).double().mean(0)
    assert torch.allclose(shares, torch.full((10,), 0.2, dtype=torch.float64), atol=0.03)
    for at in (0, 12):
        assert torch.allclose(
            torch.bincount(drawn.tokens[:, at], minlength=4).double() / 4000,
            torch.full((4,), 0.25, dtype=torch.float64),
            atol=0.03,
        )


@pytest.mark.parametrize("wrong", [{"n": 0}, {"matches": 23}, {"matches": -1}, {"items": 2}, {"symbols": 1}])
def test_a_test_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match="n of 1 or more"):
        n_back(1, 0, **wrong)


def test_a_grid_of_one_cell_is_refused():
    with pytest.raises(UsageError, match="a grid of side 1"):
        spatial_n_back(1, 0, side=1)
