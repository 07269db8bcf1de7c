"""One learner on one stream: drive it, probe it, keep checkpoints, and go on after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from remanence.arena import metrics
from remanence.arena.evaluate import OnlineScore, score, score_before_learning
from remanence.arena.result import Probe, Result
from remanence.errors import Diverged, StateError, UsageError
from remanence.factory import refuse_unmet
from remanence.learner import Learner
from remanence.streams.experience import Stream
from remanence.update import Update

COUNTS = ("updates", "examples", "rehearsed", "forwards", "backwards", "steps")


@dataclass
class Record:
    """What the arena itself has to remember of a run; saved in the same file as the learner."""

    experience: int = 0
    k: int = 0
    segment: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    before: list[float | None] = field(default_factory=list)
    matrix: list[list[float | None]] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    bytes_after: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"learning": 0.0, "evaluation": 0.0})
    online: OnlineScore = field(default_factory=OnlineScore)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        probes = [Probe(**probe) for probe in data["probes"]]
        return cls(**{**data, "probes": probes, "online": OnlineScore(**data["online"])})


@dataclass(frozen=True)
class Settings:
    """How a run is watched.

    Parameters
    ----------
    probe_every:
        Updates between probes inside experiences; 0 for none, None for about twenty an experience.
    online:
        Ask about every new batch before it is learned (always so on prequential streams).
    checkpoint:
        File to keep the run in, None for none.
    every_seconds, every_updates:
        A checkpoint is written at boundaries, and between two updates when either has passed.
    """

    probe_every: int | None = None
    online: bool = False
    checkpoint: Path | None = None
    every_seconds: float = 60.0
    every_updates: int = 5000


Progress = Callable[[Record, Stream], None]
Log = Callable[[int, dict[str, float]], None]


class Job:
    """Drives one learner through one stream.

    Parameters
    ----------
    learner:
        Anything that honours the contract, new or just resumed.
    stream:
        The stream, whole; the learner sees the disclosed views only.
    settings:
        How it is watched.
    progress:
        Called after every update with the record so far.
    log:
        Called with the number of updates and named values at every probe.
    """

    def __init__(
        self,
        learner: Learner,
        stream: Stream,
        settings: Settings | None = None,
        progress: Progress | None = None,
        log: Log | None = None,
    ) -> None:
        self.learner, self.stream = learner, stream
        self.settings = settings or Settings()
        self.progress, self.log = progress, log
        self.record = Record()
        self._online = self.settings.online or stream.prequential
        self._saved_at = time.monotonic()
        self._marks = stream.segment_ends

    def run(self) -> Result:
        """Run to the end, from the checkpoint if there is one."""
        self._resume()
        status, notes = "finished", dict(self.stream.notes or {})
        with one_thread():
            try:
                for _ in self._updates():
                    if self.progress is not None:
                        self.progress(self.record, self.stream)
            except Diverged as error:
                status, notes["stopped"] = "diverged", str(error)
        return self.result(status, notes)

    def _resume(self) -> None:
        path = self.settings.checkpoint
        if path is not None and path.exists():
            try:
                self.record = Record.from_dict(self.learner.load_state(path))
            except (StateError, KeyError, TypeError) as error:
                reason = (
                    str(error).partition(": use ")[0]
                    if isinstance(error, StateError)
                    else f"{path} is of another version"
                )
                raise StateError(f"{reason}: remove {path}, and the same command runs this learner anew") from None

    def _updates(self) -> Iterator[Update]:
        record = self.record
        if not record.before and not record.counts["updates"]:
            record.before = self.scores()
        for experience in self.stream.experiences():
            if experience.index < record.experience:
                continue
            if self._online:
                experience = score_before_learning(experience, self.learner, self.stream, record.online)
            every = self.updates_between_probes(len(experience.examples))
            updates = self.learner.steps(experience, record.k)
            while (update := self._next(updates)) is not None:
                self.count(update)
                if every and record.k % every == 0:
                    self.probe()
                if not experience.boundary:
                    self._cross_marks()
                self._keep_now_and_then()
                yield update
            while record.segment < (experience.index + 1 if experience.boundary else len(self._marks)):
                self.close_segment()
            record.experience, record.k = experience.index + 1, 0
            record.online.passed = 0
            self._keep()

    def _next(self, updates: Iterator[Update]) -> Update | None:
        begun, asked = time.perf_counter(), self.record.online.seconds
        update = next(updates, None)
        asking = self.record.online.seconds - asked
        self.record.seconds["learning"] += time.perf_counter() - begun - asking
        self.record.seconds["evaluation"] += asking
        return update

    def count(self, update: Update) -> None:
        counts = self.record.counts
        counts["updates"] += 1
        for name in COUNTS[1:]:
            counts[name] += getattr(update, name)
        self.record.k += 1

    # Measuring

    def updates_between_probes(self, rows: int) -> int:
        if self.settings.probe_every is not None:
            return self.settings.probe_every
        settings = getattr(self.learner, "training_settings", None)
        updates = rows * (settings.epochs if settings is not None else 1) / self.learner.batch_size
        probes = getattr(self.learner, "probes", 20)
        return max(1, round(updates / (probes if self.stream.disclosure.boundaries else probes * len(self.stream))))

    def probe(self) -> None:
        record = self.record
        if self.stream.prequential:
            scores = [OnlineScore.score(record.online.window, self.stream.task)]
            record.online.window = [0.0, 0.0]
        else:
            scores = self.scores(upto=record.segment)
        record.probes.append(Probe(record.counts["updates"], record.segment, scores))
        if self.log is not None:
            values = {f"score/{place}": value for place, value in enumerate(scores) if value is not None}
            self.log(record.counts["updates"], values)

    def scores(self, upto: int | None = None) -> list[float | None]:
        begun = time.perf_counter()
        paired = len(self.stream.tests) == len(self.stream)
        scores: list[float | None] = [
            None if upto is not None and paired and place > upto else score(self.learner, test, self.stream)
            for place, test in enumerate(self.stream.tests)
        ]
        self.record.seconds["evaluation"] += time.perf_counter() - begun
        return scores

    def _cross_marks(self) -> None:
        """Where boundaries are hidden, the rows that have passed tell where a segment ended."""
        while (
            self.record.segment < len(self._marks)
            and self.record.counts["examples"] >= self._marks[self.record.segment]
        ):
            self.close_segment()

    def close_segment(self) -> None:
        record = self.record
        if self.stream.prequential:
            record.matrix.append([OnlineScore.score(record.online.experience, self.stream.task)])
            record.online.experience = [0.0, 0.0]
        else:
            record.matrix.append(self.scores())
        record.bytes_after.append(self.learner.footprint().total)
        record.segment += 1

    # Keeping

    def _keep_now_and_then(self) -> None:
        due = time.monotonic() - self._saved_at >= self.settings.every_seconds
        if due or self.record.counts["updates"] % self.settings.every_updates == 0:
            self._keep()

    def _keep(self) -> None:
        if self.settings.checkpoint is not None:
            self.learner.save(self.settings.checkpoint, asdict(self.record))
            self._saved_at = time.monotonic()

    def result(self, status: str, notes: dict[str, Any]) -> Result:
        record, stream, learner = self.record, self.stream, self.learner
        final: float | None = None
        if status == "finished":
            if stream.prequential:
                final = OnlineScore.score(record.online.whole, stream.task)
            else:
                final = metrics.average_accuracy(record.matrix)
        figures = metrics.summarise(
            record.matrix if not stream.prequential else [],
            record.before,
            record.probes,
            record.bytes_after,
            stream.task.higher_is_better,
        )
        if self._online:
            figures["online_accuracy"] = OnlineScore.score(record.online.whole, stream.task)
        recipe = learner.recipe
        return Result(
            learner=recipe.system if recipe else type(learner).__name__,
            seed=learner.seed,
            status=status,
            metric=stream.task.metric,
            accuracy=final,
            matrix=record.matrix,
            before=record.before,
            forgetting=figures.get("forgetting"),
            worst_dip=figures.get("worst_dip"),
            metrics=figures,
            bytes=learner.footprint().as_dict(),
            bytes_after=record.bytes_after,
            updates=dict(record.counts),
            seconds={name: round(value, 4) for name, value in record.seconds.items()},
            probes=record.probes,
            tests=[test.name for test in stream.tests] or [segment.name for segment in stream.segments],
            reference=learner.reference,
            notes=notes if recipe is None or recipe.budget is None else {**notes, "budget": recipe.budget},
            distances=list(stream.distances),
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, so that any number of jobs gives the same bits; as before outside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_fits(learner: Learner, stream: Stream, name: str, online: bool = False) -> None:
    """Refuse a learner on a stream before anything is trained; `online` is that of `Settings`."""
    if online and stream.task.about_records:
        raise UsageError(f"the examples of {stream.name} are records, which have no answers to score: leave online out")

    refuse_unmet(name, learner.needs, stream)
    if stream.task.kind not in learner.tasks:
        able = ", ".join(sorted(learner.tasks))
        raise UsageError(
            f"{name} does {able}, the stream {stream.name} asks for {stream.task.kind}: choose another learner"
        )
    learner.enforce_budget()
