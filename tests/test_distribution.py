"""The wheel, built from the source distribution, is whole and runs outside the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import remanence

pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'remanence-memory[dev]'")
ROOT = Path(__file__).parents[1]


def said(*command, **options):
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    said("-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT))
    assert (out / f"remanence_memory-{remanence.__version__}.tar.gz").exists()
    return out / f"remanence_memory-{remanence.__version__}-py3-none-any.whl"


def test_the_wheel_holds_every_file_of_the_package(wheel):
    source = ROOT / "src"
    there = {
        path.relative_to(source).as_posix()
        for path in source.glob("remanence/**/*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert there <= set(zipfile.ZipFile(wheel).namelist())


def test_it_runs_where_only_the_wheel_is(wheel, tmp_path):
    site = tmp_path / "site"
    said("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site), str(wheel))
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(site)}}
    asked = "import importlib.metadata as m, remanence as r; print(r.__file__, r.__version__, m.version('remanence-memory'))"
    assert said("-c", asked, **options).split() == [str(site / "remanence/__init__.py"), *[remanence.__version__] * 2]
    said("-m", "remanence", "run", "digits", "--learners", "ncm", "--seeds", "1", "--out", "run", **options)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    command = site / "bin" / "remanence"
    assert "ncm" in said(*([str(command)] if os.name == "posix" else ["-m", "remanence"]), "show", "ncm", **options)
