"""A claim small enough to be run in a test."""

import pytest

from remanence.arena.trials import TrialStore
from remanence.claims.engine.claim import Claim


@pytest.fixture
def tiny():
    """Make a claim on 160 digits an experience."""

    def make(system="er", baseline="naive", **changes):
        settings = {"er": {"size": 50}} if "er" in (system, baseline) else {}
        given = {
            "says": "Rehearsal keeps more.",
            "stream": {"source": "digits", "scenarios": [["split", {"experiences": 5, "order": "shuffled"}]]},
            "training": {"model": "linear", "limit": 160},
            "settings": settings,
            "search": {system: {"lr": [0.01, 0.3]}, baseline: {"lr": [0.01, 0.3]}},
            "limits": {"lr": (0.01, 0.3)},
        } | changes
        return Claim(system, baseline, **given)

    return make


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Where the runs of one test file are kept."""
    return TrialStore(tmp_path_factory.mktemp("claims"))
