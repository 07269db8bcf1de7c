"""The command line as a user meets it: the main job, and one sentence for every mistake."""

import json
import shutil
import subprocess
import sys

import pytest

from remanence import streams
from remanence.cli import main

FAST = ["--learners", "naive,g-acil", "--seeds", "1", "--jobs", "1"]


def remanence(*arguments, cwd, **options):
    command = [sys.executable, "-m", "remanence", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a small run has finished."""
    place = tmp_path_factory.mktemp("run")
    done = remanence("run", "digits", *FAST, "--out", "done", cwd=place)
    assert done.returncode == 0, done.stderr
    return place, done.stdout


def test_the_main_job_leaves_results_and_a_report(finished):
    place, printed = finished
    results = json.loads((place / "done" / "results.json").read_text())
    assert [(r["learner"], r["seed"]) for r in results] == [("naive", 0), ("g-acil", 0)]
    for field in ("accuracy", "matrix", "forgetting", "worst_dip", "bytes", "updates", "seconds"):
        assert field in results[0]
    assert results[1]["accuracy"] > 0.9 > results[0]["accuracy"]
    assert set(results[0]["seconds"]) == {"learning", "evaluation"}
    assert results[0]["bytes"]["total"] == sum(v for k, v in results[0]["bytes"].items() if k != "total")
    assert (place / "done" / "report.html").exists()
    assert list((place / "done").glob("*.png"))
    assert "report: done/report.html" in printed
    assert printed.index("g-acil") < printed.index("naive")


def test_the_same_command_prints_the_finished_report(finished):
    place, _ = finished
    before = (place / "done" / "results.json").stat().st_mtime_ns
    again = remanence("run", "digits", *FAST, "--out", "done", cwd=place)
    assert again.returncode == 0
    assert "finished before" in again.stdout
    assert (place / "done" / "results.json").stat().st_mtime_ns == before


def test_a_configuration_file_repeats_the_run_exactly(finished):
    place, _ = finished
    again = remanence("run", "--config", "done/config.toml", "--out", "again", "--jobs", "1", "--json", cwd=place)
    assert again.returncode == 0, again.stderr
    first = json.loads((place / "done" / "results.json").read_text())
    second = json.loads(again.stdout)
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}


def test_any_number_of_jobs_gives_the_same_bits(finished):
    place, _ = finished
    two = remanence("run", "--config", "done/config.toml", "--out", "two", "--jobs", "2", cwd=place)
    assert two.returncode == 0, two.stderr
    first, second = (json.loads((place / name / "results.json").read_text()) for name in ("done", "two"))
    assert [r["matrix"] for r in first] == [r["matrix"] for r in second]


def test_the_report_is_drawn_again(finished):
    place, _ = finished
    (place / "done" / "report.html").unlink()
    again = remanence("report", "done", cwd=place)
    assert again.returncode == 0, again.stderr
    assert (place / "done" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "no stream was named"),
        (["run", "digit"], "there is no stream 'digit': did you mean 'digits'?"),
        (["run", "digits", "--learners", "ewcc"], "there is no system 'ewcc': did you mean 'ewc'"),
        (["run", "digits", "--learners", "er,er"], "named twice"),
        (["run", "digits", "--learners", "g-acil+er"], "cannot be combined"),
        (["run", "digits", "--learners", "er", "--set", "er.sizes=3"], "did you mean 'size'"),
        (["run", "digits", "--learners", "er", "--set", "er.size=0"], "size must be greater than or equal to 1, got 0"),
        (["run", "digits", "--learners", "er", "--set", "er.size=many"], "size must be a valid integer"),
        (["run", "digits", "--learners", "er", "--set", "size=3"], "write it like er.size"),
        (["run", "digits", "--learners", "er", "--set", "ewc.strength=3"], "which is not in this run"),
        (["run", "digits", "--learners", "er", "--set", "er.size"], "is not of the form"),
        (["run", "digits", "--learners", "er", "--lr", "-1"], "lr must be greater than 0, got -1.0"),
        (["run", "digits", "--learners", "er", "--model", "mpl"], "there is no model 'mpl': did you mean 'mlp'?"),
        (["run", "digits", "--learners", "er", "--model", "mlp:a"], "has the argument 'a'"),
        (["run", "digits", "--learners", "er", "--budget", "lots"], "is not a number of bytes"),
        (["run", "digits", "--learners", "er", "--budget", "1KB"], "more than the budget of 1.0 KB"),
        (["run", "digits", "--learners", "er", "--experiences", "11"], "ask for 1 to 10"),
        (
            ["run", "digits", "--learners", "er", "--scenario", "splits"],
            "there is no scenario 'splits': did you mean 'split'",
        ),
        (["run", "digits", "--learners", "er", "--seeds", "0"], "seeds"),
        (["run", "digits", "--learners", "er", "--device", "cuda"], "not available here"),
        (["run", "digits", "--target", "y"], "is for a CSV or parquet file"),
        (["run", "--config", "missing.toml"], "there is no configuration file missing.toml"),
        (["show", "nothing"], "there is no system 'nothing'"),
        (["report", "nowhere"], "nowhere"),
        (["prove", "naive"], "naive"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    code, stderr = called(arguments, tmp_path, monkeypatch, capsys)
    assert code == 2
    assert message in stderr
    assert len(stderr.strip().splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def called(arguments, folder, monkeypatch, capsys):
    """Exit code and standard error of the command, in this process, which spares loading torch again."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["remanence", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err


def test_a_mistake_ends_the_process_so_too(tmp_path):
    done = remanence("run", "digit", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "remanence: there is no stream 'digit': did you mean 'digits'?\n"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("stream = [", "is not TOML"),
        ("stream = 3", "stream must be a valid string, got 3"),
        ('stream = "digits"\nzeal = 3', "there is no setting 'zeal' of a run"),
        ('stream = "digits"\ntraining = 3', "expected a table of names and values"),
        ('stream = "digits"\nlearners = "er"', "learners must be a valid list"),
        ('stream = "digits"\nlearners = ["er"]\ntraining = {model = 3}', "expected a network's name"),
        ('stream = "digits"\nlearners = ["er"]\nset = {er = {size = 3}}', 'write "er.NAME" = VALUE instead'),
        ('stream = "own.csv"\ntable = {target = "y", foo = 3}', "own.csv takes no option 'foo'"),
        ('stream = "own.csv"\ntable = {target = "y"}', "the target 'y' of own.csv has no values at all"),
    ],
)
def test_nonsense_in_a_configuration_is_one_sentence(config, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "given.toml").write_text(config)
    (tmp_path / "own.csv").write_text("a,y\n1,NaN\n2,\n")
    code, stderr = called(["run", "--config", "given.toml"], tmp_path, monkeypatch, capsys)
    assert (code, stderr.count("\n")) == (2, 1)
    assert message in stderr
    assert {path.name for path in tmp_path.iterdir()} == {"given.toml", "own.csv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--config", "."], "cannot be read"),
        (["run", "digits", "--learners", "ncm", "--out", "file"], "file cannot be written to"),
        (["run", "digits", "--learners", "ncm", "--out", "file/below"], "file/below cannot be written to"),
        (["run", "mnist"], "REMANENCE_DATA names /nowhere, which is not a folder"),
        (["run", "hub:owner/name"], "REMANENCE_DATA names /nowhere, which is not a folder"),
        (["run", "digits", "--device", "gpu"], "device must be one of auto, cpu, cuda, mps, got 'gpu'"),
        (["systems", "--place", "mars"], "there is no place 'mars'"),
    ],
)
def test_a_wrong_place_is_one_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REMANENCE_DATA", "/nowhere")
    code, stderr = called(arguments, tmp_path, monkeypatch, capsys)
    assert (code, stderr.count("\n")) == (2, 1)
    assert message in stderr


def test_what_was_damaged_in_a_run_is_named_or_done_again(finished, tmp_path, monkeypatch, capsys):
    arguments = ["run", "digits", *FAST, "--out", "copy"]
    copy = tmp_path / "copy"
    shutil.copytree(finished[0] / "done", copy)
    whole = json.loads((copy / "results.json").read_text())

    (copy / "results.json").write_text('{"a": 1}')
    (copy / "jobs" / "naive-0" / "result.json").write_text('{"a": 1}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["remanence", *arguments])
    main()
    again = json.loads((copy / "results.json").read_text())
    assert [{**r, "seconds": 0} for r in again] == [{**r, "seconds": 0} for r in whole]

    (copy / "results.json").unlink()
    (copy / "jobs" / "naive-0" / "result.json").unlink()
    checkpoint = copy / "jobs" / "naive-0" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:20_000])
    code, stderr = called(arguments, tmp_path, monkeypatch, capsys)
    assert (code, stderr.count("remanence:")) == (2, 1)
    assert "is truncated" in stderr and "and the same command runs this learner anew" in stderr

    (copy / "config.toml").write_text("nonsense [")
    code, stderr = called(arguments, tmp_path, monkeypatch, capsys)
    assert code == 2
    assert "copy holds a run of another configuration or version" in stderr


def test_an_interruption_while_it_starts_is_told_apart_from_success(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("remanence.arena.command.run_command", interrupted)
    code, stderr = called(["run", "digits"], tmp_path, monkeypatch, capsys)
    assert code == 130
    assert stderr.startswith("interrupted") and stderr.count("\n") == 1


def test_results_are_as_readable_as_any_file(finished):
    plain = finished[0] / "plain"
    plain.touch()
    assert (finished[0] / "done" / "results.json").stat().st_mode == plain.stat().st_mode


def test_progress_that_cannot_be_written_stops_nothing(tmp_path):
    from remanence.arena.job import Record
    from remanence.arena.parallel import ProgressFile

    ProgressFile(tmp_path / "missing" / "progress.json")(Record(), streams.split("digits", experiences=5))


def test_a_folder_of_another_configuration_is_refused(finished, monkeypatch, capsys):
    arguments = ["run", "digits", "--learners", "er", "--seeds", "1", "--out", "done"]
    code, stderr = called(arguments, finished[0], monkeypatch, capsys)
    assert code == 2
    assert "holds a run of another configuration" in stderr


def test_a_folder_with_something_else_in_it_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, stderr = called(["run", "digits", *FAST, "--out", "mine"], tmp_path, monkeypatch, capsys)
    assert code == 2
    assert "thesis.tex" in stderr
    assert [path.name for path in (tmp_path / "mine").iterdir() if path.name != ".lock"] == ["thesis.tex"]


@pytest.mark.parametrize("arguments", [[], ["store"]])
def test_without_a_command_the_help_is_all_there_is(arguments, tmp_path):
    done = remanence(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage" in done.stdout
    assert not done.stderr


def test_help_and_lists_come_without_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['remanence', '--help']\n"
        "from remanence.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'pydantic', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["systems", "--like", "reservoir"], [" er "]),
        (["show", "g-acil"], ["2403.15706", "gamma"]),
        (["streams"], ["digits", "permute"]),
    ],
)
def test_systems_streams_and_cards_are_listed(arguments, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["remanence", *arguments])
    main()
    printed = capsys.readouterr().out
    assert all(words in printed for words in told)


def test_systems_are_listed_without_what_only_some_of_them_need(tmp_path):
    code = (
        "import sys\n"
        "for name in ('psycopg', 'pgvector', 'snowballstemmer', 'numkong', 'onnxruntime', 'onnx', 'tokenizers', 'ray'):\n"
        "    sys.modules[name] = None  # as where they are not installed\n"
        "from remanence.registry import all_systems\n"
        "assert 'er' in all_systems()\n"
        "print([m for m in ('scipy', 'sklearn', 'pandas', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_second_process_is_refused_by_the_lock(tmp_path):
    from remanence.arena.config import RunConfig
    from remanence.arena.folder import opened

    config = RunConfig.read({"stream": "digits", "learners": ["naive"], "seeds": 1})
    with opened(tmp_path / "busy", config):
        done = remanence("run", "digits", "--learners", "naive", "--seeds", "1", "--out", "busy", cwd=tmp_path)
    assert done.returncode == 2
    assert "another process is running" in done.stderr


def test_interrupting_says_how_to_go_on(tmp_path):
    import signal
    import time

    arguments = [
        "run",
        "digits",
        "--learners",
        "naive",
        "--seeds",
        "400",
        "--jobs",
        "1",
        "--probe-every",
        "1",
        "--out",
        "r",
    ]
    # A shell that starts the tests in the background has its children ignore an interrupt, and theirs
    heeding = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from remanence.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", heeding, *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("r/jobs/*/result.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from there" in stderr
    assert "Traceback" not in stderr


def test_settings_that_mean_nothing_to_a_learner_are_said():
    from remanence.arena.command import not_taken
    from remanence.arena.config import RunConfig

    config = RunConfig.read({"stream": "digits", "learners": ["er", "ncm"], "training": {"lr": 0.1, "batch_size": 5}})
    assert not_taken(config) == [("ncm", ["lr"])]
