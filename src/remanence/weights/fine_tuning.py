"""Fine-tuning: a language model goes on being trained on the text as it arrives, and answers from its weights alone.

What is remembered lies in the weights that changed, of the whole model or of its last blocks.
It costs their bytes, and those that the optimizer keeps; the weights that stay as they were are no memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.answer import Answer
from remanence.errors import BudgetError, Diverged, StateError, Unsupported, UsageError
from remanence.footprint import format_bytes
from remanence.hyperparameters import validated
from remanence.learner import Learner
from remanence.models.reader import Reader, answered, question_of, reader
from remanence.recipe import Recipe
from remanence.registry import system
from remanence.streams.experience import Experience
from remanence.streams.text_rows import unpack
from remanence.training import Training
from remanence.update import Update
from remanence.weights import optimizers


@system(
    "fine-tuning",
    place="weights",
    training={"batch_size": 4, "epochs": 10, "optimizer": "adamw", "lr": 0.003},
    tuning_note="tried by hand on one stream of recall; a single pass, or plain SGD, left nothing that could be asked for",
)
class FineTuning(Learner):
    """A language model trained further on every line that arrives, by the loss of the next token.

    An update reads `batch_size` lines one after another, as one text. The weights that it changes are the learner's
    own; all others are those of the language model, which every learner of a process shares.

    Parameters
    ----------
    given:
        The language model and its tokenizer, as `language_model` names them; None for the settings alone, which then
        cannot be trained.
    language_model:
        A language model by name, or the folder that holds one.
    layers:
        How many blocks are trained, the last ones (1 or more); None for all the weights there are. With a budget, and
        unless it is given, as many as the budget holds.
    budget:
        Bytes of changed weights and of the optimizer.
    seed:
        From which nothing is drawn: the order is that of the text.
    training:
        `batch_size`, `epochs`, `optimizer`, `lr`, `momentum` and `weight_decay`; see `remanence.training.Training`.

    Shapes
    ------
    Rows are lines and questions as JSON in bytes (n, width) uint8; see `remanence.streams.text_rows`.

    Raises
    ------
    UsageError
        If the model has fewer blocks than `layers`.
    BudgetError
        If not even the last block goes into the budget.

    Example
    -------
    >>> FineTuning(None, layers=2).layers
    2

    Departures
    ----------
    A baseline, of no paper. An update begins anew with its first line and does not see the lines before.
    """

    tasks: ClassVar[frozenset[str]] = frozenset({"answering"})
    runner: ClassVar[str] = "remanence.weights.runner:READER"
    training_settings_used: ClassVar[frozenset[str] | None] = frozenset(
        {"batch_size", "epochs", "optimizer", "lr", "momentum", "weight_decay"}
    )
    kind: ClassVar[str] = "parameters"
    probes = 1

    @validated
    def __init__(
        self,
        given: Reader | None,
        *,
        language_model: Annotated[str, Field(description="which language model, by name or folder")] = "tiny-lm",
        layers: Annotated[int | None, Field(ge=1, description="how many blocks are trained, the last ones")] = None,
        budget: int | None = None,
        seed: int = 0,
        **training: Any,
    ) -> None:
        super().__init__(seed=seed)
        self.training_settings = Training.read(training)
        self.batch_size = self.training_settings.batch_size
        self.language_model, self.layers, self.budget = language_model, layers, budget
        self.position = (-1, 0)
        # Not a module of its own, since a state holds what changed and a budget counts it
        self._reader: tuple[Reader, ...] = () if given is None else (given,)
        self.changed = nn.ParameterDict()
        if given is not None:
            if layers is None and budget is not None:
                self.layers = self._affordable(budget)
            for name, weight in trained(given.model, self.layers).items():
                self.changed[name.replace(".", "/")] = nn.Parameter(weight.detach().clone())
        self.optimizer = self._make_optimizer()

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        """Build from a recipe."""
        if model is not None:
            raise Unsupported("a language model of your own is given by its folder: set language_model to it")
        name = settings.get("language_model", "tiny-lm")
        made = cls(reader(name), **settings, budget=budget, seed=recipe.seed, **recipe.training)
        made.recipe = recipe
        return made

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raise a `UsageError` if a hyperparameter cannot be used; no model is loaded."""
        cls(None, **settings)

    @property
    def reader(self) -> Reader:
        if not self._reader:
            raise StateError("fine-tuning has no language model yet: make it with remanence.make")
        return self._reader[0]

    @property
    def weights(self) -> dict[str, Tensor]:
        """The changed weights by their names in the model."""
        return {name.replace("/", "."): weight for name, weight in self.changed.items()}

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        if start and self.position != (experience.index, start):
            raise StateError(
                f"update {start} of experience {experience.index} was asked for, the learner stands at {self.position}"
            )
        size, rows = self.training_settings.batch_size, len(experience.examples)
        once = math.ceil(rows / size)
        epochs = self.training_settings.epochs if experience.again else 1
        for update in range(start, epochs * once):
            first = update % once * size
            lines = experience.examples.learn(torch.arange(first, min(first + size, rows)))
            text = "".join(f"{row['text']}\n" for row in unpack(lines.x))
            loss = self._train(text)
            self.position = (experience.index, update + 1)
            yield Update(examples=len(lines.ids), forwards=len(lines.ids), backwards=len(lines.ids), steps=1, loss=loss)

    def _train(self, text: str) -> float:
        """One step of the optimizer on the loss of every token of a text but its first."""
        tokens = torch.tensor(self.reader.tokens(text))
        longest = self.reader.positions or len(tokens)
        self.optimizer.zero_grad()
        total = 0.0
        with torch.enable_grad():
            for piece in torch.split(tokens, longest):
                if len(piece) > 1:
                    logits, _ = self.reader.logits(piece, weights=self.weights)
                    loss = nn.functional.cross_entropy(logits[0, :-1], piece[1:], reduction="sum") / (len(tokens) - 1)
                    loss.backward()  # type: ignore[no-untyped-call]
                    total += loss.item()
        if not math.isfinite(total):
            raise Diverged(f"the loss became {total} in update {self.position[1] + 1}: lower the learning rate")
        self.optimizer.step()
        self.enforce_budget()
        return total

    def enforce_budget(self) -> None:
        held = self.footprint().total
        if self.budget is not None and held > self.budget:
            raise BudgetError(
                f"fine-tuning holds {format_bytes(held)} of changed weights and their optimizer, more than the budget "
                f"of {format_bytes(self.budget)}: raise --budget"
            )

    def _affordable(self, budget: int) -> int | None:
        """How many of the last blocks the budget holds with their optimizer, at least 1; None for the whole model."""
        settings = self.training_settings
        copies = 1 + (2 if settings.optimizer != "sgd" else int(settings.momentum > 0))
        choices: list[int | None] = [None, *range(len(blocks(self.reader.model)), 1, -1)]
        for layers in choices:
            weights = trained(self.reader.model, layers).values()
            # torch's optimizers count the steps of each weight in a float32
            if sum(copies * weight.nbytes + 4 * (settings.optimizer != "sgd") for weight in weights) <= budget:
                return layers
        return 1

    # Answering

    def _answer(self, x: Tensor, task: int | None) -> Answer:
        asked = [question_of(row) for row in unpack(x)]
        return answered([self.reader.answer("", text, length, self.weights) for text, length in asked])

    # Keeping and coming back

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "position": list(self.position)}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        experience, update = structure["position"]
        self.position = (int(experience), int(update))

    def _make_optimizer(self) -> optimizers.Optimizer:
        return optimizers.make(self.training_settings.model_dump(), [(1.0, dict(self.changed.items()))])

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        return optimizers.tensors(self.optimizer, dict(self.changed.items()))

    def _set_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.optimizer = self._make_optimizer()
        optimizers.put(self.optimizer, dict(self.changed.items()), tensors)


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a language model from the first to the last, by name: its longest list of modules."""
    lists = {name: part for name, part in model.named_modules() if isinstance(part, nn.ModuleList)}
    if not lists:
        raise UsageError(f"{type(model).__name__} has no list of blocks: leave layers and the budget out")
    name = max(lists, key=lambda found: len(lists[found]))
    return {f"{name}.{number}": block for number, block in enumerate(lists[name])}


def trained(model: nn.Module, layers: int | None) -> dict[str, Tensor]:
    """The weights of the last so many blocks by name, or of the whole model; one that is shared is there once."""
    named: dict[str, Tensor] = dict(model.named_parameters())
    if layers is None:
        return named
    names = list(blocks(model))
    if layers > len(names):
        raise UsageError(f"layers is {layers}, and the language model has {len(names)} blocks: ask for fewer")
    return {name: weight for name, weight in named.items() if name.startswith(tuple(f"{n}." for n in names[-layers:]))}
