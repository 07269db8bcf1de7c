"""Entmax: sorting against bisection, the two ends against their formulas, gradients against differences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from remanence.context.layers.entmax import bisect, conjugate, entmax
from remanence.errors import UsageError

ROWS = st.lists(st.floats(-20, 20), min_size=1, max_size=9).map(lambda row: torch.tensor(row, dtype=torch.float64))


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([1.5, 2.0]))
def test_sorting_gives_what_bisection_gives(scores, alpha):
    torch.testing.assert_close(entmax(scores, alpha), bisect(scores, torch.tensor(alpha)), atol=1e-7, rtol=0)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.floats(1, 2))
def test_shares_solve_the_problem_they_are_said_to_solve(scores, alpha):
    shares = entmax(scores, alpha)
    assert float(shares.sum()) == pytest.approx(1)
    assert (shares >= 0).all()
    if alpha < 1.001:
        return
    # Where a share is above zero the derivative of ⟨p, z⟩ + H(p) is one multiplier, elsewhere it is at most that.
    slope = scores - shares.clamp(min=0).pow(alpha - 1) / (alpha - 1)
    multiplier = slope[shares > 1e-9].mean()
    torch.testing.assert_close(
        slope[shares > 1e-9], multiplier.expand(int((shares > 1e-9).sum())), atol=1e-4, rtol=1e-4
    )
    assert (slope <= multiplier + 1e-4).all()


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_near_one_it_is_softmax_and_sparsemax_is_the_nearest_point_of_the_simplex(scores):
    torch.testing.assert_close(entmax(scores, torch.tensor(1.0)), scores.softmax(-1), atol=1e-6, rtol=0)
    nearest = entmax(scores, 2.0)
    draw = torch.Generator().manual_seed(0)
    others = torch.rand(200, len(scores), generator=draw, dtype=torch.float64)
    others = torch.cat([others / others.sum(1, keepdim=True), torch.eye(len(scores), dtype=torch.float64)])
    assert ((scores - nearest).square().sum() <= (scores - others).square().sum(1) + 1e-9).all()


def test_more_alpha_gives_more_zeros():
    scores = torch.linspace(-1, 1, 50)
    zeros = [int((entmax(scores, alpha) == 0).sum()) for alpha in (1.0, 1.25, 1.5, 2.0)]
    assert zeros == sorted(zeros) and zeros[0] == 0 < zeros[2] < zeros[3]


@pytest.mark.parametrize("alpha", [1.0, 1.05, 1.3, 1.5, 1.9, 2.0])
def test_gradients_of_scores(alpha):
    scores = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: entmax(z, alpha), (scores,))


@pytest.mark.parametrize("alpha", [1.02, 1.3, 1.5, 1.9])
def test_gradients_of_alpha_one_for_all_rows_or_one_a_row(alpha):
    scores = torch.randn(3, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    one = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
    many = torch.full((3, 1), alpha, dtype=torch.float64, requires_grad=True)
    for given_alpha in (one, many):
        assert torch.autograd.gradcheck(entmax, (scores, given_alpha), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 1.0001, 1.5, 1.7, 2.0])
def test_what_is_masked_gets_nothing_and_the_rest_what_it_would_get_alone(alpha):
    scores = torch.tensor([[0.3, -torch.inf, 0.1, -torch.inf], [-torch.inf, -torch.inf, 2.0, -torch.inf]])
    for kind in (alpha, torch.tensor(alpha)):
        shares = entmax(scores, kind)
        torch.testing.assert_close(shares[0, [0, 2]], entmax(torch.tensor([0.3, 0.1]), alpha), atol=1e-4, rtol=0)
        assert shares[0, [1, 3]].tolist() == [0, 0] and shares[1].tolist() == [0, 0, 1, 0]


def test_no_score_is_too_large_for_single_precision():
    scores = torch.tensor([1e4, 1e4 - 1, -1e4])
    for alpha in (1.0, 1.001, 1.3, 1.5, 2.0):
        shares = entmax(scores, torch.tensor(alpha))
        assert float(shares.sum()) == pytest.approx(1, abs=1e-5) and float(shares[0]) >= float(shares[1])


@settings(deadline=None, max_examples=60)
@given(ROWS, st.floats(1, 2))
def test_the_gradient_of_the_conjugate_is_the_shares(scores, alpha):
    alpha = 1.0 if alpha < 1.01 else alpha
    scores = scores.requires_grad_()
    (gradient,) = torch.autograd.grad(conjugate(scores, alpha), scores)
    torch.testing.assert_close(gradient, entmax(scores.detach(), alpha), atol=1e-4, rtol=1e-4)


def test_alpha_out_of_range_is_refused():
    with pytest.raises(UsageError, match=r"alpha is 2\.5"):
        entmax(torch.zeros(3), 2.5)
