"""A system led along its small stream once, with what happened on the way."""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from remanence import streams
from remanence.arena.evaluate import score
from remanence.composition import Composition, compose
from remanence.factory import build, recipe_for
from remanence.learner import Learner
from remanence.runner import Small
from remanence.streams import Stream
from remanence.testing.exercise import Exercise
from remanence.training import Training

BESIDE = 5
"""Updates that sessions take beside the learner."""


@dataclass(frozen=True)
class Place:
    """A state that was saved on the way: after which update of which experience."""

    path: str
    experience: int
    k: int
    fingerprint: str


@dataclass
class Walk:
    """What was seen on the way.

    `before` and `after` hold the score on each experience's own test set before and right after it was learned,
    `end` those on all of them at the end. Fingerprints are of the learner's whole state: `then` where it was kept as
    a snapshot, `whole` at the end.
    """

    name: str
    system: Composition
    stream: Stream
    learner: Learner
    exercise: Exercise
    untaught: list[int]
    kept: tempfile.TemporaryDirectory[str]
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    asked: dict[str, bool] = field(default_factory=dict)
    sessions: dict[str, bool] = field(default_factory=dict)
    then: str = ""
    whole: str = ""
    path: str = ""

    @property
    def task(self) -> int | None:
        """The task id that the first experience's questions come with, where the stream tells."""
        return self.stream.tests[0].task if self.stream.disclosure.test_task_ids else None


@functools.lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="remanence-contract-")


def models() -> Path:
    """Where small models lie that several systems are tested on: one folder for a run, or the one that the environment names."""
    return Path(os.environ.get("REMANENCE_TEST_MODELS") or _folder().name)


def made(system: Composition, like: Small | None = None) -> tuple[Learner, Stream]:
    """A new learner and its small stream, or one on the stream and with the settings that another system has."""
    small = system.small(models()) if like is None else like
    stream = streams.build(small.stream)
    known = {h.name for card in system.systems for h in card.hyperparameters} | set(Training.model_fields)
    settings = {key: value for key, value in small.settings.items() if like is None or key in known}
    return build(recipe_for(system, stream, model=small.model, settings=settings), composed=system), stream


@functools.lru_cache(maxsize=2)
def walk(name: str) -> Walk:
    """Lead a system along its small stream; the last two walks are kept, so that all checks of a system share one.

    Parameters
    ----------
    name:
        A system, or several joined by ``+``; a system that goes with a host is run behind it.
    """
    system = compose(name)
    exercise = Exercise(system.systems)
    with exercise.watching():
        return _walked(system, exercise)


def _walked(system: Composition, exercise: Exercise) -> Walk:
    learner, stream = made(system)
    kept = tempfile.TemporaryDirectory(prefix="remanence-walk-")
    untaught = learner.predict(stream.tests[0].x[:3]).labels.tolist()
    taken = Walk(system.name, system, stream, learner, exercise, untaught, kept)
    for experience in stream.experiences():
        test = stream.tests[min(experience.index, len(stream.tests) - 1)]
        taken.before.append(score(learner, test, stream))
        k = 0
        for k, _ in enumerate(learner.steps(experience), 1):
            if (experience.index, k) in ((0, 1), (1, 3)):
                taken.places.append(_saved(taken, experience.index, k))
            if (experience.index, k) == (0, 2):
                _look(taken)
        taken.after.append(score(learner, test, stream))
        if experience.index == 0:
            learner.snapshot("then")
            taken.then = learner.fingerprint()
        if experience.index == 1:
            taken.places.append(_saved(taken, 1, k))
    taken.end = [score(learner, test, stream) for test in stream.tests]
    taken.whole = learner.fingerprint()
    taken.path = str(Path(kept.name) / "end.safetensors")
    learner.save(taken.path)
    return taken


def _saved(taken: Walk, experience: int, k: int) -> Place:
    path = str(Path(taken.kept.name) / f"{experience}-{k}.safetensors")
    taken.learner.save(path)
    return Place(path, experience, k, taken.learner.fingerprint())


def _look(taken: Walk) -> None:
    """In the middle of an experience: ask, and let two sessions go on by themselves."""
    learner, stream = taken.learner, taken.stream
    x = stream.tests[0].x[:40]
    state, modes = learner.fingerprint(), [module.training for module in learner.modules()]
    random = torch.get_rng_state()
    first, again = learner.predict(x, taken.task), learner.predict(x, taken.task)
    taken.asked = {
        "the same question got another answer the second time": torch.equal(first.scores, again.scores)
        and first.texts == again.texts,
        "asking changed the learner's state": learner.fingerprint() == state,
        "asking left a module in another mode": [module.training for module in learner.modules()] == modes,
        "asking drew from the global generator": torch.equal(torch.get_rng_state(), random),
    }
    one, other = learner.session(), learner.session()
    taken.sessions = {
        "a session begins with another state": one.fingerprint() == state,
        "a session's answer that may adapt differs from the plain one": torch.equal(
            one.adapt(x, taken.task).scores, first.scores
        ),
    }
    go_on(other, stream, (0, 2), BESIDE)
    go_on(one, stream, (0, 2), BESIDE)
    taken.sessions["what a session learned reached the learner"] = learner.fingerprint() == state
    taken.sessions["a session learned nothing"] = other.fingerprint() != state


def go_on(learner: Learner, stream: Stream, at: tuple[int, int], updates: int | None = None) -> None:
    """Learn on from after so many updates of an experience, to the end of the stream or for so many updates."""
    index, k = at
    for experience in itertools.islice(stream.experiences(), index, None):
        for _ in learner.steps(experience, k):
            if updates is not None:
                updates -= 1
                if updates == 0:
                    return
        k = 0
