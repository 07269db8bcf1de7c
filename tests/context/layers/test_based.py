"""BASED: the Taylor features, the layer and the alternation."""

import math

import pytest
import torch

from memory_layers import keeps_its_promises, same
from remanence.context.layers.attention import WindowAttention
from remanence.context.layers.based import Based, Taylor
from remanence.context.layers.linear_attention import LinearAttention
from remanence.errors import UsageError
from remanence.models.sequence import SequenceModel


@pytest.mark.parametrize("width", [1, 2, 7, 16])
def test_the_features_give_the_exponential_to_the_second_order_exactly(width):
    q, k = torch.randn(2, 3, 5, width, dtype=torch.float64)
    x = (q * k).sum(-1) / math.sqrt(width)
    features = Taylor()(q)
    assert features.shape[-1] == Taylor().size(width)
    same((features * Taylor()(k)).sum(-1), 1 + x + x**2 / 2)


def test_weights_are_always_positive():
    x = torch.linspace(-50, 50, 1001, dtype=torch.float64)[:, None]
    assert bool(((Taylor()(x) @ Taylor()(torch.ones(1, 1, dtype=torch.float64)).T) >= 0.5).all())


def test_linear_attention_with_the_features_is_attention_with_the_weights():
    layer = LinearAttention(4, Taylor(), feature_dim=3).double()
    x = torch.randn(1, 9, 4, dtype=torch.float64)
    scores = layer.queries(x) @ layer.keys(x).transpose(1, 2) / math.sqrt(3)
    weights = (1 + scores + scores**2 / 2).tril()
    same(layer(x)[0], layer.out(weights @ layer.values(x) / weights.sum(-1, keepdim=True)))


@pytest.mark.parametrize("settings", [{"window": 3, "feature_dim": 2}, {"heads": 2, "window": 8, "feature_dim": 3}])
def test_reading(settings, tmp_path):
    keeps_its_promises(Based(8, **settings), tmp_path)


def test_bytes_follow_window_and_feature_dim():
    # Keys and values of window - 1 positions, a count, and 1 + d + d(d + 1)/2 rows of values and normaliser.
    assert Based(8, window=5, feature_dim=3).state_bytes == 4 * (2 * 4 * 8 + 10 * 9) + 8


def test_the_alternation_is_window_and_linear_attention_in_turn():
    layers = Based.alternation(8, 3, window=4, feature_dim=2)
    assert [type(layer) for layer in layers] == [WindowAttention, LinearAttention, WindowAttention]
    model = SequenceModel(16, 8, layers)
    tokens = torch.randint(0, 16, (2, 6))
    whole, _ = model(tokens)
    _, states = model(tokens[:, :3])
    torch.testing.assert_close(model(tokens[:, 3:], states)[0], whole[:, 3:], rtol=1e-4, atol=1e-5)


def test_gradients():
    layer = Based(4, window=2, feature_dim=2).double()
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_mistakes():
    with pytest.raises(UsageError, match="feature_dim must be greater than or equal to 1"):
        Based(8, feature_dim=0)
    with pytest.raises(UsageError, match="a multiple of 6"):
        Based(8, heads=3)
