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
from remanence.streams.folder import folder
from remanence.streams.scenarios import SCENARIOS, build, scenario, split
from remanence.streams.sources import SOURCES, whole
from remanence.streams.table import table
from remanence.streams.tensors import tensors

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
    "folder",
    "scenario",
    "split",
    "table",
    "tensors",
    "whole",
]
