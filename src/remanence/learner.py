"""The contract: what anything that learns from a stream, and remembers, can be asked to do."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from remanence.answer import Answer
from remanence.errors import Unsupported, UsageError
from remanence.modes import evaluation
from remanence.persistent import Persistent
from remanence.randomness import derive, global_generator, global_kept
from remanence.request import Receipt, Removal, Request
from remanence.update import Update

if TYPE_CHECKING:
    from torch import nn

    from remanence.recipe import Recipe
    from remanence.streams.experience import Experience


class Learner(Persistent):
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
    runner: ClassVar[str] = "remanence.runner:LEARNER"
    """What builds one by name, see `remanence.runner.Runner`."""
    small: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it is quick to test, and ``model``, a network that has what it reads."""
    batch_size: int = 10
    """How many rows of an experience one update takes."""

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        """Build from a recipe.

        Parameters
        ----------
        recipe:
            Model, training, shape, task and seed.
        settings:
            Its hyperparameters.
        model:
            The user's module, where there is one.
        budget:
            The largest footprint in bytes, or None.
        """
        raise Unsupported(f"{cls.__name__} cannot be built by name: construct it yourself")

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used, without building a model."""
        raise Unsupported(f"{cls.__name__} cannot be built by name: construct it yourself")

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
        with self._lock:
            updates = self.forgetting(request)
            while True:
                try:
                    next(updates)
                except StopIteration as end:
                    receipt: Receipt = end.value
                    return receipt

    def forgetting(self, request: Request, start: int = 0) -> Generator[Update, None, Receipt]:
        """As `forget`, yielding after every update where forgetting trains; what it returns is the receipt.

        Every yield is a consistent point: a learner that was saved there goes on with the same request and
        the number of updates made as `start`. Most learners forget at once, and yield nothing.

        Example
        -------
        >>> import remanence as rm
        >>> stream = rm.streams.split("digits", experiences=5)
        >>> learner = rm.make("er", stream, size=20).learn(next(stream.experiences()))
        >>> list(learner.forgetting(rm.Request(label=1)))
        []
        """
        if not isinstance(request, Request):
            raise UsageError(f"a {type(request).__name__} was given to forget, expected a remanence.Request")
        updates = self._forgetting(request, start)
        while True:
            with self._lock, global_kept(self.device):
                try:
                    update = next(updates)
                except StopIteration as end:
                    places, count, checked = end.value
                    if self._snapshots:
                        self._snapshots.clear()
                        places["snapshots"] = "removed"
                    return Receipt(request, places, checked, count)
            yield update

    def _forgetting(self, request: Request, start: int) -> Generator[Update, None, tuple[dict[str, Removal], int, str]]:
        """What `_forget` gives, after updates where forgetting trains."""
        yield from ()
        return self._forget(request)

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        """Outcome by place, number of examples removed, and how it was checked."""
        raise Unsupported(
            f"{type(self).__name__} keeps nothing that can be removed: its weights carry what they learned"
        )

    # What users see

    def extra_repr(self) -> str:
        return f"seed={self.seed}"
