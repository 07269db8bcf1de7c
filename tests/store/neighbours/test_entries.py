"""Entries: exact neighbours, a sample that does not depend on order, and deletion to the bit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import remanence as rm
from remanence.store.neighbours import entries as module
from remanence.store.neighbours.entries import Entries, tally, unit


def rows(n: int, seed: int = 0, width: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=draw), torch.randint(4, (n,), generator=draw), torch.arange(n)


def filled(n: int, limit: int = 0, seed: int = 0, order: torch.Tensor | None = None, step: int = 7) -> Entries:
    entries = Entries(6, limit, seed=3, marks=True)
    columns = rows(n, seed)
    order = torch.arange(n) if order is None else order
    for some in order.split(step):
        entries.add(*(column[some] for column in columns), mark=2)
    return entries


@pytest.mark.parametrize("products", [1, 500, 4_000_000])
def test_neighbours_equal_a_loop_however_the_search_is_cut(products: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PRODUCTS", products)
    entries = filled(50)
    queries = rows(9, seed=1)[0]
    cosines, places = entries.nearest(queries, 5)
    for row, query in enumerate(queries):
        each = [float(torch.cosine_similarity(query, vector, dim=0)) for vector in rows(50)[0]]
        assert places[row].tolist() == sorted(range(50), key=lambda place: -each[place])[:5]
        assert cosines[row].tolist() == pytest.approx(sorted(each)[::-1][:5], abs=1e-6)
    some = torch.arange(0, 50, 3)
    _, near = entries.others(4, some)
    for row, place in enumerate(some.tolist()):
        left = [other for other in some.tolist() if other != place]
        each = {other: float(entries.vectors[place] @ entries.vectors[other]) for other in left}
        assert some[near[row]].tolist() == sorted(left, key=lambda other: -each[other])[:4]


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=25, deadline=None)
def test_what_a_limit_keeps_does_not_depend_on_order(seed: int, limit: int, step: int):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    one, two = filled(60, limit), filled(60, limit, order=order, step=step)
    assert len(one) == len(two) == limit
    assert one._ids.numel() <= limit
    assert set(one.ids.tolist()) == set(two.ids.tolist())
    assert torch.equal(one.ids, one.ids.sort().values)


def test_the_sample_is_uniform():
    kept = torch.zeros(100)
    for seed in range(400):
        entries = Entries(1, 20, seed=seed)
        entries.add(torch.ones(100, 1), torch.zeros(100), torch.arange(100))
        kept[entries.ids] += 1
    assert kept.sum() == 8000
    # 80 expected each, with a standard deviation of 8: the squares are about one in the mean
    assert 0.6 < float(((kept - 80) / 8).square().mean()) < 1.5
    assert float(kept[:50].sum()) == pytest.approx(4000, abs=200)


def test_growing_costs_a_quarter_at_most_and_the_bytes_go_with_the_entries():
    entries = filled(1000)
    assert 1000 <= len(entries._ids) <= 1250
    entries.keep(torch.arange(10))
    assert sum(buffer.nbytes for buffer in entries.buffers()) == 10 * Entries.bytes_each(6, marks=True)
    assert entries.marks.tolist() == [2] * 10


def test_what_is_asked_to_go_is_found_by_id_label_or_row():
    entries = filled(40)
    x, y, _ = rows(40)
    assert entries.asked_for(rm.Request(ids=(3, 99)), None).nonzero().squeeze(1).tolist() == [3]
    assert torch.equal(entries.asked_for(rm.Request(label=2), None), y == 2)
    request = rm.Request(x=x[5:7], y=y[5:7])
    assert entries.asked_for(request, x[5:7] * 3).nonzero().squeeze(1).tolist() == [5, 6]
    assert not entries.asked_for(rm.Request(x=x[5:6], y=y[5:6] + 1), x[5:6]).any()


def test_votes_are_summed_by_class():
    found = tally(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[2, 0, 2]]), 4)
    assert found.tolist() == [[2.0, 0.0, 4.0, 0.0]]
    assert unit(torch.zeros(1, 3)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_feature_that_is_no_number_is_refused():
    with pytest.raises(rm.errors.UsageError, match="finite"):
        Entries(2).add(torch.tensor([[torch.nan, 1.0]]), torch.tensor([0]), torch.tensor([0]))
