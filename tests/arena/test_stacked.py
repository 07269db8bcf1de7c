"""Seeds trained together in a run: the same figures as one by one, and a crash that changes nothing."""

import dataclasses

import pytest

from remanence.arena.config import RunConfig
from remanence.arena.job import Settings
from remanence.arena.parallel import plan, run_all
from remanence.arena.stacked import StackedJob
from remanence.errors import Unsupported
from remanence.recipe import Recipe
from remanence.streams import build


def config(**more):
    return RunConfig.read({"stream": "digits", "learners": ["er", "ncm"], "seeds": 3, "probe_every": 10, **more})


def test_stacked_seeds_score_as_they_do_one_by_one(tmp_path):
    told = []
    together = run_all(config(stack=True), tmp_path / "stacked", say=told.append)
    apart = run_all(config(), tmp_path / "apart")
    assert [(r.learner, r.seed) for r in together] == [(r.learner, r.seed) for r in apart]
    for a, b in zip(together, apart, strict=True):
        assert a.accuracy == pytest.approx(b.accuracy, abs=0.03)
        assert a.updates == b.updates
        assert a.bytes == b.bytes
        assert [p.update for p in a.probes] == [p.update for p in b.probes]
    assert len(told) == 1
    assert "ncm is trained seed by seed" in told[0]


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [5, 40, 100])
def test_an_interrupted_stack_ends_as_an_undisturbed_one(tmp_path, stop):
    jobs = [job for job in plan(config()) if job["recipe"]["system"] == "er"]

    def stacked(folder, progress=None):
        places = [folder / str(number) for number in range(3)]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        streams = [build(job["stream"]) for job in jobs]
        recipe = Recipe.from_dict(jobs[0]["recipe"])
        return StackedJob(recipe, [0, 1, 2], streams, places, Settings(10), [progress] * 3)

    def interrupt(record, stream):
        if record.counts["updates"] == stop:
            raise Stop

    whole = stacked(tmp_path / "whole").run()
    with pytest.raises(Stop):
        stacked(tmp_path / "cut", interrupt).run()
    resumed = stacked(tmp_path / "cut").run()
    assert [dataclasses.replace(r, seconds={}) for r in resumed] == [dataclasses.replace(r, seconds={}) for r in whole]


def test_asking_before_learning_cannot_be_stacked(tmp_path):
    job = plan(config())[0]
    stream = build(job["stream"])
    with pytest.raises(Unsupported, match="leave --stack out"):
        StackedJob(Recipe.from_dict(job["recipe"]), [0], [stream], [None], Settings(0, online=True), [None])
