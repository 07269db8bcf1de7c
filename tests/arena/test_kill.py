"""``kill -9`` at any moment: the same command goes on and ends with the same results."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from remanence.arena.config import RunConfig
from remanence.arena.parallel import CHECKPOINT, RESULT, execute, plan
from remanence.factory import load

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this machine has no fork to kill a child with")

LEARNERS = ["er", "ewc", "gem", "g-acil", "der++", "joint"]


def without_times(result):
    return {key: value for key, value in result.items() if key != "seconds"}


def run_in_child(job, folder):
    """Start the job in a process of its own, which exits with 0 when it is done."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            execute(job, str(folder))
            status = 0
        finally:
            os._exit(status)
    return child


def kill_many_times(job, folder, kills, seed):
    """Kill the job at random moments until it has been killed often enough, then let it finish."""
    draw = random.Random(seed)
    begun = time.monotonic()
    os.waitpid(run_in_child(job, folder / "timing"), 0)
    whole = time.monotonic() - begun
    killed = 0
    while killed < kills:
        child = run_in_child(job, folder)
        time.sleep(draw.uniform(0, whole / 3))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += 1
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            for path in (folder / "jobs" / job["folder"]).iterdir():
                path.unlink()  # it was done before the kill came: start over
        checkpoint = folder / "jobs" / job["folder"] / CHECKPOINT
        if checkpoint.exists():
            load(checkpoint)  # always whole
    _, status = os.waitpid(run_in_child(job, folder), 0)
    assert status == 0
    return json.loads((folder / "jobs" / job["folder"] / RESULT).read_text())


def jobs_of(learners):
    config = RunConfig.read({"stream": "digits", "learners": learners, "seeds": 1, "probe_every": 10})
    return [{**job, "checkpoint_every": 3} for job in plan(config)]


def check(learners, kills, tmp_path, seed):
    for place, job in enumerate(jobs_of(learners)):
        undisturbed = execute(job, str(tmp_path / "undisturbed"))
        survived = kill_many_times(job, tmp_path / "killed", kills, seed + place)
        assert without_times(survived) == json.loads(json.dumps(without_times(undisturbed)))


def test_twenty_kills_change_nothing(tmp_path):
    check(LEARNERS[:4], 5, tmp_path, 0)


@pytest.mark.soak
def test_two_hundred_kills_change_nothing(tmp_path):
    check(LEARNERS, 34, tmp_path, 100)


def test_a_killed_command_goes_on_with_the_same_command(tmp_path):
    command = [sys.executable, "-m", "remanence", "run", "digits", "--learners", "er,g-acil,naive"]
    command += ["--seeds", "4", "--jobs", "1", "--probe-every", "1"]
    whole = subprocess.run([*command, "--out", "whole"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen([*command, "--out", "killed"], cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed").glob("jobs/*/*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
    assert not (tmp_path / "killed" / "results.json").exists()
    again = subprocess.run([*command, "--out", "killed"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    first, second = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed"))
    assert [without_times(r) for r in first] == [without_times(r) for r in second]
