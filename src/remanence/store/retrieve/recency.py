"""Recency and strength: what was said lately, and what is held firmly; both count for nothing unless asked for."""

from __future__ import annotations

import numpy as np

from remanence.store.retrieve.candidates import Candidates
from remanence.store.retrieve.terms import Array

_DAY = 86_400 * 1_000_000


def recency(candidates: Candidates, now: int, days: float) -> Array:
    """1 for what was said (or else recorded) now or later, half of it for every so many days before (records,).

    References
    ----------
    Park, O'Brien, Cai, Morris, Liang, Bernstein: Generative Agents: Interactive Simulacra of Human Behavior,
    2023, arXiv 2304.03442 (an exponential decay since the last use; here since it was said).
    """
    said = [stored.recorded_at if stored.said_at is None else stored.said_at for stored in candidates.stored]
    age = np.maximum(now - np.array(said, dtype=np.float64), 0.0) / _DAY
    return np.asarray(0.5 ** (age / days))


def strength(candidates: Candidates) -> Array:
    """The records' strength as a share of itself and 1, so that 1, which all have at first, counts one half."""
    held = np.array([stored.strength for stored in candidates.stored], dtype=np.float64)
    return np.asarray(held / (held + 1))
