"""Kalman filter: against ridge regression, against a loop over rows, and the gradient of its fading."""

from __future__ import annotations

import math

import pytest
import torch

import remanence as rm
from remanence.streams.examples import InMemory
from remanence.streams.experience import Experience
from remanence.weights.heads.kalman import Kalman


def rows(n: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=draw), torch.randint(3, (n,), generator=draw)


def learned(x: torch.Tensor, y: torch.Tensor, **settings: object) -> Kalman:
    return Kalman(4, **settings).learn(Experience(0, InMemory(x, y)))


def test_without_fading_it_is_ridge_regression():
    x, y = rows()
    learner = learned(x, y, delta=0.0, rate=0.0, prior=2.0, noise=0.3)
    phi = learner.features(x)
    gram = phi.T @ phi + 0.3 / 2.0 * torch.eye(5, dtype=torch.float64)
    assert torch.allclose(learner.mean, torch.linalg.solve(gram, phi.T @ learner.one_hot(y)), atol=1e-10)
    assert torch.allclose(learner.covariance, 0.3 * torch.linalg.inv(gram), atol=1e-10)


def test_with_fading_it_equals_a_filter_one_row_and_class_at_a_time():
    x, y = rows(30)
    learner = learned(x, y, delta=0.2, rate=0.0, batch_size=1, prior=0.7, noise=0.5)
    gamma = math.exp(-0.1)
    phi, target = learner.features(x), learner.one_hot(y)
    for k in range(3):
        mean, cov = torch.zeros(5, dtype=torch.float64), 0.7 * torch.eye(5, dtype=torch.float64)
        for row in range(30):
            mean, cov = gamma * mean, gamma**2 * cov + (1 - gamma**2) * 0.7 * torch.eye(5, dtype=torch.float64)
            gain = cov @ phi[row] / (0.5 + phi[row] @ cov @ phi[row])
            mean = mean + gain * (target[row, k] - phi[row] @ mean)
            cov = cov - torch.outer(gain, phi[row] @ cov)
        assert torch.allclose(learner.mean[:, k], mean, atol=1e-10)
    assert torch.allclose(learner.covariance, cov, atol=1e-10)
    assert learner.gamma == pytest.approx(gamma)


def test_the_gradient_of_the_fading_is_right():
    x, y = rows()
    learner = learned(x, y)
    phi, columns = learner.features(x[:6]), learner.columns(y[:6])
    noise = torch.randn(6, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fading = torch.tensor([0.3, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: learner.log_predictive(phi, columns, f, noise), fading)


def test_a_full_fade_starts_again_from_the_prior():
    x, y = rows()
    learner = learned(x, y, delta=100.0, rate=0.0, batch_size=60)
    assert torch.allclose(learner.mean, learned(x, y, delta=0.0, rate=0.0, batch_size=60).mean)
    again = learned(x, y, delta=100.0, rate=0.0, batch_size=60)
    again.learn(Experience(1, InMemory(x, y)))
    assert torch.allclose(learner.mean, again.mean, atol=1e-12)


def test_it_fades_right_after_the_labels_change():
    x, y = rows(1500)
    x[:, 0] += 3.0 * y
    learner = Kalman(4, noise=1.0, rate=0.01)
    changing = Experience(0, InMemory(x, (y + torch.arange(1500) // 300) % 3))
    gamma = torch.tensor([learner.gamma for _ in learner.steps(changing)])
    for change in (30, 60, 90, 120):
        assert gamma[change + 1 : change + 15].mean() < gamma[change - 10 : change].mean()


def test_the_covariance_stays_symmetric_and_positive():
    stream = rm.streams.split("digits", experiences=5)
    learner = rm.make("kalman", stream)
    for experience in stream.experiences():
        learner.learn(experience)
    assert torch.equal(learner.covariance, learner.covariance.T)
    assert float(torch.linalg.eigvalsh(learner.covariance).min()) > 0


def test_it_does_not_pretend_to_forget():
    x, y = rows()
    with pytest.raises(rm.errors.Unsupported):
        learned(x, y).forget(rm.Request(label=1))
