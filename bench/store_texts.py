"""A million different texts with the word frequencies of real ones, and records made of them.

The pool is turns of LoCoMo, sentences of MuSiQue's passages, CLINC150 sentences and lines of Shakespeare. A text
is the beginning of one of them and the end of another from the same source, each cut in the middle between two
words; a quarter of the texts comes from each source. Words are therefore as frequent as in the pool, and a
question about LoCoMo meets in a million records a quarter of a million that speak as LoCoMo does.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from remanence.streams.dialogues import ADVERSARIAL, turns

SCOPES = 1000
SESSION = 20
"""Records that follow each other in a scope before the next scope has its turn."""


def pool() -> tuple[list[list[str]], list[str]]:
    """The texts of each source, LoCoMo first, and the names of those who speak there."""
    data = Path(os.environ["REMANENCE_DATA"])
    said, names = set(), set()
    for talk in json.loads((data / "locomo" / "locomo6.json").read_text("utf-8")):
        for _, record in turns(talk["conversation"], ""):
            said.add(record["text"])
            names.add(record["speaker"])
    passages = json.loads((data / "musique" / "corpus.json").read_text("utf-8"))
    sentences = {part for one in passages for part in re.split(r"(?<=[.!?])\s+", one["text"]) if len(part) > 15}
    clinc = {
        text
        for part in ("train", "val", "test")
        for text in pq.read_table(data / "clinc150" / f"{part}.parquet").column("text").to_pylist()
    }
    lines = (data / "tinyshakespeare" / "input.txt").read_text("utf-8").splitlines()
    sources = [said, sentences, clinc, {line for line in lines if len(line) > 15}]
    return [sorted(some) for some in sources], sorted(names)


def texts(count: int) -> Iterator[tuple[int, str]]:
    """Different texts, each with the number of its source; always the same ones."""
    sources, _ = pool()
    halves = [[(one.split(), (len(one.split()) + 1) // 2) for one in some] for some in sources]
    chosen, seen = random.Random(0), set()
    while len(seen) < count:
        source = chosen.randrange(len(sources))
        (first, upto), (second, since) = chosen.choices(halves[source], k=2)
        text = " ".join(first[:upto] + second[since:])
        if text not in seen:
            seen.add(text)
            yield source, text


def records(count: int) -> Iterator[dict[str, Any]]:
    """Sessions of twenty records of one scope; two people speak in each scope, and what LoCoMo says is spoken."""
    _, names = pool()
    for number, (source, text) in enumerate(texts(count)):
        scope = number // SESSION % SCOPES
        session = number // SESSION // SCOPES
        record = {"text": text, "scope": f"user/{scope}", "source": f"session {session}"}
        if not source:
            record["speaker"] = names[(scope + number % 2) % len(names)]
            record["said_at"] = f"20{session % 26:02d}-{1 + scope % 12:02d}-{1 + scope % 28:02d}T10:00Z"
        yield record


def questions(count: int) -> list[str]:
    """Questions about LoCoMo and MuSiQue, drawn at random."""
    data = Path(os.environ["REMANENCE_DATA"])
    talks = json.loads((data / "locomo" / "locomo6.json").read_text("utf-8"))
    asked = {one["question"] for talk in talks for one in talk["qa"] if one["category"] != ADVERSARIAL}
    further = {one["question"] for one in json.loads((data / "musique" / "questions50.json").read_text("utf-8"))}
    return random.Random(0).sample(sorted(asked), count - 50) + sorted(further)
