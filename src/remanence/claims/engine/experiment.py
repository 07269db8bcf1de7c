"""A claim about what no stream asks for: a measurement of its own, with system and baseline as its sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from remanence.claims.engine.claim import about


@dataclass(frozen=True)
class Measured:
    """What one side gave with one seed.

    Parameters
    ----------
    figures:
        By name; the claim's metric is one of them.
    bytes:
        What it holds, by kind.
    counts:
        Optimizer steps and the like, by name as in a learner's result.
    """

    figures: dict[str, float]
    bytes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """What a paper says about its system, as a measurement that can be run for each side.

    It holds when the paired difference between system and baseline over the seeds is on the claimed side
    with a one-sided 95 % confidence bound, as for a `Claim`.

    Parameters
    ----------
    system, baseline:
        The two sides, by label; what follows ``#`` only tells two of one name apart.
    says:
        What the paper says, in one sentence.
    measure:
        Called as ``measure(side, seed, held_out, **settings)`` with a label; a function of a module, so that
        other processes find it. With `held_out` it must look at no data that is reported: settings are
        chosen by what it gives then. Equal arguments must give equal figures.
    data:
        What is measured on, in a few words; the columns call it the stream.
    metric:
        The figure that is compared.
    better:
        Which side the paper claims for the system.
    seeds:
        How many paired runs (5 or more).
    settings:
        Fixed settings by label.
    search:
        Grids of settings by label; system and baseline get the same number of points.
    controls:
        Labels that would give another reason for the difference, measured with the same seeds. One that equals or beats
        the system topples the verdict.
    beside:
        Labels that are measured with the same seeds and told, but not judged.
    floors:
        Those of `beside` that the baseline must clearly be better than.
    chance:
        What an answer that looks at nothing has, which the baseline must clear, too; None where there is none.
    how:
        The data, its split and the figures, in as many words as it takes.
    equal, reduced, cause, limits, paper_metric:
        As in `Claim`.
    """

    system: str
    baseline: str
    says: str
    measure: Callable[..., Measured]
    data: str
    metric: str
    better: Literal["higher", "lower"] = "higher"
    seeds: int = 5
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    search: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()
    chance: float | None = None
    how: str = ""
    equal: str = ""
    reduced: str = ""
    cause: str = ""
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    paper_metric: str = ""

    @property
    def name(self) -> str:
        """The system that the claim is about."""
        return about(self.system)

    @property
    def stream(self) -> dict[str, Any]:
        """What is measured on, where a claim about learners has the recipe of its stream."""
        return {"source": self.data, "scenarios": []}

    @property
    def labels(self) -> tuple[str, ...]:
        """Everything that is measured."""
        return (self.system, self.baseline, *self.controls, *self.beside)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the measurement by its name."""
        data = asdict(self)
        return {**data, "measure": f"{self.measure.__module__}.{self.measure.__name__}", "stream": self.stream}
