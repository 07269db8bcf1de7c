"""Loggers against the real packages, each skipped where its package is absent."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from remanence.arena.loggers import MLflow, TensorBoard, WeightsAndBiases
from remanence.errors import MissingExtra

CONFIGURATION = {"stream": "digits", "training": {"lr": 0.1}, "learners": ["er", "der++"]}


def feed(logger: Any) -> None:
    with logger:
        logger.start(CONFIGURATION)
        for run in ("er/0", "der++/0"):
            for update in (10, 20, 30):
                logger.log(run, update, {"score/0": update / 100, "score/1": 0.5})
            logger.finish(run, {"accuracy": 0.9, "forgetting": 0.1})


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    feed(TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path / "er" / "0"))
    events.Reload()
    assert [(e.step, round(e.value, 6)) for e in events.Scalars("score/0")] == [(10, 0.1), (20, 0.2), (30, 0.3)]
    assert events.Scalars("summary/accuracy")[0].value == pytest.approx(0.9)
    assert (tmp_path / "der__" / "0").is_dir()


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "store").as_uri()
    feed(MLflow("trial", uri))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("trial")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"er/0", "der++/0"}
    run = runs["er/0"]
    assert run.info.status == "FINISHED"
    assert run.data.params["training.lr"] == "0.1"
    history = client.get_metric_history(run.info.run_id, "score/0")
    assert [(m.step, m.value) for m in history] == [(10, 0.1), (20, 0.2), (30, 0.3)]
    assert run.data.metrics["summary/accuracy"] == 0.9


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    feed(WeightsAndBiases("trial", folder=tmp_path))
    runs = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 2
    deadline = time.monotonic() + 30  # its service writes in a process of its own, late on a busy machine
    while not all(path.stat().st_size > 100 for path in runs) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(path.stat().st_size > 100 for path in runs)


@pytest.mark.parametrize(
    ("logger", "package"), [(TensorBoard("x"), "tensorboard"), (MLflow(), "mlflow"), (WeightsAndBiases(), "wandb")]
)
def test_a_missing_package_is_named(logger: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*remanence-memory\[log\]"):
        logger.__enter__()


class Listening:
    """A logger of one's own."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.heard.append(("closed",))

    def start(self, configuration: Mapping[str, Any]) -> None:
        self.heard.append(("start", configuration["stream"]))

    def log(self, run: str, update: int, values: Mapping[str, float]) -> None:
        self.heard.append(("log", run, update, dict(values)))

    def finish(self, run: str, summary: Mapping[str, float]) -> None:
        self.heard.append(("finish", run, summary["accuracy"]))


def test_a_run_is_logged() -> None:
    import remanence as rm

    logger = Listening()
    report = rm.run("g-acil", rm.streams.split("digits", experiences=2), probe_every=50, loggers=[logger])
    kinds = [item[0] for item in logger.heard]
    assert kinds[0] == "start" and kinds[-2:] == ["finish", "closed"]
    assert logger.heard[-2] == ("finish", "g-acil/0", report.results[0].accuracy)
    logged = [item[2] for item in logger.heard if item[0] == "log"]
    assert logged == sorted(logged) and len(logged) >= len(report.results[0].probes) - 1
