"""Product-key memory reads as a loop over all slots would, and writes only what it read."""

import pytest
import torch

from remanence.errors import UsageError
from remanence.weights.modules.product_key_memory import ProductKeyMemory

SMALL = {"keys": 6, "heads": 3, "knn": 5, "key_width": 4}


def memory(**settings):
    torch.manual_seed(0)
    return ProductKeyMemory(8, **{**SMALL, **settings})


def test_it_reads_the_softmax_over_the_best_of_all_slots_of_each_head():
    layer = memory().eval()
    layer.query[1].running_mean.normal_()
    x = torch.randn(2, 3, 8)
    y = layer(x)
    for row, place in ((0, 0), (1, 2)):
        queries = layer.query(x[row, place][None]).view(3, 4).detach()
        expected = torch.zeros(8)
        for head in range(3):
            sub = layer.keys.keys.detach()[:, head]
            score = [
                float(queries[head, :2] @ sub[0, i] + queries[head, 2:] @ sub[1, j]) for i in range(6) for j in range(6)
            ]
            best = sorted(range(36), key=lambda slot: -score[slot])[:5]
            weights = torch.tensor([score[slot] for slot in best]).softmax(0)
            for slot, weight in zip(best, weights, strict=True):
                expected += weight * layer.values.weight.detach()[slot]
        torch.testing.assert_close(y[row, place], expected)


def test_batch_norm_spreads_the_queries_of_a_batch():
    x = torch.randn(64, 8)
    queries = memory().train().query(x + 5)
    torch.testing.assert_close(queries.mean(0), torch.zeros(12), atol=1e-5, rtol=0)
    assert len(memory(batch_norm=False).query) == 1


def test_a_step_writes_only_the_values_that_were_read():
    layer = memory(sparse=True)
    optimizer = torch.optim.SparseAdam([layer.values.weight], lr=0.1)
    x, before = torch.randn(1, 1, 8), layer.values.weight.detach().clone()
    layer.eval()(x).square().sum().backward()
    optimizer.step()
    read = layer.read(x) > 0
    moved = (layer.values.weight != before).any(1)
    assert torch.equal(moved, read)
    assert 5 <= int(read.sum()) <= 15


def test_usage_counts_the_weights_of_all_heads():
    layer = memory().eval()
    x = torch.randn(7, 8)
    read = layer.read(x)
    assert float(read.sum()) == pytest.approx(21, rel=1e-5)
    assert layer.usage(x).used == float((read > 0).double().mean())
    torch.testing.assert_close(read, layer.read(x[:3]) + layer.read(x[3:]))


def test_it_stands_in_for_a_feed_forward_layer_and_learns():
    torch.manual_seed(1)
    x, wanted = torch.randn(40, 8), torch.randn(40, 8)
    model = torch.nn.Sequential(torch.nn.LayerNorm(8), memory(keys=16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        loss = (model(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.1 * losses[0]


def test_flops_are_those_of_its_products():
    assert memory().flops() == 2 * 8 * 12 + 2 * (3 * 6 * 2) * 2 + 2 * 3 * 5 * 8


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"keys": 0}, "keys must be"),
        ({"knn": 40}, "36 slots"),
        ({"key_width": 3}, "no two halves"),
        ({"key": 3}, "'key'"),
    ],
)
def test_what_does_not_fit_is_said_at_construction(settings, match):
    with pytest.raises(UsageError, match=match):
        memory(**settings)
    with pytest.raises(UsageError, match=r"expected \(…, 8\)"):
        memory()(torch.zeros(2, 7))
