"""Recurrences in parallel are those of a loop, with the same gradients, at any length and from any state."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.layers.scan import convolve, krylov, scan, scan_by_steps
from remanence.errors import UsageError

LENGTHS = st.integers(1, 37)


def drawn(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def loop(decay, drive, before):
    states = []
    for t in range(drive.shape[1]):
        before = decay[:, t if decay.shape[1] > 1 else 0] * before + drive[:, t]
        states.append(before)
    return torch.stack(states, 1)


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.booleans(), st.booleans(), st.booleans())
def test_a_scan_is_the_loop(length, constant, is_complex, carried):
    dtype = torch.complex128 if is_complex else torch.float64
    decay = 0.6 * drawn(1, 2, 1 if constant else length, 3, dtype=dtype)
    drive, before = drawn(2, 2, length, 3, dtype=dtype), drawn(3, 2, 3, dtype=dtype)
    start = before if carried else torch.zeros_like(before)
    expected = loop(decay, drive, start)
    for way in (scan, scan_by_steps):
        torch.testing.assert_close(way(decay, drive, before if carried else None), expected)


@settings(deadline=None, max_examples=40)
@given(LENGTHS)
def test_dimensions_of_one_are_shared(length):
    decay = torch.polar(torch.rand(1, 1, 3, 2, dtype=torch.float64), drawn(1, 1, 1, 3, 2))
    drive = drawn(2, 2, length, 3, 1)
    whole = decay.expand(2, length, 3, 2)
    expected = loop(whole, drive.expand(2, length, 3, 2).to(decay.dtype), torch.zeros(2, 3, 2, dtype=decay.dtype))
    torch.testing.assert_close(scan(decay, drive), expected)
    torch.testing.assert_close(scan_by_steps(decay, drive), expected)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_of_a_scan(length, constant, dtype):
    decay = drawn(1, 1, 1 if constant else length, 2, dtype=dtype).requires_grad_()
    drive = drawn(2, 1, length, 2, dtype=dtype).requires_grad_()
    before = drawn(3, 1, 2, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(scan, (decay, drive, before))
    loss = [way(decay, drive, before).abs().square().sum() for way in (scan, scan_by_steps)]
    for mine, theirs in zip(*(torch.autograd.grad(each, (decay, drive, before)) for each in loss), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_long_scan_in_single_precision_stays_near_the_loop_in_double():
    decay, drive = torch.full((1, 1, 1), 0.999), drawn(1, 1, 5000, 1, dtype=torch.float32)
    expected = loop(decay.double(), drive.double(), torch.zeros(1, 1, dtype=torch.float64))
    torch.testing.assert_close(scan(decay, drive).double(), expected, rtol=0, atol=1e-3)


def test_a_decay_of_zero_begins_anew():
    decay, drive = drawn(1, 1, 9, 1), drawn(2, 1, 9, 1)
    decay[:, 5] = 0
    torch.testing.assert_close(scan(decay, drive)[:, 5:], scan(decay[:, 5:], drive[:, 5:]))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 33), st.integers(1, 4))
def test_krylov_vectors_are_powers_times_the_vector(length, size):
    matrix, vector = 0.5 * drawn(1, 2, size, size), drawn(2, 2, size)
    expected = torch.stack([(torch.linalg.matrix_power(matrix, t) @ vector[..., None])[..., 0] for t in range(length)])
    torch.testing.assert_close(krylov(matrix, vector, length), expected.movedim(0, -1))


def test_gradients_of_krylov_vectors():
    matrix, vector = drawn(1, 3, 3).requires_grad_(), drawn(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: krylov(a, b, 6), (matrix, vector))


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.integers(1, 50))
def test_a_convolution_is_the_sum(length, taps):
    kernel, signal = drawn(1, 3, 1, taps), drawn(2, 2, length)
    found = convolve(kernel, signal)
    assert found.shape == (3, 2, length)
    for t in range(length):
        expected = sum(kernel[..., s] * signal[..., t - s] for s in range(min(taps, t + 1)))
        torch.testing.assert_close(found[..., t], expected)


def test_gradients_of_a_convolution():
    kernel, signal = drawn(1, 3).requires_grad_(), drawn(2, 2, 7).requires_grad_()
    assert torch.autograd.gradcheck(convolve, (kernel, signal))


def test_what_cannot_be_scanned_is_refused():
    with pytest.raises(UsageError, match=r"decays \(1, 3, 2\) for \(1, 4, 2\)"):
        scan(torch.ones(1, 3, 2), torch.ones(1, 4, 2))
    with pytest.raises(UsageError, match="at least one position"):
        scan(torch.ones(1, 1, 2), torch.ones(1, 0, 2))
    with pytest.raises(UsageError, match="no position"):
        convolve(torch.ones(0), torch.ones(3))
    with pytest.raises(UsageError, match="0 powers"):
        krylov(torch.ones(1, 1), torch.ones(1), 0)
