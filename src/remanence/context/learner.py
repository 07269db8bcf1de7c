"""A cache policy as a learner: a language model reads what arrives, and answers from what its cache still holds.

What is remembered lies in the cache alone: the model's weights are shared with every other memory, and never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from remanence.answer import Answer
from remanence.context.cache_settings import CacheSettings
from remanence.context.caches.cache import PolicyCache
from remanence.context.caches.factory import cache
from remanence.context.reading_learner import ReadingLearner
from remanence.errors import Unsupported, UsageError
from remanence.models.reader import answered, question_of, reader
from remanence.request import Removal as Outcome
from remanence.request import Request
from remanence.streams.text_rows import unpack
from remanence.update import Update

if TYPE_CHECKING:
    from remanence.streams.experience import Experience


CHUNK = 64
"""How many tokens are read at once."""


class CacheLearner(ReadingLearner):
    """Reads a stream of lines into a bounded cache, and answers each question from a copy of it.

    Parameters
    ----------
    policy:
        Which cache policy, by name.
    settings:
        Its hyperparameters.
    kept:
        Which language model reads, and how many tokens the cache holds where there is no budget.
    budget:
        Bytes that the cache holds at most.
    seed:
        Unused: nothing is drawn.
    """

    def __init__(
        self,
        policy: str,
        settings: dict[str, Any],
        kept: CacheSettings,
        *,
        budget: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(reader(kept.language_model), seed=seed)
        limit = self.reader.positions
        tokens = kept.tokens or (limit // 2 if limit is not None and budget is None else None)
        if budget is not None and kept.tokens is not None:
            raise UsageError(f"a budget of {budget} bytes and {kept.tokens} tokens were given: give one of them")
        self.cache: PolicyCache = cache(policy, model=self.reader.model, budget=budget, tokens=tokens, **settings)
        self.rows: list[tuple[int, int, int]] = []
        """Id, first token and end of every row of which something may still be held."""
        self.position = (-1, 0)

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        for row, line in self._lines(experience, start):
            tokens = self.reader.tokens(line, beginning=self.cache.seen == 0)
            with torch.no_grad(), self.cache.attach(self.reader.model):
                first = self.cache.seen
                for at in range(0, len(tokens), CHUNK):
                    self.reader.logits(torch.tensor(tokens[at : at + CHUNK]), self.cache)
            self.cache.trim()
            self.rows.append((row, first, self.cache.seen))
            oldest = self.cache.oldest
            self.rows = [span for span in self.rows if span[2] > oldest]
            yield Update(examples=1, forwards=1)

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        replies = []
        for row in unpack(x):
            question, length = question_of(row)
            session = self.cache.copy()
            with session.attach(self.reader.model):
                tokens = self.reader.tokens(question, beginning=session.seen == 0)
                replies.append(self.reader.go_on(tokens, length, cache=session))
        return answered(replies)

    # Forgetting

    def _forget(self, request: Request) -> tuple[dict[str, Outcome], int, str]:
        if not request.ids:
            raise Unsupported("a cache forgets rows by their ids, and none was given: name them")
        wanted = set(request.ids)
        spans = [row for row in self.rows if row[0] in wanted]
        gone = sum(self.cache.drop(first, end) for _, first, end in spans)
        self.rows = [row for row in self.rows if row[0] not in wanted]
        # Later tokens were read while those rows could be seen, and their keys and values carry traces of them
        told = f"{gone} entries of those rows were overwritten with zeros"
        return {"activations": "approximately removed"}, len(spans), told

    # What it costs, keeping and coming back

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        yield from (("activations", tensor) for tensor in self.cache.state()[0].values())
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
        self.cache.load_state(found, structure["cache"], self.reader.model.device)
