"""HiPPO's matrices are those of the projections they stand for, and their steps come near them as steps shrink."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import eval_legendre

from remanence.context.layers.hippo_matrices import basis, discretise, generalised_bilinear, transition
from remanence.context.layers.hippo_projection import KEPT, Projection
from remanence.errors import UsageError


def projected(measure, order, function, now, span=1.0, **shape):
    """Coefficients of the past of a function at a time, by numerical quadrature over lags in units of the span."""
    weight = {"lagt": lambda u: u ** -shape.get("alpha", 0.0) * math.exp(-shape.get("beta", 1.0) * u)}.get(
        measure, lambda u: 1.0
    )
    end = np.inf if measure == "lagt" else 1.0
    mass = quad(weight, 0, end)[0]

    def coefficient(n):
        def integrand(u):
            g = basis(measure, order, torch.tensor([u], dtype=torch.float64), **shape)[0, n].item()
            return function(now - span * u) * g * weight(u) / mass

        return quad(integrand, 0, end, limit=200)[0]

    return np.array([coefficient(n) for n in range(order)])


@pytest.mark.parametrize(
    ("measure", "shape"),
    [("legs", {}), ("legt", {}), ("fout", {}), ("lagt", {}), ("lagt", {"alpha": -0.5, "beta": 0.5})],
)
def test_the_basis_is_orthonormal(measure, shape):
    order = 5
    for n in range(order):

        def one(u, n=n):
            return basis(measure, order, torch.tensor([-u], dtype=torch.float64), **shape)[0, n].item()

        np.testing.assert_allclose(projected(measure, order, one, 0.0, **shape), np.eye(order)[n], atol=1e-6)


def polynomial(t):
    return 0.3 - t + 0.7 * t**2 + 0.2 * t**3


def waves(t):
    return 0.3 + math.cos(4 * math.pi * t) - 0.5 * math.sin(2 * math.pi * t)


@pytest.mark.parametrize(
    ("measure", "shape", "function"),
    [
        ("legs", {}, polynomial),
        ("legs", {}, math.sin),
        ("legt", {}, polynomial),
        ("lagt", {}, polynomial),
        ("lagt", {"alpha": -0.5, "beta": 0.5}, polynomial),
        ("lagt", {}, math.sin),
        ("fout", {}, waves),
    ],
)
def test_the_projection_solves_the_equation(measure, shape, function):
    """c' = A c + B f by central differences of the projection; at the far end of a window f is its own projection."""
    order, now, step = 5, 1.7, 1e-4
    A, B = (tensor.numpy() for tensor in transition(measure, order, **shape))
    spans = [1.0] * 3 if measure != "legs" else [now - step, now, now + step]
    earlier, here, later = (
        projected(measure, order, function, at, span, **shape)
        for at, span in zip([now - step, now, now + step], spans, strict=True)
    )
    slope = (later - earlier) / (2 * step)
    scale = now if measure == "legs" else 1.0
    np.testing.assert_allclose(slope, (A @ here + B * function(now)) / scale, atol=1e-5)


def test_matrices_written_out():
    A, B = transition("legs", 3)
    r3, r5, r15 = math.sqrt(3), math.sqrt(5), math.sqrt(15)
    expected = torch.tensor([[1.0, 0.0, 0.0], [r3, 2.0, 0.0], [r5, r15, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(A, -expected)
    torch.testing.assert_close(B, torch.tensor([1.0, r3, r5], dtype=torch.float64))
    A, _ = transition("legt", 3)
    expected = torch.tensor([[1.0, -r3, r5], [r3, 3.0, -r15], [r5, r15, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(A, -expected)
    A, B = transition("lagt", 3)
    expected = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(A, -expected)
    torch.testing.assert_close(B, torch.ones(3, dtype=torch.float64))


def step_function(samples, order):
    """The projection of a function that stands still between samples, piece by piece in closed form."""
    edges = torch.linspace(0, 1, len(samples) + 1, dtype=torch.float64).numpy()
    found = []
    for n in range(order):
        # The integral of a Legendre polynomial is the difference of its neighbours.
        whole = (eval_legendre(n + 1, 2 * edges - 1) - eval_legendre(n - 1, 2 * edges - 1)) / (2 * (2 * n + 1))
        whole = edges if n == 0 else whole
        found.append(math.sqrt(2 * n + 1) * np.sum(np.diff(whole) * samples))
    return np.array(found)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 9))
def test_exact_steps_of_legs_give_the_projection_of_the_step_function_at_every_length(length, order):
    samples = torch.randn(1, length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    found = Projection(order, discretisation="exact")(samples)[0]
    for t in {0, length // 2, length - 1}:
        np.testing.assert_allclose(found[t], step_function(samples[0, : t + 1].numpy(), order), atol=1e-9)


def seen(function, length, span):
    """Samples at the end of each step, and their times."""
    times = span * torch.arange(1, length + 1, dtype=torch.float64) / length
    return torch.tensor([[function(t) for t in times.tolist()]], dtype=torch.float64)


@pytest.mark.parametrize("discretisation", ["backward", "bilinear", "exact"])
@pytest.mark.parametrize(
    ("measure", "function"), [("legs", polynomial), ("legt", polynomial), ("fout", waves), ("lagt", polynomial)]
)
def test_steps_come_near_the_projection_as_they_shrink(measure, function, discretisation):
    """Half a step, half the distance; after many windows, where what was before the first sample has gone."""
    order, span = 5, {"lagt": 25.0, "legs": 1.0}.get(measure, 8.0)
    window = 1.0
    expected = torch.from_numpy(
        projected(measure, order, lambda t: function(t) if t > 0 else 0.0, span, span if measure == "legs" else window)
    )
    errors = []
    for length in (1500, 3000):
        projection = Projection(order, measure=measure, window=length / span * window, discretisation=discretisation)
        errors.append(
            (projection(seen(function, length, span))[0, -1] - expected).norm().item() / expected.norm().item()
        )
    assert errors[1] < 0.15
    assert errors[1] < 0.65 * errors[0]


@pytest.mark.parametrize("measure", ["legs", "legt"])
def test_a_polynomial_of_low_degree_comes_back(measure):
    lags = torch.linspace(0, 1, 11, dtype=torch.float64)
    length = 2000
    projection = Projection(4, measure=measure, window=length / 2)
    span = 1.0 if measure == "legs" else 2.0
    coefficients = projection(seen(polynomial, length, span))[:, -1]
    past = torch.tensor([[polynomial(span - lag) for lag in lags.tolist()]], dtype=torch.float64)
    torch.testing.assert_close(projection.past(coefficients, lags), past, atol=0.03, rtol=0.03)


def test_the_best_fit_of_the_past_is_what_comes_back():
    samples = torch.randn(1, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    projection = Projection(8, discretisation="exact")
    lags = (torch.arange(300, dtype=torch.float64) + 0.5).flip(0) / 300
    fitted = torch.linalg.lstsq(basis("legs", 8, lags), samples[0]).solution
    mine = projection.past(projection(samples)[0, -1], lags)
    torch.testing.assert_close(mine, basis("legs", 8, lags) @ fitted, atol=5e-3, rtol=0)


def test_legs_has_no_timescale():
    """Every sample read three times in a row leaves the coefficients as they were."""
    samples = torch.randn(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    projection = Projection(6, discretisation="exact")
    slow = projection(samples.repeat_interleave(3, 1))[:, 2::3]
    torch.testing.assert_close(slow, projection(samples))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["legs", "legt", "lagt", "fout"]), st.integers(0, 12))
def test_reading_in_pieces_is_reading_at_once(measure, cut):
    samples = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0))
    projection = Projection(5, measure=measure, window=10.0)
    whole = projection(samples)
    first = projection(samples[:, :cut]) if cut else None
    if cut < 12:
        rest = projection(samples[:, cut:], None if first is None else first[:, -1], cut)
        torch.testing.assert_close(rest, whole[:, cut:])


def test_beyond_the_matrices_that_are_kept_it_goes_on():
    samples = torch.ones(1, KEPT + 3)
    found = Projection(3)(samples)[0]
    torch.testing.assert_close(found[-1], torch.tensor([1.0, 0.0, 0.0]), atol=5e-3, rtol=0)
    again = Projection(3)(samples[:, :1], found[None, -2], KEPT + 2)[0, 0]
    torch.testing.assert_close(again, found[-1])


def test_double_precision_is_double():
    samples = torch.ones(1, 30)
    projection = Projection(4, measure="legt", window=7.0)
    single, double = projection(samples), projection(samples.double())
    assert 0 < (single - double).abs().max().item() < 1e-5


def test_discretisations_of_one_equation():
    """c' = -c + f by hand, and the same transform with equal steps at both ends."""
    A, B, step = -torch.ones(1, 1).double(), torch.ones(1).double(), torch.tensor(0.5).double()
    for how, (a, b) in {
        "forward": (0.5, 0.5),
        "backward": (1 / 1.5, 0.5 / 1.5),
        "bilinear": (0.75 / 1.25, 0.5 / 1.25),
        "exact": (math.exp(-0.5), 1 - math.exp(-0.5)),
    }.items():
        found = discretise(A, B, step, how)
        torch.testing.assert_close(found[0].item(), a, atol=1e-6, rtol=0)
        torch.testing.assert_close(found[1].item(), b, atol=1e-6, rtol=0)
    uneven = generalised_bilinear(A, B, torch.tensor(0.5), torch.tensor(0.25).double())
    torch.testing.assert_close(uneven[0].item(), 0.75 / 1.125)


def test_what_cannot_be_projected_is_refused():
    with pytest.raises(UsageError, match="order must be greater than or equal to 1"):
        Projection(order=0)
    with pytest.raises(UsageError, match="measure must be 'legs', 'legt', 'lagt' or 'fout'"):
        Projection(4, measure="cheb")
    with pytest.raises(UsageError, match="length 1 or more"):
        Projection(4)(torch.ones(2, 0))
