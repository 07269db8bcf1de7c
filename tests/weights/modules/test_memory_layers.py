"""Memory layers gate what they read, and share one pool that is counted once."""

import pytest
import torch

from remanence.errors import UsageError
from remanence.footprint import measure
from remanence.models.sequence import Recurrent, SequenceModel
from remanence.weights.modules.memory_layers import MemoryLayers
from remanence.weights.modules.product_keys import Values, parameter_groups

SMALL = {"keys": 6, "heads": 2, "knn": 5, "key_width": 4}


def test_the_output_is_what_was_read_gated_by_the_input():
    torch.manual_seed(0)
    layer = MemoryLayers(8, **SMALL)
    x = torch.randn(3, 8)
    slots, weights = layer.select(x)
    for row in range(3):
        fetched = sum(
            weight * layer.values.weight[slot]
            for slot, weight in zip(slots[row].flatten(), weights[row].flatten(), strict=True)
        )
        a = layer.gate.weight @ x[row] + layer.gate.bias
        expected = layer.project.weight @ (fetched * a * torch.sigmoid(a)) + layer.project.bias
        torch.testing.assert_close(layer(x)[row], expected)


def shared_model():
    torch.manual_seed(0)
    model = SequenceModel(16, 8, [Recurrent(8) for _ in range(3)])
    for place, layer in zip((0, 2), MemoryLayers.sharing(2, 8, **SMALL), strict=True):
        model.feeds[place] = torch.nn.Sequential(torch.nn.RMSNorm(8), layer)
    return model


def test_a_pool_in_several_layers_of_a_model_is_counted_once_and_written_by_all():
    model = shared_model()
    first, last = model.feeds[0][1], model.feeds[2][1]
    assert first.values is last.values
    named = model.named_parameters(remove_duplicate=False)
    assert measure([("parameters", p) for _, p in named]).total == 4 * sum(p.numel() for p in model.parameters())
    assert len(parameter_groups(model, 0.1, 0.1)[1]["params"]) == 1
    seen = []
    for layer in (first, last):
        layer.register_forward_hook(lambda layer, given, _: seen.append(layer.read(given[0]) > 0))
    model(torch.randint(16, (1, 2)))[0].sum().backward()
    written = (first.values.weight.grad != 0).any(1)
    assert torch.equal(written, seen[0] | seen[1])
    assert (seen[1] & ~seen[0]).any()


def test_a_shared_pool_comes_back_from_a_saved_model(tmp_path):
    from safetensors.torch import load_model, save_model

    model, other = shared_model(), shared_model()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"))
    tokens = torch.randint(16, (2, 3))
    assert torch.equal(model(tokens)[0], other(tokens)[0])
    assert other.feeds[0][1].values.weight is other.feeds[2][1].values.weight


def test_normalised_scores_stay_bounded_as_queries_grow():
    torch.manual_seed(0)
    layer = MemoryLayers(8, normalise=True, **SMALL)
    _, weights = layer.select(1e4 * torch.randn(5, 8))
    # A half has norm √(width / 2) at unit gain, so that a score lies between −√width and √width.
    logs = weights.detach().log()
    assert float(logs.max() - logs.min()) <= 2 * 4**0.5 + 1e-4


def test_flops_add_two_square_products_to_the_lookup():
    layer = MemoryLayers(8, **SMALL)
    assert layer.flops() == 2 * 8 * 8 + 2 * (2 * 6 * 2) * 2 + 2 * 2 * 5 * 8 + 2 * 2 * 64


def test_a_pool_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="one width"):
        MemoryLayers(8, pool=Values(36, 7), **SMALL)
    with pytest.raises(UsageError, match="as many keys"):
        MemoryLayers(8, pool=Values(25, 8), **SMALL)
    with pytest.raises(UsageError, match="keys must be"):
        MemoryLayers(8, keys=0)
