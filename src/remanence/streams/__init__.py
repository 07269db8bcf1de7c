"""Streams: where experience comes from, and what of it is disclosed."""

from remanence.streams.blurry import blur
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
from remanence.streams.transforms import permute, rotate

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
    "blur",
    "build",
    "permute",
    "rotate",
    "scenario",
    "split",
    "whole",
]
