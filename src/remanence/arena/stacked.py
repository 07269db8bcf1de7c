"""The seeds of one learner trained together (`--stack`), each measured and kept as a run of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from remanence.arena.job import Job, Progress, Record, Settings, one_thread
from remanence.arena.result import Result
from remanence.errors import StateError, Unsupported
from remanence.factory import build, refuse_unmet
from remanence.recipe import Recipe
from remanence.state import read_state
from remanence.streams.experience import Experience, Stream
from remanence.weights.stacked import StackedTrainer


class StackedJob:
    """Drives several seeds at once.

    Parameters
    ----------
    recipe:
        The recipe that all seeds share, whatever seed it names.
    seeds:
        Which.
    streams:
        The stream of each seed, with as many experiences and classes in the same order.
    folders:
        Where each seed keeps its checkpoints, None for none.
    settings:
        How they are watched; `checkpoint` is not used.
    progress:
        Called after every update with the record of each seed.

    Raises
    ------
    Unsupported
        If the learner or the stream cannot be stacked.
    """

    def __init__(
        self,
        recipe: Recipe,
        seeds: Sequence[int],
        streams: Sequence[Stream],
        folders: Sequence[Path | None],
        settings: Settings,
        progress: Sequence[Progress | None],
    ) -> None:
        if settings.online or streams[0].prequential:
            raise Unsupported("asking about every batch before it is learned goes seed by seed: leave --stack out")
        self.stacked: StackedTrainer = stack(recipe, list(seeds), streams[0])
        self.folders = folders
        alone = replace(settings, checkpoint=None)
        self.jobs = [
            Job(learner, stream, alone, told)
            for learner, stream, told in zip(self.stacked.learners(), streams, progress, strict=True)
        ]

    def run(self) -> list[Result]:
        """Run to the end, from the last boundary at which all seeds were kept."""
        self._resume()
        with one_thread():
            for job in self.jobs:
                if not job.record.before:
                    job.record.before = job.scores()
            for experiences in zip(*(job.stream.experiences() for job in self.jobs), strict=True):
                if experiences[0].index >= self.jobs[0].record.experience:
                    self._learn(list(experiences))
        stopped = self.stacked.stopped
        return [
            job.result("diverged", {"stopped": stopped[job.learner.seed]})
            if job.learner.seed in stopped
            else job.result("finished", {**(job.stream.notes or {}), "stacked": len(self.jobs)})
            for job in self.jobs
        ]

    def _learn(self, experiences: list[Experience]) -> None:
        every = self.jobs[0].updates_between_probes(len(experiences[0].examples))
        begun = time.perf_counter()
        for updates in self.stacked.steps(experiences):
            spent = (time.perf_counter() - begun) / len(self.jobs)
            going = [(job, update) for job, update in zip(self.jobs, updates, strict=True) if update is not None]
            for job, update in going:
                job.record.seconds["learning"] += spent
                job.count(update)
            if every and going and going[0][0].record.k % every == 0:
                self.stacked.learners()  # brings what was learned into the seeds' own learners
                for job, _ in going:
                    job.probe()
            for job, _ in going:
                if job.progress is not None:
                    job.progress(job.record, job.stream)
            begun = time.perf_counter()
        for job in self.jobs:
            if job.learner.seed not in self.stacked.stopped:
                job.close_segment()
            job.record.experience, job.record.k = experiences[0].index + 1, 0
        self._keep()

    # Two files take turns, so that a crash between two seeds leaves a boundary at which all were kept.

    def _keep(self) -> None:
        for job, folder in zip(self.jobs, self.folders, strict=True):
            if folder is not None:
                job.learner.save(folder / f"checkpoint-{job.record.experience % 2}.safetensors", asdict(job.record))

    def _resume(self) -> None:
        kept = [self._kept(folder) for folder in self.folders]
        common = set.intersection(*(set(found) for found in kept))
        if not common:
            return
        last = max(common)
        for job, found in zip(self.jobs, kept, strict=True):
            job.record = Record.from_dict(job.learner.load_state(found[last]))

    @staticmethod
    def _kept(folder: Path | None) -> dict[int, Path]:
        found = {}
        for path in sorted(folder.glob("checkpoint-*.safetensors")) if folder is not None else ():
            header = read_state(path)[1]
            if "experience" not in header.get("beside", {}):
                raise StateError(f"{path} is not a checkpoint of a run: choose another folder with --out")
            found[header["beside"]["experience"]] = path
        return found


def stack(recipe: Recipe, seeds: Sequence[int], stream: Stream) -> StackedTrainer:
    """Seeds of one recipe, to be trained together.

    Parameters
    ----------
    recipe:
        Of any of the seeds; its own seed is not used.
    seeds:
        One or more.
    stream:
        What they will learn; that it discloses what they need is checked.

    Raises
    ------
    Unsupported
        If the learner cannot be stacked.
    NeedsError
        If it needs what the stream hides.

    Example
    -------
    >>> import remanence as rm
    >>> from remanence.factory import recipe_for
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> together = stack(recipe_for("er", stream), [0, 1, 2], stream)
    >>> for experience in stream.experiences():
    ...     _ = together.learn(experience)
    >>> [answer.scores.shape for answer in together.predict(stream.tests[0].x[:7])]
    [torch.Size([7, 10]), torch.Size([7, 10]), torch.Size([7, 10])]
    """
    learners = [build(replace(recipe, seed=seed)) for seed in seeds]
    for learner in learners:
        refuse_unmet(recipe.system, learner.needs, stream)
    if not all(segment.labelled for segment in stream.segments):
        raise Unsupported(f"the stream {stream.name} hides labels: run the seeds one by one")
    if not stream.disclosure.classes and stream.task.kind == "classification":
        raise Unsupported(
            f"the stream {stream.name} does not tell its classes, so the seeds' heads would grow at different "
            "updates: run the seeds one by one"
        )
    return StackedTrainer(learners)
