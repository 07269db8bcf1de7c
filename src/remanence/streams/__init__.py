"""Streams: where experience comes from, and what of it is disclosed."""

from remanence.streams.blurry import blur
from remanence.streams.cases import working
from remanence.streams.corruptions import imbalance, limit, noise
from remanence.streams.disclosing import disclose, online, unlabelled
from remanence.streams.examples import Examples, InMemory, Rows
from remanence.streams.experience import (
    CLASSIFICATION,
    REGRESSION,
    Disclosure,
    Experience,
    Segment,
    Stream,
    Task,
    TestSet,
)
from remanence.streams.facts import changing
from remanence.streams.folder import folder
from remanence.streams.folds import alone, fold
from remanence.streams.recall.planted_stream import planted
from remanence.streams.recipes import build, hold_out, parse, with_seed
from remanence.streams.recurring import power_law, recur
from remanence.streams.scenarios import SCENARIOS, scenario, split
from remanence.streams.sources import SOURCES, listing, whole
from remanence.streams.table import table
from remanence.streams.tensors import tensors
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
    "alone",
    "blur",
    "build",
    "changing",
    "disclose",
    "fold",
    "folder",
    "hold_out",
    "imbalance",
    "limit",
    "listing",
    "noise",
    "online",
    "parse",
    "permute",
    "planted",
    "power_law",
    "recur",
    "rotate",
    "scenario",
    "split",
    "table",
    "tensors",
    "unlabelled",
    "whole",
    "with_seed",
    "working",
]
