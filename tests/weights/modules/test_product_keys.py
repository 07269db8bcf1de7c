"""Product keys find the same slots as all n² sums do, and read their values as a loop would."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from remanence.errors import UsageError
from remanence.weights.modules.product_keys import (
    KeyUsage,
    ProductKeyLayer,
    ProductKeys,
    Values,
    key_usage,
    parameter_groups,
    product_topk,
)


@given(st.integers(1, 9), st.data())
def test_the_best_sums_are_those_of_all_pairs(keys, data):
    count = data.draw(st.integers(1, keys * keys))
    # Whole numbers make many ties.
    scores = st.lists(st.integers(-3, 3), min_size=keys, max_size=keys)
    first, second = (torch.tensor([data.draw(scores), data.draw(scores)], dtype=torch.float64) for _ in range(2))
    sums, slots = product_topk(first, second, count)
    every = (first[:, :, None] + second[:, None, :]).flatten(1)
    assert torch.equal(sums, every.topk(count).values)
    assert torch.equal(every.gather(1, slots), sums)
    assert all(len(set(row.tolist())) == count for row in slots)


def test_without_ties_the_slots_are_those_of_all_pairs():
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 3, 64, generator=draw, dtype=torch.float64) for _ in range(2))
    _, slots = product_topk(first, second, 32)
    assert torch.equal(slots, (first[..., :, None] + second[..., None, :]).flatten(2).topk(32).indices)


def test_each_head_scores_full_keys_made_of_two_halves():
    torch.manual_seed(0)
    keys = ProductKeys(5, 6, heads=2, knn=4)
    queries = torch.randn(3, 2, 6)
    scores, slots = keys(queries)
    for row in range(3):
        for head in range(2):
            full = torch.stack(
                [torch.cat([keys.keys[0, head, i], keys.keys[1, head, j]]) for i in range(5) for j in range(5)]
            )
            best = (full @ queries[row, head]).topk(4)
            assert slots[row, head].tolist() == best.indices.tolist()
            torch.testing.assert_close(scores[row, head], best.values)


def test_normalised_scores_do_not_depend_on_the_length_of_queries_and_keys():
    torch.manual_seed(0)
    keys = ProductKeys(5, 16, heads=2, knn=4, normalise=True)
    queries = torch.randn(3, 2, 16)
    scores, slots = keys(queries)
    with torch.no_grad():
        keys.keys *= 100
    more, same = keys(100 * queries)
    assert torch.equal(same, slots)
    torch.testing.assert_close(more, scores, atol=1e-3, rtol=0)


def test_values_are_summed_as_in_a_loop_and_a_sparse_gradient_holds_only_what_was_read():
    torch.manual_seed(0)
    dense, sparse = Values(9, 4), Values(9, 4, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    slots, weights = torch.tensor([[[1, 8], [1, 0]]]), torch.rand(1, 2, 2)
    y = dense(slots, weights)
    expected = sum(weights[0, h, k] * dense.weight[slots[0, h, k]] for h in range(2) for k in range(2))
    torch.testing.assert_close(y[0], expected)
    y.sum().backward()
    sparse(slots, weights).sum().backward()
    assert sparse.weight.grad.is_sparse
    assert set(sparse.weight.grad.coalesce().indices()[0].tolist()) == {0, 1, 8}
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)


def test_gradients_of_a_whole_read():
    torch.manual_seed(0)
    keys, values = ProductKeys(4, 6, heads=2, knn=3).double(), Values(16, 3).double()

    def read(queries, sub_keys, pool):
        scores, slots = torch.func.functional_call(keys, {"keys": sub_keys}, (queries,))
        return torch.func.functional_call(values, {"weight": pool}, (slots, scores.softmax(-1)))

    queries = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(read, (queries, keys.keys, values.weight))


def test_usage_has_its_closed_forms():
    assert key_usage(torch.full((7,), 3.0)).divergence == pytest.approx(0, abs=1e-12)
    assert key_usage(torch.eye(8)[2]) == KeyUsage(1 / 8, pytest.approx(math.log(8)))
    with pytest.raises(UsageError, match="no slot was read"):
        key_usage(torch.zeros(4))


def test_values_have_a_rate_of_their_own_and_are_named_once():
    shared = Values(9, 2)
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Sequential(shared), torch.nn.Sequential(shared)])
    others, pools = parameter_groups(model, 0.1, 0.4)
    assert [id(p) for p in pools["params"]] == [id(shared.weight)]
    assert pools["lr"] == 0.4 and pools["weight_decay"] == 0
    assert {id(p) for p in others["params"]} == {id(p) for p in model[0].parameters()}
    torch.optim.AdamW([others, pools])


def test_what_does_not_fit_is_said():
    with pytest.raises(UsageError, match="no two halves"):
        ProductKeys(4, 5, heads=1, knn=1)
    with pytest.raises(UsageError, match="16 slots"):
        ProductKeys(4, 6, heads=1, knn=17)
    with pytest.raises(UsageError, match="one shape"):
        product_topk(torch.zeros(3), torch.zeros(4), 1)
    with pytest.raises(UsageError, match="ask for 1 to that"):
        product_topk(torch.zeros(2), torch.zeros(2), 5)
    with pytest.raises(UsageError, match="as many keys"):
        ProductKeyLayer(torch.nn.Identity(), ProductKeys(4, 6, heads=1, knn=1), Values(9, 3))


def test_sub_keys_start_as_a_linear_layer_over_half_a_query_would():
    torch.manual_seed(0)
    keys = ProductKeys(200, 32, 2, 4).keys.detach()
    assert float(keys.abs().max()) <= 16**-0.5
    assert float(keys.std()) == pytest.approx((16 * 3) ** -0.5, rel=0.02)
