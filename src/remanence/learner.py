"""The contract: what anything that learns from a stream, and remembers, can be asked to do."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn

from remanence.errors import StateError, Unsupported, UsageError
from remanence.footprint import Footprint, measure
from remanence.randomness import derive, global_generator, global_kept
from remanence.state import load_tensors, read_state, write_state

if TYPE_CHECKING:
    from remanence.streams.experience import Experience


@dataclass(frozen=True, slots=True)
class Update:
    """One step of learning, and what it cost.

    `examples` are the new ones, `rehearsed` those from a memory; `forwards` and `backwards` count rows
    that passed through the network, `steps` the optimizer's steps. `loss` is the objective before
    the step, absent where there is none.
    """

    examples: int = 0
    rehearsed: int = 0
    forwards: int = 0
    backwards: int = 0
    steps: int = 0
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a learner answers to a batch of questions.

    `scores` is (n, classes) for classification, higher meaning likelier, with the labels of its columns
    in `classes`; for regression it is (n, 1), the values, and `classes` is empty. For retrieval it is
    (n, k), the scores of the rows of the stream that `records` (n, k) int64 names, best first, -1 where
    there is none. For answering it is (n, 1), the logarithm of the probability that the learner gives each of
    the n `texts`; `records` may name the rows that were read for them.
    """

    scores: Tensor
    classes: tuple[int, ...] = ()
    records: Tensor | None = None
    texts: tuple[str, ...] = ()

    @property
    def labels(self) -> Tensor:
        """The likeliest label of each row (n,) int64; -1 while no class is known."""
        if not self.classes:
            return torch.full((len(self.scores),), -1)
        return torch.tensor(self.classes)[self.scores.argmax(1).cpu()]

    @property
    def values(self) -> Tensor:
        """The predicted value of each row (n,)."""
        return self.scores.squeeze(1)


Removal = Literal["removed", "approximately removed", "suppressed", "remains"]


@dataclass(frozen=True)
class Request:
    """What shall be forgotten: examples by id, a whole class, or rows given again.

    Parameters
    ----------
    ids:
        Stable ids of examples, as the stream gave them.
    label:
        A class.
    x, y:
        The data itself, where a closed form needs it to subtract it; ids may accompany it.
    """

    ids: tuple[int, ...] = ()
    label: int | None = None
    x: Tensor | None = None
    y: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.ids and self.label is None and self.x is None:
            raise UsageError("nothing was named to forget: give ids, a label, or the rows x and y")
        if (self.x is None) != (self.y is None):
            raise UsageError("x was given without y or y without x: give both or neither")
        if self.x is not None and self.y is not None and len(self.x) != len(self.y):
            raise UsageError(f"{len(self.x)} inputs and {len(self.y)} targets were given: give as many of each")


@dataclass(frozen=True)
class Receipt:
    """What became of a request to forget, place by place, and how that was checked.

    `places` maps a place (weights, rehearsal, importances, snapshots, statistics…) to its outcome.
    """

    request: Request
    places: dict[str, Removal]
    checked: str
    count: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing that was asked for remains anywhere."""
        return all(outcome == "removed" for outcome in self.places.values())


@dataclass(frozen=True)
class Recipe:
    """How to build a learner again in another process: names and numbers, no objects.

    `settings` holds the hyperparameters by system name; `model` is ``"own"`` for a module of the
    user's, which has to be handed over again when the learner is loaded.
    """

    system: str
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    model: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    task: tuple[str, str] = ("classification", "accuracy")
    seed: int = 0
    budget: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "shape": list(self.shape), "task": list(self.task)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recipe:
        try:
            return cls(**{**data, "shape": tuple(data["shape"]), "task": tuple(data["task"])})
        except (TypeError, KeyError) as error:
            raise StateError(f"the recipe of the learner cannot be read ({error}): use an intact copy") from None


class Learner(nn.Module):
    """Anything that learns from a stream.

    Everything remembered is a parameter or a buffer; what is needed to rebuild the shapes is the small
    JSON `structure`. A subclass implements `_steps` and `_answer`, and names in `needs` what a stream
    must disclose to it.

    Every yield of `steps` and `consolidate` is a consistent point: the learner can be asked, saved or dropped
    there. Between two yields `predict`, called from another thread, waits for the update to be whole.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    needs: frozenset[str] = frozenset()
    kind: ClassVar[str] = "statistics"
    reference: ClassVar[bool] = False
    """True for rows such as joint training that stand outside any budget."""
    training_settings_used: ClassVar[frozenset[str] | None] = None
    """The training settings that mean something to it, None for all."""
    batch_size: int = 10
    """How many rows of an experience one update takes."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.device = torch.device("cpu")
        self.recipe: Recipe | None = None
        self._snapshots: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
        self._lock = threading.RLock()

    # Learning

    def steps(self, experience: Experience, start: int = 0) -> Iterator[Update]:
        """Learn an experience, yielding after every update; go on after `start` of them.

        An experience without labels is passed to `adapt` batch by batch.
        """
        self._check_rows(experience)
        return self._guarded((self._steps if experience.labelled else self._adapted)(experience, start))

    def _check_rows(self, experience: Experience) -> None:
        """Refuse what is no experience, or one whose inputs have another shape, before anything changes."""
        examples = getattr(experience, "examples", None)
        if examples is None:
            raise UsageError(
                f"a learner was given a {type(experience).__name__} to learn, expected an experience: "
                "take them from stream.experiences()"
            )
        shape = getattr(examples, "shape", None)
        if (
            shape is not None
            and self.recipe is not None
            and self.recipe.model != "own"
            and tuple(shape) != self.recipe.shape
        ):
            raise UsageError(
                f"the inputs of the experience have the shape {tuple(shape)}, the learner was made for "
                f"{self.recipe.shape}: make one for this stream"
            )

    def consolidate(self, budget: int) -> Iterator[Update]:
        """Consolidate with no new data, for at most `budget` updates."""
        return self._guarded(self._consolidate(budget))

    def learn(self, experience: Experience) -> Self:
        """Learn a whole experience."""
        for _ in self.steps(experience):
            pass
        return self

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        raise Unsupported(f"{type(self).__name__} does not learn from a stream")

    def _consolidate(self, budget: int) -> Iterator[Update]:
        return iter(())

    def _adapted(self, experience: Experience, start: int) -> Iterator[Update]:
        size, rows = self.batch_size, len(experience.examples)
        adapts = type(self)._adapt is not Learner._adapt
        for first in range(start * size, rows, size):
            x, _, ids = experience.examples.learn(torch.arange(first, min(first + size, rows)))
            if adapts:
                with torch.no_grad(), evaluation(self):
                    self._adapt(x.to(self.device), experience.task if experience.asks_task else None, ids)
            yield Update(examples=len(x), forwards=len(x) * adapts)

    def _guarded(self, updates: Iterator[Update]) -> Iterator[Update]:
        """Run each update under the lock and with a global generator of its own."""
        done = object()
        while True:
            with self._lock, global_kept(self.device):
                update = next(updates, done)
            if update is done:
                return
            yield update  # type: ignore[misc]

    # Answering

    def predict(self, x: Tensor, task: int | None = None) -> Answer:
        """Answer about everything seen so far; changes nothing.

        Parameters
        ----------
        x:
            Questions (n, *shape), raw as the stream gives them.
        task:
            Which task they belong to, where the stream tells at test time.
        """
        self._check_questions(x)
        with self._lock, torch.no_grad(), global_generator(derive(self.seed, "predict"), self.device), evaluation(self):
            return self._answer(x.to(self.device), task)

    def adapt(self, x: Tensor, task: int | None = None) -> Answer:
        """Answer as `predict` does, and learn from having been asked: test-time adaptation, without labels.

        Most learners have nothing to learn from a question, and only answer. One that has changes here, and
        never in `predict`; on a `session` the learner itself stays as it is.

        Parameters
        ----------
        x, task:
            As in `predict`. Rows answered together do not learn from one another.

        Example
        -------
        >>> import remanence as rm
        >>> stream = rm.streams.split("digits", experiences=5)
        >>> learner = rm.make("ncm", stream).learn(next(stream.experiences()))
        >>> session = learner.session()
        >>> bool((session.adapt(stream.tests[0].x).labels == learner.predict(stream.tests[0].x).labels).all())
        True
        """
        self._check_questions(x)
        with self._lock, torch.no_grad(), global_generator(derive(self.seed, "predict"), self.device), evaluation(self):
            return self._adapt(x.to(self.device), task, None)

    def _adapt(self, x: Tensor, task: int | None, ids: Tensor | None) -> Answer:
        """Answer questions, and learn from them where that is possible; `ids` where a stream gave them."""
        return self._answer(x, task)

    def session(self) -> Self:
        """A copy that goes its own way from here: what it learns or forgets does not reach this learner.

        Snapshots stay behind.
        """
        from remanence.systems import build

        with self._lock:
            if self.recipe is None or self.recipe.model == "own":
                made = copy.deepcopy(self, {id(self._lock): threading.RLock(), id(self._snapshots): {}})
            else:  # as a saved learner comes back, so that what lies in files is copied, too
                made = cast(Self, build(self.recipe))
                tensors, structure = self._state()
                made._set_state({name: tensor.clone() for name, tensor in tensors.items()}, copy.deepcopy(structure))
            return made

    def _check_questions(self, x: Tensor) -> None:
        if not isinstance(x, Tensor):
            raise UsageError(
                f"questions were given as a {type(x).__name__}, expected a tensor (n, …): use torch.as_tensor"
            )
        if self.recipe is not None and self.recipe.model != "own" and tuple(x.shape[1:]) != self.recipe.shape:
            raise UsageError(
                f"the questions have the shape {tuple(x.shape)}, expected (n, {', '.join(map(str, self.recipe.shape))})"
                ": give them as the stream gives them"
            )

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        raise Unsupported(f"{type(self).__name__} does not answer")

    # Forgetting on purpose

    def forget(self, request: Request) -> Receipt:
        """Remove what was asked for and say what became of it, place by place.

        Snapshots taken before are dropped, since restoring one would bring back what was forgotten.

        Raises
        ------
        Unsupported
            If nothing of what was asked for can be removed.
        """
        if not isinstance(request, Request):
            raise UsageError(f"a {type(request).__name__} was given to forget, expected a remanence.Request")
        with self._lock:
            places, count, checked = self._forget(request)
            if self._snapshots:
                self._snapshots.clear()
                places["snapshots"] = "removed"
        return Receipt(request, places, checked, count)

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        """Outcome by place, number of examples removed, and how it was checked."""
        raise Unsupported(
            f"{type(self).__name__} keeps nothing that can be removed: its weights carry what they learned"
        )

    # What it costs

    def footprint(self) -> Footprint:
        """Bytes by kind, measured on the tensors held now."""
        return measure(self._held())

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        for module in self.modules():
            kind = getattr(module, "kind", None)
            for parameter in module.parameters(recurse=False):
                yield (kind if kind == "snapshots" else "parameters"), parameter
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    yield (kind or "parameters"), buffer
        yield from (("optimizer", tensor) for tensor in self._optimizer_tensors().values())
        for tensors, _ in self._snapshots.values():
            yield from (("snapshots", tensor) for tensor in tensors.values())

    def enforce_budget(self) -> None:
        """Keep the budget, or raise a `BudgetError` with the figures; without a budget there is nothing to keep."""

    # Keeping and coming back

    def structure(self) -> dict[str, Any]:
        """What is needed to rebuild the shapes: classes in order, growth, counters. JSON-able.

        Every module below that has a `structure` of its own is asked for it.
        """
        below = {}
        for name, module in self.named_modules():
            if name and hasattr(module, "restructure"):
                below[name] = module.structure()
        return {"modules": below}

    def restructure(self, structure: dict[str, Any]) -> None:
        """Replay a structure: build every module that the saved tensors need, parents first."""
        for name, shape in structure["modules"].items():
            try:
                module = self.get_submodule(name)
            except AttributeError:
                raise StateError(f"the saved state has the module {name!r}, which this learner lacks") from None
            module.restructure(shape)  # type: ignore[operator]

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """What the optimizer keeps, by name, where there is one."""
        return {}

    def _set_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        if tensors:
            raise StateError("the saved state holds an optimizer, which this learner does not have")

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"state.{name}": tensor for name, tensor in self.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer_tensors().items()}
        return tensors, self.structure()

    def _set_state(self, tensors: dict[str, Tensor], structure: dict[str, Any]) -> None:
        self.restructure(structure)
        load_tensors(self, _under("state.", tensors), self.device)
        self._set_optimizer_tensors({k: v.to(self.device) for k, v in _under("optimizer.", tensors).items()})

    def save(self, path: str | os.PathLike[str], beside: dict[str, Any] | None = None) -> None:
        """Write the whole memory, snapshots included, to one file; a crash leaves the old file whole.

        Parameters
        ----------
        path:
            The file.
        beside:
            JSON-able notes of whoever drives the learner, which `load_state` gives back.
        """
        with self._lock:
            tensors, structure = self._state()
            snapshots = {}
            for number, (name, (kept, shape)) in enumerate(self._snapshots.items()):
                tensors |= {f"snapshot.{number}.{key}": tensor for key, tensor in kept.items()}
                snapshots[name] = shape
            recipe = self.recipe.as_dict() if self.recipe else None
            header = {"recipe": recipe, "structure": structure, "snapshots": snapshots, "beside": beside or {}}
            write_state(path, tensors, header)

    def load_state(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Become what was saved at `path` by a learner of the same recipe; return the notes beside it."""
        tensors, header = read_state(path)
        mine = self.recipe.as_dict() if self.recipe else None
        if header.get("recipe") != mine:
            raise StateError(f"{path} holds a learner of another recipe: load it with remanence.load({str(path)!r})")
        self._adopt(tensors, header)
        return dict(header["beside"])

    def _adopt(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        with self._lock:
            own = {k: v for k, v in tensors.items() if not k.startswith("snapshot.")}
            self._set_state(own, header["structure"])
            self._snapshots = {
                name: (_under(f"snapshot.{number}.", tensors), shape)
                for number, (name, shape) in enumerate(header["snapshots"].items())
            }

    def snapshot(self, name: str) -> None:
        """Keep the present state under a name, in memory and in what `save` writes."""
        with self._lock:
            tensors, structure = self._state()
            self._snapshots[name] = (
                {key: tensor.detach().clone() for key, tensor in tensors.items()},
                copy.deepcopy(structure),
            )

    def restore(self, name: str) -> None:
        """Go back to a snapshot, to the bit; the snapshot stays."""
        with self._lock:
            if name not in self._snapshots:
                known = ", ".join(self._snapshots) or "none was taken"
                raise UsageError(f"there is no snapshot {name!r}: {known}")
            tensors, structure = self._snapshots[name]
            self._set_state({key: tensor.clone() for key, tensor in tensors.items()}, structure)

    # What users see

    def extra_repr(self) -> str:
        return f"seed={self.seed}"


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every module's own mode again outside."""
    training = [own for own in module.modules() if own.training]
    for own in training:
        own.training = False
    try:
        yield
    finally:
        for own in training:
            own.training = True


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> Learner:
    """Load a learner saved by `Learner.save` (or a checkpoint of a run), ready to predict and to go on.

    Parameters
    ----------
    path:
        The file.
    model:
        The user's own module, if the learner was built around one; its weights are replaced.

    Raises
    ------
    StateError
        If the file is missing, truncated or foreign, or needs a `model` that was not given.

    Example
    -------
    >>> import remanence as rm, tempfile, os
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("ncm", stream)
    >>> path = os.path.join(tempfile.mkdtemp(), "memory.safetensors")
    >>> learner.learn(next(stream.experiences())).save(path)
    >>> bool((rm.load(path).predict(stream.tests[0].x).labels == learner.predict(stream.tests[0].x).labels).all())
    True
    """
    from remanence.systems import build

    tensors, header = read_state(Path(path))
    if not header.get("recipe"):
        raise StateError(f"{path} holds no recipe: build the learner by hand and call its load_state")
    recipe = Recipe.from_dict(header["recipe"])
    learner = build(recipe, model=model)
    learner._adopt(tensors, header)
    return learner


def total(updates: Iterable[Update]) -> Update:
    """The sum of what several updates cost.

    >>> total([Update(examples=10, steps=1), Update(examples=5, steps=1)]).examples
    15
    """
    counts = [0, 0, 0, 0, 0]
    for u in updates:
        for place, value in enumerate((u.examples, u.rehearsed, u.forwards, u.backwards, u.steps)):
            counts[place] += value
    return Update(*counts)
