"""AdaNPC: a nearest-neighbour classifier that appends the questions it answers, so that its memory drifts with them.

What is remembered are the features of labelled rows, and those of questions that were answered surely
enough, with the label that was answered. It costs 4 × width + 20 bytes a row and one product with all of
them a question; no gradient step is made when the inputs drift.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from remanence.answer import Answer
from remanence.hyperparameters import validated
from remanence.models.closed_form import ClosedForm
from remanence.recipe import Recipe
from remanence.registry import Paper, system
from remanence.request import Removal, Request
from remanence.store.neighbours.entries import Entries, tally

GIVEN, ANSWERED = 0, 1
"""Whether the label of an entry came with it, or is this learner's own answer."""


@system(
    "adanpc",
    paper=Paper(
        "AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation",
        "Zhang, Wang, Jin, Yuan, Zhang, Wang, Jin, Tan",
        2023,
        "2304.12566",
        74,
    ),
    place="store",
    baseline="naive",
    variant="without retraining of batch normalisation, on the inputs themselves or a module of your own",
)
class AdaNPC(ClosedForm):
    """Non-parametric test-time adaptation.

    The memory holds features z_i of length one with labels y_i. A question z is answered by its `neighbours`
    nearest entries: with s_i their cosines, class c gets the share p_c, the sum of softmax(s_i /
    `temperature`) over those of label c. `adapt` then appends z with the label argmax p where max p is at
    least `confidence`, so that the memory moves from the distribution it was taught towards that of the
    questions. `predict` appends nothing.

    Parameters
    ----------
    inputs, encoder, seed, batch_size:
        As in `ClosedForm`.
    neighbours:
        How many vote (1 or more).
    temperature:
        Of the softmax over cosines (above 0).
    confidence:
        Least share of the votes with which an answer is appended (0 to 1); 0 appends all.
    entries:
        At most so many, 0 for as many as come; a budget sets it. Over it a uniform sample of all is kept.

    Raises
    ------
    UsageError
        If a feature is not a finite number.

    Example
    -------
    >>> import remanence as rm
    >>> turned = rm.streams.rotate("digits", experiences=5, degrees=45)
    >>> stream = rm.streams.limit(rm.streams.unlabelled(turned), examples=300)
    >>> learner = rm.make("adanpc", stream, neighbours=10)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> asked = stream.tests[4]
    >>> taught = rm.make("adanpc", stream, neighbours=10).learn(next(stream.experiences()))
    >>> right = [float((it.predict(asked.x).labels == asked.y).float().mean()) for it in (learner, taught)]
    >>> right[0] > 0.7, right[1] < 0.4
    (True, True)

    References
    ----------
    Zhang et al., AdaNPC: Exploring Non-Parametric Classifier for Test-Time Adaptation, 2023,
    arXiv:2304.12566.

    Departures
    ----------
    The paper trains the encoder on the labelled domains, with cross-entropy or the neighbours' own
    likelihood; here it is frozen, and the inputs themselves by default. The authors' code compares
    `confidence` with the softmax of the shares, here it is compared with the shares. The paper's memory
    has no limit at test time. AdaNPC-BN, which retrains a normalisation layer by the entropy, is left out.
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
        temperature: Annotated[float, Field(gt=0, description="of the softmax over cosines")] = 0.1,
        confidence: Annotated[float, Field(ge=0, le=1, description="least share of votes to append an answer")] = 0.0,
        entries: Annotated[int, Field(ge=0, description="at most so many, 0: no bound")] = 0,
    ) -> None:
        super().__init__(inputs, encoder, seed=seed, batch_size=batch_size)
        self.neighbours, self.temperature, self.confidence = neighbours, temperature, confidence
        self.entries = Entries(inputs, entries, seed=seed, marks=True)
        self.asked = 0
        """How many questions without an id were answered in `adapt`; they get negative ids."""

    @classmethod
    def sized(cls, inputs: int, settings: dict[str, Any], budget: int | None) -> dict[str, Any]:
        if budget is None or settings.get("entries"):
            return settings
        return {**settings, "entries": max(1, budget // Entries.bytes_each(inputs, marks=True))}

    @classmethod
    def build(cls, recipe: Recipe, settings: dict[str, Any], model: nn.Module | None, budget: int | None) -> Self:
        made = super().build(recipe, settings, model, budget)
        if made.elastic and budget is not None:  # what the encoder holds is taken off what entries may
            room = budget - made.footprint().total
            made.entries.limit = max(1, room // Entries.bytes_each(made.inputs, marks=True))
        return made

    def _absorb(self, features: Tensor, y: Tensor, ids: Tensor) -> None:
        self.entries.add(features, y, ids, GIVEN)

    def _scores(self, features: Tensor) -> Tensor:
        if not len(self.entries):
            return torch.zeros(len(features), len(self.classes))
        cosines, near = self.entries.nearest(features, min(self.neighbours, len(self.entries)))
        columns = self.entries.columns(self.classes)[near]
        return tally(torch.softmax(cosines / self.temperature, dim=1), columns, len(self.classes))

    def _adapt(self, x: Tensor, task: int | None, ids: Tensor | None) -> Answer:
        features = self.features(x)
        answer = self._answered(features, task)
        if ids is None:
            ids = -1 - torch.arange(self.asked, self.asked + len(x))
            self.asked += len(x)
        if len(self.entries) and len(x):
            sure = answer.scores.amax(1) >= self.confidence
            self.entries.add(features[sure], answer.labels[sure], ids[sure], ANSWERED)
        return answer

    def _forget(self, request: Request) -> tuple[dict[str, Removal], int, str]:
        vectors = None if request.x is None else self.features(request.x.to(self.device))
        gone = self.entries.asked_for(request, vectors)
        self.entries.keep((~gone).nonzero().squeeze(1))
        self.classes = list(dict.fromkeys(self.entries.labels.tolist()))
        places: dict[str, Removal] = {"indexes": "removed"}
        if bool((self.entries.marks == ANSWERED).any()) and bool(gone.any()):
            places["labels that it gave by itself"] = "remains"  # which entries had a say in them is not kept
        return places, int(gone.sum()), "the ids and vectors were searched for in the memory after the removal"

    def structure(self) -> dict[str, Any]:
        return {**super().structure(), "asked": self.asked}

    def restructure(self, structure: dict[str, Any]) -> None:
        super().restructure(structure)
        self.asked = structure["asked"]
