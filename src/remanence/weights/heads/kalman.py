"""Online classification by a Kalman filter that learns how fast to forget.

What is remembered is a Gaussian over the weights of a linear classifier: a mean for each class and one
covariance that all classes share. Each update first lets it fade towards the prior, at a rate learned from
how well the stream is predicted. It costs (inputs + 1)² × 8 bytes and as many operations a row.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.hyperparameters import validated
from remanence.models.closed_form import ClosedForm
from remanence.randomness import generator
from remanence.registry import Paper, system


@system(
    "kalman",
    paper=Paper(
        "Kalman Filter for Online Classification of Non-Stationary Data",
        "Titsias, Galashov, Rannen-Triki, Pascanu, Teh, Bornschein",
        2023,
        "2306.08448",
        173,
    ),
    baseline="kalman#fixed",
    tuning_note="noise among 0.1 and 1, rate among 0.001 to 0.1 on digits in two other class orders, by accuracy right "
    "before learning",
    variant="frozen features scaled to length one with a bias; fading and calibration learned, features not",
)
class Kalman(ClosedForm):
    """Kalman filter over the weights of a classifier, float64.

    The weights W of all classes drift, W ← γ W + √(1-γ²) noise with the variance σ_w² of the prior, so
    that γ = 1 never forgets and γ = 0 starts again. For a batch with features Φ and one-hot labels Y,

        M⁻ = γ M,                     A⁻ = γ² A + (1-γ²) σ_w² I,
        G = A⁻ Φᵀ (σ² I + Φ A⁻ Φᵀ)⁻¹,   M = M⁻ + G (Y - Φ M⁻),   A = A⁻ - G Φ A⁻.

    Fading suits streams that change, and is measured by what is asked right before it is learned: on
    digits class by class that accuracy rises from 0.81 without fading to 0.95. It fades what does not come
    back as well: the final accuracy over all classes falls from 0.94 to 0.20; ``delta=0, rate=0`` keeps it.

    Before each update, δ in γ = exp(-δ/2) and the calibration α follow the gradient of the batch's log predictive
    probability, log E softmax(α (Φ M⁻ + √v ε)) with v = φᵀ A⁻ φ, estimated with `samples` draws of ε.

    Parameters
    ----------
    inputs, encoder, seed, batch_size:
        As in `ClosedForm`. Fading happens once per update, so its rate is per batch.
    prior:
        Variance σ_w² of a weight before anything is seen (above 0).
    noise:
        Variance σ² of the targets (above 0).
    delta:
        δ at the start (0 or more).
    rate:
        Step size with which δ is learned (0 or more); 0 keeps it.
    calibration:
        Step size with which log α is learned (0 or more).
    samples:
        Draws of ε per row (1 or more).

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("kalman", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> 0 < learner.gamma <= 1
    True

    References
    ----------
    Titsias et al., Kalman Filter for Online Classification of Non-Stationary Data, 2023,
    arXiv:2306.08448.

    Departures
    ----------
    The paper also fine-tunes the features; here they are frozen. It reports neither step sizes nor the
    number of samples: those here are our own choices. Classes are added as columns of zeros when they
    appear, which for one-hot targets equals having had them from the start.
    """

    @validated
    def __init__(
        self,
        inputs: int,
        encoder: nn.Module | None = None,
        *,
        seed: int = 0,
        batch_size: int = 10,
        prior: Annotated[float, Field(gt=0, description="prior variance of a weight")] = 1.0,
        noise: Annotated[float, Field(gt=0, description="variance of the targets")] = 0.1,
        delta: Annotated[float, Field(ge=0, description="fading δ at the start, γ = exp(-δ/2)")] = 1e-3,
        rate: Annotated[float, Field(ge=0, description="step size of δ, 0: fixed")] = 1e-3,
        calibration: Annotated[float, Field(ge=0, description="step size of log α")] = 0.1,
        samples: Annotated[int, Field(ge=1, description="draws per row of the predictive")] = 100,
    ) -> None:
        super().__init__(inputs, encoder, seed=seed, batch_size=batch_size)
        self.prior, self.noise, self.rate = prior, noise, rate
        self.calibration, self.samples = calibration, samples
        width = inputs + 1
        self.register_buffer("mean", torch.zeros(width, 0, dtype=torch.float64))
        self.register_buffer("covariance", prior * torch.eye(width, dtype=torch.float64))
        self.register_buffer("fading", torch.tensor([delta, 0.0], dtype=torch.float64))  # δ and log α
        self.register_buffer("absorbed", torch.zeros((), dtype=torch.int64))
        self.mean: Tensor
        self.covariance: Tensor
        self.fading: Tensor
        self.absorbed: Tensor

    @property
    def gamma(self) -> float:
        """What the weights are multiplied with before each update."""
        return math.exp(-float(self.fading[0]) / 2)

    def features(self, x: Tensor) -> Tensor:
        found = nn.functional.normalize(super().features(x), dim=1)
        return torch.cat([found, found.new_ones(len(found), 1)], 1)

    def _widen(self, old: int, new: int) -> None:
        self.mean = torch.cat([self.mean, self.mean.new_zeros(len(self.mean), new - old)], 1)

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        columns = self.columns(y)
        if self.rate or self.calibration:
            self._learn_fading(features, columns)
        self.absorbed += 1
        gamma = self.gamma
        mean = gamma * self.mean
        covariance = gamma**2 * self.covariance
        covariance.diagonal().add_((1 - gamma**2) * self.prior)
        projected = covariance @ features.T
        inner = features @ projected
        inner.diagonal().add_(self.noise)
        gain = torch.cholesky_solve(projected.T, torch.linalg.cholesky(inner)).T
        self.mean = mean + gain @ (self.one_hot(y) - features @ mean)
        covariance = covariance - gain @ projected.T
        self.covariance = (covariance + covariance.T) / 2

    def log_predictive(self, features: Tensor, columns: Tensor, fading: Tensor, noise: Tensor) -> Tensor:
        """Mean log probability of the labels before they are learned, for draws `noise` (rows, samples, classes)."""
        gamma = torch.exp(-fading[0] / 2)
        held = (features @ self.covariance * features).sum(1)
        prior = self.prior * features.square().sum(1)
        spread = (gamma**2 * held + (1 - gamma**2) * prior).clamp(min=1e-12).sqrt()
        logits = gamma * (features @ self.mean).unsqueeze(1) + spread[:, None, None] * noise
        found = torch.log_softmax(fading[1].exp() * logits, 2)
        mine = found.gather(2, columns[:, None, None].expand(-1, noise.shape[1], 1)).squeeze(2)
        return (torch.logsumexp(mine, 1) - math.log(noise.shape[1])).mean()

    def _learn_fading(self, features: Tensor, columns: Tensor) -> None:
        draw = generator(self.seed, "predictive", int(self.absorbed))
        shape = (len(features), self.samples, len(self.classes))
        noise = torch.randn(shape, generator=draw, dtype=torch.float64).to(features.device)
        with torch.enable_grad():
            fading = self.fading.detach().clone().requires_grad_()
            slope = torch.autograd.grad(self.log_predictive(features, columns, fading, noise), fading)[0]
        moved = self.fading + torch.stack([self.rate * slope[0], self.calibration * slope[1]])
        self.fading = torch.stack([moved[0].clamp(min=0.0), moved[1]])

    def _scores(self, features: Tensor) -> Tensor:
        """Logits of the predictive, its integral over the weights approximated as MacKay (1992) does."""
        spread = (features @ self.covariance * features).sum(1, keepdim=True)
        scale = self.fading[1].exp()
        return scale * (features @ self.mean) / (1 + math.pi / 8 * scale**2 * spread).sqrt()
