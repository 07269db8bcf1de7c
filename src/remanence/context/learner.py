"""A cache policy as a learner: a language model reads what arrives, and answers from what its cache still holds.

What is remembered lies in the cache alone: the model's weights are shared with every other memory, and never change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from remanence.context.caches.cache import PolicyCache
from remanence.context.caches.making import made
from remanence.context.caches.policy import Policy
from remanence.errors import Unsupported
from remanence.hyperparameters import hyperparameters, validated
from remanence.learner import Answer, Learner, Recipe, Request, Update
from remanence.learner import Removal as Outcome
from remanence.models.reader import Reader, answered, question_of, reader
from remanence.streams.written import unpack

if TYPE_CHECKING:
    from remanence.streams.experience import Experience


class Held:
    """The settings that every cache policy has where it is run as a learner.

    Example
    -------
    >>> Held(tokens=64).tokens
    64
    """

    @validated
    def __init__(
        self,
        *,
        language_model: Annotated[str, Field(description="which language model reads, by name or folder")] = "tiny-lm",
        tokens: Annotated[
            int | None, Field(ge=2, description="the most entries of a layer, where no budget is given")
        ] = None,
    ) -> None:
        self.language_model, self.tokens = language_model, tokens


def parted(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy's own settings, and those of `Held`."""
    common = {one.name for one in hyperparameters(Held)}
    return (
        {name: value for name, value in settings.items() if name not in common},
        {name: value for name, value in settings.items() if name in common},
    )


class CacheLearner(Learner):
    """Reads a stream of lines into a bounded cache, and answers each question from a copy of it.

    Parameters
    ----------
    policy:
        What the cache keeps.
    held:
        Which language model reads, and how many tokens the cache holds where there is no budget.
    budget:
        Bytes that the cache holds at most; of bytes and tokens, bytes count if both are given.
    seed:
        Unused: nothing is drawn.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"answering"})
    takes: ClassVar[frozenset[str] | None] = frozenset()
    kind: ClassVar[str] = "activations"
    batch_size = 1
    probes = 1

    def __init__(
        self,
        name: str,
        policy: Policy,
        held: Held,
        *,
        budget: int | None = None,
        settings: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        self._reader: tuple[Reader, ...] = (reader(held.language_model),)
        tokens = held.tokens if budget is None else None
        self.cache: PolicyCache = made(
            name, policy, self.reader.model, budget=budget, tokens=tokens, settings=settings or {}
        )
        self.rows: list[tuple[int, int, int]] = []
        """Id, first token and end of every row of which something may still be held."""
        self.position = (-1, 0)

    @classmethod
    def build(cls, policy: Callable[..., Policy], recipe: Recipe, settings: dict[str, Any]) -> Self:
        """Build from a recipe; `policy` is the policy's class."""
        own, held = parted(settings)
        return cls(recipe.system, policy(**own), Held(**held), budget=recipe.budget, settings=own, seed=recipe.seed)

    @property
    def reader(self) -> Reader:
        """The language model, which is no part of the memory."""
        return self._reader[0]

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        for place in range(start, len(experience.examples)):
            rows = experience.examples.learn(torch.tensor([place]))
            line = f"{unpack(rows.x)[0]['text'].rstrip()}\n"
            tokens = self.reader.tokens(line, beginning=self.cache.seen == 0)
            with torch.no_grad(), self.cache.on(self.reader.model):
                first = self.cache.seen
                longest = max(1, self.cache.longest)
                for at in range(0, len(tokens), longest):
                    self.reader.logits(torch.tensor(tokens[at : at + longest]), self.cache)
            self.rows.append((int(rows.ids[0]), first, self.cache.seen))
            oldest = self.cache.oldest()
            self.rows = [row for row in self.rows if row[2] > oldest]
            yield Update(examples=1, forwards=1)

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        replies = []
        for row in unpack(x):
            question, length = question_of(row)
            session = self.cache.copy()
            with session.on(self.reader.model):
                tokens = self.reader.tokens(question, beginning=session.seen == 0)
                replies.append(self.reader.go_on(tokens, length, cache=session))
        return answered(replies)

    # Forgetting

    def _forget(self, request: Request) -> tuple[dict[str, Outcome], int, str]:
        if not request.ids:
            raise Unsupported("a cache forgets rows by their ids, and none was given: name them")
        wanted = set(request.ids)
        spans = [row for row in self.rows if row[0] in wanted]
        for _, first, end in spans:
            self.cache.drop(first, end)
        self.rows = [row for row in self.rows if row[0] not in wanted]
        left = sum(self.cache.held_of(first, end) for _, first, end in spans)
        # Later tokens were read while those rows could be seen, and their keys and values carry traces of them
        return {"activations": "approximately removed"}, len(spans), f"{left} entries of those rows are held"

    # What it costs, keeping and coming back

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        yield from (("activations", tensor) for tensor in self.cache.all_tensors())
        for tensors, _ in self._snapshots.values():
            yield from (("snapshots", tensor) for tensor in tensors.values())

    def structure(self) -> dict[str, Any]:
        return {"cache": self.cache.state()[1], "rows": [list(row) for row in self.rows]}

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = self.cache.state()[0]
        return {f"state.{name}": tensor for name, tensor in tensors.items()}, self.structure()

    def _set_state(self, tensors: dict[str, Tensor], structure: dict[str, Any]) -> None:
        self.rows = [(int(i), int(first), int(end)) for i, first, end in structure["rows"]]
        found = {name.removeprefix("state."): tensor for name, tensor in tensors.items()}
        self.cache.take_back(found, structure["cache"], self.reader.model.device)
