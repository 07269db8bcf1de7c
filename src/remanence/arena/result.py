"""What one learner showed on one stream with one seed: plain numbers that go to JSON and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Probe:
    """A measurement taken while the stream runs.

    `update` counts the updates so far, `experience` is the one being learned (-1 before the first),
    `scores` holds the metric on each test set in order, None for one that was not asked yet.
    """

    update: int
    experience: int
    scores: list[float | None]


@dataclass(frozen=True)
class Result:
    """One row of ``results.json``.

    Parameters
    ----------
    learner, seed:
        Which run this is.
    status:
        ``finished``, ``diverged`` where the loss became NaN, or ``refused`` where the budget did not suffice.
    accuracy:
        Final score, mean over test sets (prequential: mean over the whole stream). None unless finished.
        The metric is named by `metric`; for regression it is the root mean squared error.
    matrix:
        Row i: the score on each test set after experience i (prequential: one score per experience).
    before:
        The score on each test set before anything was learned.
    forgetting, worst_dip, backward_transfer, forward_transfer, min_acc, wc_acc, …:
        In `metrics`, by name; the first two are also fields since everybody asks for them.
    bytes:
        Bytes by kind at the end, and ``total``.
    bytes_after:
        Total bytes after each experience.
    updates:
        Counts of updates, examples, rehearsed rows, forward and backward rows, optimizer steps.
    seconds:
        ``learning`` and ``evaluation``.
    probes:
        Every probe in order.
    reference:
        True for rows such as joint training that stand outside any budget.
    notes:
        Whatever the report shall say (imputed values, variant, why it stopped…).
    distances:
        As in `Stream.distances`: tokens between what is asked about and its question, by experiences since.
    """

    learner: str
    seed: int
    status: str = "finished"
    metric: str = "accuracy"
    accuracy: float | None = None
    matrix: list[list[float | None]] = field(default_factory=list)
    before: list[float | None] = field(default_factory=list)
    forgetting: float | None = None
    worst_dip: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    bytes_after: list[int] = field(default_factory=list)
    updates: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    probes: list[Probe] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    reference: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    distances: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        return cls(**{**data, "probes": [Probe(**probe) for probe in data["probes"]]})
