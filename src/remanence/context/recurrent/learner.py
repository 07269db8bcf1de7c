"""A memory layer as a learner: a language model around it reads what arrives, and answers from the layer's state.

What is remembered lies in the state alone: the weights were trained before on other texts, and never change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from remanence.answer import Answer
from remanence.context import tree
from remanence.context.reading_learner import ReadingLearner
from remanence.context.recurrent.recipe import recurrent_lm
from remanence.errors import BudgetError, Unsupported, UsageError
from remanence.footprint import format_bytes
from remanence.hyperparameters import hyperparameters, validated
from remanence.models.byte_tokenizer import ByteTokenizer
from remanence.models.reader import Reader, answered, question_of
from remanence.request import Removal as Outcome
from remanence.request import Request
from remanence.streams.text_rows import unpack
from remanence.update import Update

if TYPE_CHECKING:
    from remanence.streams.experience import Experience


class LayerSettings:
    """The setting that every memory layer has where it is run as a learner.

    Example
    -------
    >>> LayerSettings(language_model="micro-based").language_model
    'micro-based'
    """

    @validated
    def __init__(
        self,
        *,
        language_model: Annotated[
            str | None, Field(description="the model around the layer, by name or folder; else tiny- and its name")
        ] = None,
    ) -> None:
        self.language_model = language_model


def language_model_for(layer: str, settings: dict[str, Any]) -> str:
    """The language model that settings ask for.

    Raises
    ------
    UsageError
        If they set a hyperparameter of the layer itself.
    """
    own = sorted(settings.keys() - {one.name for one in hyperparameters(LayerSettings)})
    if own:
        raise UsageError(
            f"{own[0]} of {layer} is settled when a language model around it is trained: prepare one with "
            "remanence.context.recurrent, and name it as language_model"
        )
    return LayerSettings(**settings).language_model or f"tiny-{layer}"


class RecurrentReader(Reader):
    """Reads with a language model around a memory layer; what a cache is to others is here the layer's state."""

    def logits(self, tokens: Tensor, cache: Any = None, weights: Mapping[str, Tensor] | None = None) -> tuple[Any, Any]:
        if weights is not None:
            raise Unsupported("a language model around a memory layer reads with its own weights: leave others out")
        scores, state = self.model(tokens[None], cache)
        return scores, state


class RecurrentLearner(ReadingLearner):
    """Reads a stream of lines into the state of a memory layer, and answers each question from that state.

    Parameters
    ----------
    layer:
        Which memory layer, by name.
    language_model:
        A trained language model around it, as `recurrent_lm` takes them.
    budget:
        The most bytes that the state may have.
    seed:
        Unused: nothing is drawn.

    Raises
    ------
    BudgetError
        If the state is larger than the budget: its size is the layer's, and does not follow from a budget.
    """

    def __init__(self, layer: str, language_model: str, *, budget: int | None = None, seed: int = 0) -> None:
        model = recurrent_lm(language_model, layer)
        super().__init__(RecurrentReader(model, ByteTokenizer()), seed=seed)
        with torch.no_grad():
            self.state: tree.State = tree.apply(model.initial(1), torch.clone)
        self.seen = 0
        size = tree.nbytes(self.state)
        if budget is not None and size > budget:
            raise BudgetError(
                f"the state of {layer} takes {format_bytes(size)}, more than the budget of {format_bytes(budget)}: raise "
                "the budget, or prepare a model around a smaller layer"
            )

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        for _, line in self._lines(experience, start):
            tokens = self.reader.tokens(line, beginning=self.seen == 0)
            with torch.no_grad():
                _, state = self.reader.logits(torch.tensor(tokens), self.state)
            # Of its own, so that no view holds on to what was computed on the way
            self.state = tree.apply(state, torch.clone)
            self.seen += len(tokens)
            yield Update(examples=1, forwards=1)

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        replies = []
        for row in unpack(x):
            question, length = question_of(row)
            tokens = self.reader.tokens(question, beginning=self.seen == 0)
            replies.append(self.reader.go_on(tokens, length, cache=self.state))
        return answered(replies)

    # Forgetting

    def _forget(self, request: Request) -> tuple[dict[str, Outcome], int, str]:
        raise Unsupported(
            "single rows cannot be removed from the state of a layer, which mixes all that it read: begin with a new "
            "learner, and give it what shall stay"
        )

    # What it costs, keeping and coming back

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        yield from (("activations", tensor) for _, tensor in tree.leaves(self.state))
        for tensors, _ in self._snapshots.values():
            yield from (("snapshots", tensor) for tensor in tensors.values())

    def structure(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return dict(tree.leaves(self.state)), self.structure()

    def _set_state(self, tensors: dict[str, Tensor], structure: dict[str, Any]) -> None:
        self.seen = int(structure["seen"])
        self.state = tree.filled(self.state, tensors)
