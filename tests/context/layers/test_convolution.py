"""Short causal convolutions."""

import pytest
import torch

from memory_layers import keeps_its_promises, same
from remanence.context.layers.convolution import Convolved, ShortConvolution
from remanence.errors import StateError, UsageError


@pytest.mark.parametrize("size", [2, 4])
def test_reading(size, tmp_path):
    keeps_its_promises(ShortConvolution(3, size), tmp_path)


def test_it_is_the_sum_of_weighted_inputs():
    layer, x = ShortConvolution(2, 3), torch.randn(1, 6, 2)
    y, state = layer(x)
    for t in range(6):
        # Weight `size - 1` belongs to the position itself.
        expected = sum(layer.weight[2 - back] * x[0, t - back] for back in range(3) if t >= back)
        torch.testing.assert_close(y[0, t], expected)
    same(state, x[:, -2:])


def test_several_share_one_state():
    both = Convolved(2, 3, 2)
    x = torch.randn(1, 5, 2)
    whole, _ = both(x, both.initial(1))
    first, state = both(x[:, :2], both.initial(1))
    rest, _ = both(x[:, 2:], state)
    for place in range(2):
        torch.testing.assert_close(torch.cat([first[place], rest[place]], 1), whole[place])
    assert list(state) == ["recent"] and not torch.equal(whole[0], whole[1])


def test_without_a_size_inputs_pass_as_they_are():
    none, x = Convolved(2, 0), torch.randn(1, 5, 2)
    given, state = none(x, none.initial(1))
    assert state == {} and all(y is x for y in given) and len(given) == 3


def test_mistakes():
    with pytest.raises(UsageError, match="size 1, expected 2 or more"):
        ShortConvolution(2, 1)
    with pytest.raises(UsageError, match=r"expected \(batch, length, 2\)"):
        ShortConvolution(2)(torch.zeros(1, 5, 3))
    with pytest.raises(StateError, match="is a tensor"):
        ShortConvolution(2)(torch.zeros(1, 5, 2), {})
