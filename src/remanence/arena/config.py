"""The configuration of a run: read from flags and TOML, checked before anything is loaded, hashed, repeated."""

from __future__ import annotations

import hashlib
import inspect
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from remanence import registry
from remanence.composition import Composition, compose
from remanence.errors import UsageError, nearest
from remanence.footprint import parse_bytes
from remanence.hyperparameters import first_problem
from remanence.models import networks
from remanence.streams.experience import Stream
from remanence.training import Training, pick_device

LEARNERS = ["naive", "ewc", "er", "lwf", "gem", "ncm", "g-acil", "joint"]
MEMORIES = ["plain-store", "rag", "bm25", "recent"]
THREE_PLACES = ["attention-sinks", "sirllm", "em-llm", "rag", "bm25", "recent", "fine-tuning"]
"""Where the answer is a text: memory in a context, in a store, and in weights."""
SUFFIXES = (".csv", ".tsv", ".parquet")


class RunConfig(BaseModel):
    """Everything that decides what a run gives, and nothing else.

    `stream` is a source, a table or a folder of images; `scenario` are scenarios in order; `table` holds
    the options of own data (target, by, hold_out), and `data` tells which state of a file was read, so that a
    changed file is another run; `set` maps ``er.size`` to a value; `training` holds
    the training settings and ``model`` that go to every learner.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str
    scenario: list[str] = Field(default_factory=list)
    experiences: int | None = Field(None, ge=1)
    table: dict[str, Any] = Field(default_factory=dict)
    learners: list[str] = Field(default_factory=list)
    seeds: int = Field(3, ge=1)
    budget: str | None = None
    """Or several with commas between them: every learner is run once under each."""
    probe_every: int | None = Field(None, ge=0)
    online: bool = False
    stack: bool = False
    data: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    _compositions: dict[str, Composition] = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, given: dict[str, Any]) -> RunConfig:
        """Check everything that can be checked without loading data; the first problem is one sentence."""
        for name in given:
            if name not in cls.model_fields:
                raise UsageError(f"there is no setting {name!r} of a run: {nearest(name, cls.model_fields)}")
        try:
            config = cls(**given)
        except ValidationError as error:
            raise UsageError(f"the run's setting {first_problem(error)}") from None
        config._check()
        return config

    @classmethod
    def load(cls, path: str | Path) -> dict[str, Any]:
        """The settings in a TOML file, unchecked, for flags to be laid over."""
        try:
            return tomllib.loads(Path(path).read_text())
        except FileNotFoundError:
            raise UsageError(f"there is no configuration file {path}: give the path of a TOML file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} is not TOML ({error}): mend it or leave --config out") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror}): give the path of a TOML file") from None

    def dump(self) -> str:
        """The configuration as TOML, which `remanence run --config` repeats exactly."""
        return tomli_w.dumps({k: v for k, v in self.model_dump().items() if v is not None})

    def hash(self) -> str:
        """Eight characters that tell configurations apart."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:8]

    def with_data(self) -> RunConfig:
        """The same with the state of the user's own file noted.

        Raises
        ------
        UsageError
            If the configuration was made from another state of the file.
        """
        path = Path(self.stream)
        if path.suffix not in SUFFIXES or not path.exists():
            return self
        state = f"{path.stat().st_size} bytes, changed {path.stat().st_mtime_ns}"
        if self.data not in ("", state):
            raise UsageError(
                f"{path} has changed since this configuration was written: leave its line `data` out to run on what it holds now"
            )
        return self.model_copy(update={"data": state})

    @property
    def budgets(self) -> dict[str, int]:
        """The budgets in bytes, as they are written: one or several."""
        return {} if self.budget is None else {text: parse_bytes(text) for text in self._written_budgets()}

    def _written_budgets(self) -> list[str]:
        return [text.strip() for text in (self.budget or "").split(",")]

    def entries(self) -> list[tuple[str, str, int | None]]:
        """Label, learner and budget of everything that is run: each learner once for each of several budgets.

        A reference stands outside any budget and is run once.
        """
        found: list[tuple[str, str, int | None]] = []
        for name in self.learners:
            outside = self.composed(name).reference
            if outside or len(self.budgets) < 2:
                found.append((name, name, None if outside else next(iter(self.budgets.values()), None)))
            else:
                found += [(f"{name}@{written}", name, size) for written, size in self.budgets.items()]
        return found

    def composed(self, name: str) -> Composition:
        """The systems of one learner, resolved once."""
        if name not in self._compositions:
            self._compositions[name] = compose(name)
        return self._compositions[name]

    def _check(self) -> None:
        if len(set(self.budgets.values())) < len(self._written_budgets()) and self.budget is not None:
            raise UsageError(f"a budget is named twice in {self.budget}: name each once")
        if len(set(self.learners)) < len(self.learners):
            raise UsageError(f"a learner is named twice in {', '.join(self.learners)}: name each once")
        for key, value in self.set.items():
            if isinstance(value, dict):
                raise UsageError(f'the run\'s setting {key} in `set` is a table: write "{key}.NAME" = VALUE instead')
        for name in self.learners:
            composed = self.composed(name)
            composed.check(composed.split_settings(self.settings_of(name))[0])
        components = {card.name for name in self.learners for card in self.composed(name).systems}
        for key in self.set:
            owner, dot, _ = key.partition(".")
            if not dot:
                raise UsageError(f"--set {key} does not say whose: write it like er.{key}")
            if owner not in components | set(self.learners):
                raise UsageError(
                    f"--set {key} names the learner {owner!r}, which is not in this run: {nearest(owner, components)}"
                )
        if "model" in self.training:
            networks.check(self.training["model"])
        pick_device(Training.read({k: v for k, v in self.training.items() if k != "model"}).device)

    def settings_of(self, learner: str) -> dict[str, Any]:
        """What the user set for one learner: the run's training settings, then its own."""
        mine = {key: value for key, value in self.training.items() if key != "model"}
        owners = [learner, *registry.names(learner)]
        for key, value in self.set.items():
            owner, _, name = key.partition(".")
            if owner in owners:
                mine[name] = value
        return mine

    def build_stream(self, seed: int) -> Stream:
        """The stream of one seed."""
        from remanence import streams

        path = Path(self.stream)
        options: dict[str, Any] = {} if self.experiences is None else {"experiences": self.experiences}
        if path.suffix in SUFFIXES or path.is_dir():
            if self.scenario:
                raise UsageError(f"{self.stream} is streamed in its own order: leave --scenario out")
            own: Callable[..., Stream] = streams.folder if path.is_dir() else streams.table
            known = set(inspect.signature(own).parameters) - {"path", "experiences"}
            for name in self.table:
                if name not in known:
                    raise UsageError(f"{self.stream} takes no option {name!r}: {nearest(name, known)}")
            return own(self.stream, **options, **self.table)
        if self.table:
            raise UsageError(
                f"--{next(iter(self.table)).replace('_', '-')} is for a CSV or parquet file, {self.stream} is a named stream"
            )
        return streams.parse(self.stream, self.scenario, experiences=self.experiences, seed=seed)


def parse_value(text: str) -> Any:
    """A value as it is written on the command line: a number, true, false or text.

    >>> parse_value("500"), parse_value("0.1"), parse_value("true"), parse_value("online")
    (500, 0.1, True, 'online')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """``er.size=500`` and its like, as a mapping."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {pair} is not of the form learner.name=value: write it like er.size=500")
        found[key] = parse_value(value)
    return found
