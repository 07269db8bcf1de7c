"""Visual memory: a database of labelled embeddings, in which learning is an insert and unlearning a delete.

What is remembered is the embedding of every example, made by a frozen encoder, with its label and id; a
question is answered by a vote of its nearest neighbours, weighted by their ranks. It costs 4 × width + 16
bytes an example and one product with all of them a question, and a deleted example leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.hyperparameters import validated
from remanence.models.closed_form import ClosedForm
from remanence.recipe import Recipe
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.store.neighbours.entries import Entries, tally
from remanence.streams.experience import Experience
from remanence.update import Update

UNKNOWN = -1
"""The mark of an entry whose record of wrong decisions was not taken yet."""


@system(
    "visual-memory",
    paper=Paper(
        "Towards flexible perception with visual memory",
        "Geirhos, Jaini, Stone, Medapati, Yi, Toderici, Ogale, Shlens",
        2024,
        "2408.08172",
        127,
    ),
    place="store",
    baseline="er",
    variant="rank voting, no pruning, on the inputs themselves or a module of your own",
)
class VisualMemory(ClosedForm):
    """A vote of the nearest labelled embeddings.

    The memory holds z_i = Φ(x_i) of length one and y_i. Of a question's `neighbours` nearest entries by
    cosine distance d_i, nearest first, each gives its class the weight

    - ``rank``: 1 / (alpha + i), with i counted from 0;
    - ``plurality``: 1;
    - ``distance``: exp(-d_i);
    - ``softmax``: exp((1 - d_i) / temperature), divided by their sum;

    and the scores are these sums. Pruning looks at what entries do to one another: after each experience
    (and in `consolidate`) every entry is asked about with itself left out, and v counts how often an entry voted
    for a wrong label that won. ``soft`` pruning multiplies the weight of an entry with v > 0 by 1.75 /
    (1 + v), ``hard`` pruning removes entries with v of `threshold` and more.

    Forgetting leaves, to the bit, the memory of a learner that never saw the rows, as long as no limit and
    no hard pruning has displaced entries because of them.

    Parameters
    ----------
    inputs, encoder, seed, batch_size:
        As in `ClosedForm`.
    neighbours:
        How many vote (1 or more).
    voting:
        How their votes are weighted.
    alpha:
        Offset of the ranks (above 0).
    temperature:
        Of ``softmax`` voting (above 0).
    pruning:
        ``none``, ``soft`` or ``hard``.
    threshold:
        Wrong decisions from which on ``hard`` pruning removes an entry (1 or more).
    entries:
        At most so many, 0 for as many as come; a budget sets it. Over it a uniform sample of all is kept.

    Raises
    ------
    UsageError
        If a feature is not a finite number.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.split("digits", experiences=5)
    >>> learner = rm.make("visual-memory", stream, neighbours=10)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> bool((learner.predict(stream.tests[0].x).labels == stream.tests[0].y).float().mean() > 0.95)
    True
    >>> learner.forget(rm.Request(label=0)).complete, 0 in learner.predict(stream.tests[0].x).classes
    (True, False)

    References
    ----------
    Geirhos et al., Towards flexible perception with visual memory, 2024, arXiv:2408.08172.

    Departures
    ----------
    The paper's encoders are DinoV2 and CLIP; here it is whatever is handed over, and the inputs themselves
    by default. The paper counts how often a neighbour "contributed to a wrong decision"; here it did if
    the decision was its label and was wrong. The paper's threshold of hard pruning, 128, is for 1.28
    million images and 100 neighbours; it has no limit of entries, and asks ScaNN where they are many.
    """

    kind = "indexes"

    @validated
    def __init__(
        self,
        inputs: int,
        encoder: nn.Module | None = None,
        *,
        seed: int = 0,
        batch_size: int = 10,
        neighbours: Annotated[int, Field(ge=1, description="how many vote")] = 100,
        voting: Annotated[
            Literal["rank", "plurality", "distance", "softmax"], Field(description="how votes are weighted")
        ] = "rank",
        alpha: Annotated[float, Field(gt=0, description="offset of the ranks")] = 2.0,
        temperature: Annotated[float, Field(gt=0, description="of softmax voting")] = 0.07,
        pruning: Annotated[
            Literal["none", "soft", "hard"], Field(description="of entries that vote for wrong labels")
        ] = "none",
        threshold: Annotated[int, Field(ge=1, description="wrong decisions that remove an entry")] = 128,
        entries: Annotated[int, Field(ge=0, description="at most so many, 0: no bound")] = 0,
    ) -> None:
        super().__init__(inputs, encoder, seed=seed, batch_size=batch_size)
        self.neighbours, self.voting, self.alpha, self.temperature = neighbours, voting, alpha, temperature
        self.pruning, self.threshold = pruning, threshold
        self.entries = Entries(inputs, entries, seed=seed, marks=pruning != "none")

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        if budget is None or settings.get("entries"):
            return settings
        each = Entries.bytes_each(inputs, marks=settings.get("pruning", "none") != "none")
        return {**settings, "entries": max(1, budget // each)}

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        made = super().build(recipe, settings, model, budget)
        if made.elastic and budget is not None:  # what the encoder holds is taken off what entries may
            each = Entries.bytes_each(made.inputs, marks=made.pruning != "none")
            made.entries.limit = max(1, (budget - made.footprint().total) // each)
        return made

    # Learning

    def _steps(self, experience: Experience, start: int) -> Iterator[Update]:
        for update in super()._steps(experience, start):
            if self.pruning != "none" and self.position[1] * self.batch_size >= len(experience.examples):
                self._review(torch.arange(len(self.entries)))
            yield update

    def _consolidate(self, budget: int) -> Iterator[Update]:
        if self.pruning != "none" and len(self.entries) > 1 and budget > 0:
            self._review(torch.arange(len(self.entries)))
            yield Update()

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        self.entries.add(features, y, ids, UNKNOWN)

    def _review(self, places: Tensor) -> None:
        """Ask about the entries at these places, each with itself left out, and note who misled."""
        if len(places) > 1:
            columns = self.entries.columns(self.classes)[places]
            cosines, near = self.entries.others(min(self.neighbours, len(places) - 1), places)
            answered = tally(self._weights(cosines), columns[near], len(self.classes)).argmax(1)
            misled = (columns[near] == answered.unsqueeze(1)) & (answered != columns).unsqueeze(1)
            self.entries.marks[places] = torch.bincount(near[misled], minlength=len(places)).int()
        else:
            self.entries.marks[places] = 0
        if self.pruning == "hard":
            self.entries.keep((self.entries.marks < self.threshold).nonzero().squeeze(1))

    # Answering

    def _weights(self, cosines: Tensor) -> Tensor:
        """The weight of each neighbour (n, k), nearest first."""
        if self.voting == "rank":
            return (1 / (self.alpha + torch.arange(cosines.shape[1]))).to(cosines).expand_as(cosines)
        if self.voting == "distance":
            return torch.exp(cosines - 1)
        if self.voting == "softmax":
            return torch.softmax(cosines / self.temperature, dim=1)
        return torch.ones_like(cosines)

    def _scores(self, features: Tensor) -> Tensor:
        if not len(self.entries):
            return torch.zeros(len(features), len(self.classes))
        cosines, near = self.entries.nearest(features, min(self.neighbours, len(self.entries)))
        weights = self._weights(cosines)
        if self.pruning == "soft":
            weights = weights * self.reliability()[near]
        return tally(weights, self.entries.columns(self.classes)[near], len(self.classes))

    def reliability(self) -> Tensor:
        """The factor on the weight of each entry (entries,) float32, under soft pruning."""
        wrong = self.entries.marks
        return torch.where(wrong > 0, 1.75 / (1 + wrong), 1.0)

    # Forgetting

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        vectors = None if request.x is None else self.features(request.x.to(self.device))
        gone = self.entries.asked_for(request, vectors)
        count = int(gone.sum())
        self.entries.keep((~gone).nonzero().squeeze(1))
        held = self.entries.labels.tolist()
        self.classes = list(dict.fromkeys(held))
        if self.pruning != "none" and count:  # what others thought of the rows that are gone goes with them
            self._review((self.entries.marks != UNKNOWN).nonzero().squeeze(1))
        places: dict[str, Removal] = {"indexes": "removed"}
        return places, count, "the ids and vectors were searched for in the memory after the removal"
