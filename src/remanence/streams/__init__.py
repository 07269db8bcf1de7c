"""Streams: where experience comes from, and what of it is disclosed."""

from remanence.streams.experience import (
    CLASSIFICATION,
    REGRESSION,
    Disclosure,
    Examples,
    Experience,
    InMemory,
    Rows,
    Segment,
    Stream,
    Task,
    TestSet,
)
from remanence.streams.scenarios import SCENARIOS, build, scenario, split
from remanence.streams.sources import SOURCES, whole

__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "SCENARIOS",
    "SOURCES",
    "Disclosure",
    "Examples",
    "Experience",
    "InMemory",
    "Rows",
    "Segment",
    "Stream",
    "Task",
    "TestSet",
    "build",
    "scenario",
    "split",
    "whole",
]
