"""A claim: what a system's paper says, as data that an experiment can be run from."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Claim:
    """What a paper says about its system, in a form that can be run.

    It holds when the paired difference between system and baseline over the seeds is on the claimed
    side with a one-sided 95 % confidence bound.

    Parameters
    ----------
    system, baseline:
        Names of learners, composed ones too (``"er+fpf"``). Where both are the same system with other
        settings, give them labels as ``"er#large"``: what follows ``#`` only tells them apart.
    says:
        What the paper says, in one sentence.
    stream:
        The recipe of the stream: ``{"source": "mnist", "scenarios": [["split", {"experiences": 5}]]}``.
        An option ``seed`` of a scenario is set by each run.
    metric:
        ``accuracy`` (final), ``forgetting``, ``worst_dip``, ``bytes``, ``updates``, or another name in
        a result's `metrics`.
    better:
        Which side the paper claims for the system.
    seeds:
        How many paired runs (5 or more).
    training:
        Settings that both share: ``model``, ``epochs``, ``batch_size``, ``limit`` (examples per
        experience, where the experiment is reduced)…
    settings:
        Fixed hyperparameters by learner.
    search:
        Grids of hyperparameters by learner; system and baseline get the same number of points, tuned on
        other class orders than those reported and never on the test data.
    budget:
        Bytes that both must keep to, ``"500KB"``; None where `equal` says what is equal instead.
    equal:
        What is equal between the two: bytes, updates, passes; and what is not, and why.
    reduced:
        How the experiment is smaller than the paper's.
    probe_every:
        Updates between probes, for metrics that need them; 0 for none.
    cause:
        What is known of why it is not shown, with the figures that say so; the docs print it where it is not.
    controls:
        Labels of learners that would give another reason for the difference (as many extra updates, a rate that is
        fixed), run with the same seeds. One that equals or beats the system topples the verdict. Without a grid of its
        own it takes the settings found for the side whose learner it is; its `settings` come before these.
    beside:
        Labels that are run with the same seeds and told, but not judged.
    limits:
        By hyperparameter the least and the largest value that a grid may be extended to; where left out, what the
        hyperparameter allows.
    paper_metric:
        What the paper reports, where it is not `metric`.
    """

    system: str
    baseline: str
    says: str
    stream: dict[str, Any]
    metric: str = "accuracy"
    better: Literal["higher", "lower"] = "higher"
    seeds: int = 5
    training: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    search: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    budget: str | None = None
    equal: str = ""
    reduced: str = ""
    probe_every: int = 0
    cause: str = ""
    controls: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    paper_metric: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Everything that is run: the two sides, then controls and what is told beside."""
        return (self.system, self.baseline, *self.controls, *self.beside)

    @property
    def name(self) -> str:
        """The system that the claim is about."""
        return about(self.system)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def about(label: str) -> str:
    """The system that a label is about; in a composed name the last, which is what was added.

    >>> about("er+fpf#frequent")
    'fpf'
    """
    return re.split(r"\+(?=[^+])", label.partition("#")[0])[-1]
