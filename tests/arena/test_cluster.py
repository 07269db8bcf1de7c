"""The same code on a real Ray cluster, started here."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

# Looked for and not loaded, since only the processes started here need it
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray is not installed: pip install 'remanence-memory[cluster]'",
)


def test_a_local_ray_cluster_gives_the_same_results(tmp_path):
    command = [sys.executable, "-m", "remanence", "run", "digits", "--learners", "naive,er", "--seeds", "2"]
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    for arguments in (["--jobs", "1", "--out", "here"], ["--cluster", "local", "--jobs", "2", "--out", "ray"]):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, env=quiet, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
    here, ray = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("here", "ray"))
    assert [{**r, "seconds": 0} for r in here] == [{**r, "seconds": 0} for r in ray]


def test_no_cluster_at_the_address_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "remanence", "run", "digits", "--learners", "naive", "--cluster", "127.0.0.1:1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in done.stderr
    assert "Traceback" not in done.stderr
