"""Reasons weighed and added: the score of a candidate, and what it is made of.

The weights are the maximum of the likelihood that a softmax over the candidates gives to the evidence turns of
LoCoMo's conversations 26, 41 and 43 (L2 penalty 0.3), rounded; fitted to the other three they come out nearly
the same. ``python -m bench.finding`` fits them anew and reports both halves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from remanence.store.retrieve.candidates import Candidates
from remanence.store.retrieve.features import FEATURES
from remanence.store.retrieve.query import Query
from remanence.store.retrieve.terms import Array

WEIGHTS: Mapping[str, float] = {
    "words": 1.4,
    "words nearby": 4.0,
    "words around": 3.3,
    "meaning": 5.4,
    "meaning nearby": 2.3,
    "speaker": 2.5,
    "reply": 1.6,
    "question": -0.8,
    "time told": 2.2,
    "time": 2.6,
}
"""What each reason counts, see `remanence.store.retrieve.features`."""

FIRST: Mapping[str, float] = {"words": 3.3, "meaning": 9.0, "speaker": 3.0}
"""The weights by which candidates are ordered before anything is known of their neighbours, fitted likewise."""


def contributions(query: Query, candidates: Candidates, weights: Mapping[str, float]) -> dict[str, Array]:
    """Weight times reason, for every reason whose weight is not 0; their sum is the score.

    Parameters
    ----------
    query, candidates:
        What was asked, and what may answer it.
    weights:
        By the names of `remanence.store.retrieve.features.FEATURES`.
    """
    return {name: weight * FEATURES[name](query, candidates) for name, weight in weights.items() if weight}


def total(parts: Mapping[str, Array], count: int) -> Array:
    """The scores (count,) of candidates from the contributions to them."""
    score = np.zeros(count)
    for part in parts.values():
        score = score + part
    return score
