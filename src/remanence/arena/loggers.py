"""Probes sent to TensorBoard, MLflow or Weights & Biases while a run goes on.

Any object with the methods of `Logger` will do. Each run (one learner with one seed) is logged under
its own name, ``er/0``; the packages are loaded when a logger is entered, and none is needed otherwise.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from remanence.errors import MissingExtra


class Logger(Protocol):
    """What a run tells a logger."""

    def __enter__(self) -> Self:
        """The run starts: load the package, open files."""

    def __exit__(self, *reason: object) -> None:
        """The run is over, or was interrupted: close what is open."""

    def start(self, configuration: Mapping[str, Any]) -> None:
        """What is run, resolved."""

    def log(self, run: str, update: int, values: Mapping[str, float]) -> None:
        """Numbers by name, after so many updates of one run."""

    def finish(self, run: str, summary: Mapping[str, float]) -> None:
        """One run is finished: its metrics by name."""


class TensorBoard:
    """Writes event files, one folder a run.

    Parameters
    ----------
    folder:
        Where; show it with ``tensorboard --logdir FOLDER``.

    Raises
    ------
    MissingExtra
        If tensorboard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._writers: dict[str, Any] = {}
        self._configuration: Mapping[str, Any] = {}
        self._kind: Any = None

    def __enter__(self) -> Self:
        _load("tensorboard", "logging to TensorBoard")
        self._kind = _load("torch.utils.tensorboard", "logging to TensorBoard").SummaryWriter
        return self

    def __exit__(self, *reason: object) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def start(self, configuration: Mapping[str, Any]) -> None:
        self._configuration = configuration

    def log(self, run: str, update: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer(run).add_scalar(name, value, update)

    def finish(self, run: str, summary: Mapping[str, float]) -> None:
        for name, value in summary.items():
            self._writer(run).add_scalar(f"summary/{name}", value, 0)
        self._writer(run).flush()

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            writer = self._writers[run] = self._kind(str(self.folder / _plain(run)))
            lines = (f"    {key}: {value}" for key, value in flat(self._configuration).items())
            writer.add_text("configuration", "\n".join(lines))
        return self._writers[run]


class MLflow:
    """Logs each run as a run of one MLflow experiment.

    Parameters
    ----------
    experiment:
        Its name; it is made if it is not there.
    uri:
        A tracking server or store, ``"sqlite:///mlflow.db"``; by default what MLflow itself is set to.

    Raises
    ------
    MissingExtra
        If mlflow is not installed.
    """

    def __init__(self, experiment: str = "remanence", uri: str | None = None) -> None:
        self.experiment, self.uri = experiment, uri
        self._client: Any = None
        self._metric: Any = None
        self._ids: dict[str, str] = {}
        self._experiment_id = ""
        self._configuration: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._client = _load("mlflow.tracking", "logging to MLflow").MlflowClient(tracking_uri=self.uri)
        self._metric = _load("mlflow.entities", "logging to MLflow").Metric
        found = self._client.get_experiment_by_name(self.experiment)
        self._experiment_id = found.experiment_id if found else self._client.create_experiment(self.experiment)
        return self

    def __exit__(self, *reason: object) -> None:
        status = "FINISHED" if not reason or reason[0] is None else "FAILED"
        for run in self._ids.values():
            self._client.set_terminated(run, status)
        self._ids = {}

    def start(self, configuration: Mapping[str, Any]) -> None:
        self._configuration = configuration

    def log(self, run: str, update: int, values: Mapping[str, float]) -> None:
        metrics = [self._metric(_plain(name), value, 0, update) for name, value in values.items()]
        self._client.log_batch(self._run(run), metrics=metrics)

    def finish(self, run: str, summary: Mapping[str, float]) -> None:
        self.log(run, 0, {f"summary/{name}": value for name, value in summary.items()})
        self._client.set_terminated(self._ids.pop(run), "FINISHED")

    def _run(self, run: str) -> str:
        if run not in self._ids:
            made = self._client.create_run(self._experiment_id, run_name=run).info.run_id
            self._ids[run] = made
            for key, value in flat(self._configuration).items():
                self._client.log_param(made, _plain(key), value[:500])
        return self._ids[run]


class WeightsAndBiases:
    """Logs each run as a run of one Weights & Biases project.

    Parameters
    ----------
    project:
        Its name.
    mode:
        ``"offline"`` (the default) writes to `folder` and asks the network for nothing; ``"online"`` sends.
    folder:
        Where its files go.

    Raises
    ------
    MissingExtra
        If wandb is not installed.
    """

    def __init__(self, project: str = "remanence", mode: str = "offline", folder: str | os.PathLike[str] = ".") -> None:
        self.project, self.mode, self.folder = project, mode, Path(folder)
        self._wandb: Any = None
        self._open: tuple[str, Any] | None = None
        self._configuration: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._wandb = _load("wandb", "logging to Weights & Biases")
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self._close(0 if not reason or reason[0] is None else 1)

    def start(self, configuration: Mapping[str, Any]) -> None:
        self._configuration = configuration

    def log(self, run: str, update: int, values: Mapping[str, float]) -> None:
        self._run(run).log(dict(values), step=update)

    def finish(self, run: str, summary: Mapping[str, float]) -> None:
        self._run(run).summary.update(dict(summary))
        self._close(0)

    def _run(self, run: str) -> Any:
        if self._open is not None and self._open[0] != run:
            self._close(0)
        if self._open is None:
            made = self._wandb.init(
                project=self.project,
                name=run,
                mode=self.mode,
                dir=str(self.folder),
                config=dict(self._configuration),
                reinit="finish_previous",
                settings=self._wandb.Settings(console="off", silent=True),
            )
            self._open = (run, made)
        return self._open[1]

    def _close(self, code: int) -> None:
        if self._open is not None:
            self._open[1].finish(exit_code=code)
            self._open = None


def flat(configuration: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """A nested configuration as text by dotted name.

    >>> flat({"stream": "digits", "training": {"lr": 0.1}})
    {'stream': 'digits', 'training.lr': '0.1'}
    """
    found: dict[str, str] = {}
    for key, value in configuration.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)
    return found


def _plain(name: str) -> str:
    """A name of letters, digits and a few signs, which every store and file system takes."""
    return re.sub(r"[^\w./ -]", "_", name)


def _load(module: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(module.partition(".")[0], "log", purpose) from None
