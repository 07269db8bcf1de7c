"""Text in streams: a record or a question is one row, its JSON in UTF-8, padded with zeros.

So that what is written travels like every other row: cut, batched, checkpointed and handed to `predict`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from remanence.errors import UsageError
from remanence.streams.examples import InMemory
from remanence.streams.experience import Disclosure, Segment, Stream, Task, TestSet


def pack(rows: Sequence[Mapping[str, Any]], width: int | None = None) -> Tensor:
    """Rows as bytes (n, width) uint8; `width` is the longest row's, if not given.

    Example
    -------
    >>> pack([{"text": "hello"}]).shape
    torch.Size([1, 17])
    >>> unpack(pack([{"text": "hello"}, {"text": "a"}]))[1]
    {'text': 'a'}
    """
    encoded = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    longest = max(map(len, encoded), default=1)
    if width is not None and width < longest:
        raise UsageError(f"a row of {longest} bytes was given where rows have {width}: pack them together")
    packed = torch.zeros((len(encoded), width or longest), dtype=torch.uint8)
    for place, text in enumerate(encoded):
        packed[place, : len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return packed


def unpack(packed: Tensor) -> list[dict[str, Any]]:
    """The rows that `pack` packed."""
    return [json.loads(bytes(row.tolist()).rstrip(b"\x00")) for row in packed.to(torch.uint8).cpu()]


def pack_texts(texts: Sequence[str]) -> Tensor:
    """Texts as bytes (n, longest) uint8, padded with zeros: right answers as the targets of a test set.

    Example
    -------
    >>> unpack_texts(pack_texts(["yes", "in May"]))
    ['yes', 'in May']
    """
    if any("\x00" in text for text in texts):
        raise UsageError("a text holds a zero byte, which pads rows: leave it out")
    encoded = [text.encode() for text in texts]
    packed = torch.zeros((len(encoded), max(map(len, encoded), default=0)), dtype=torch.uint8)
    for place, text in enumerate(encoded):
        packed[place, : len(text)] = torch.tensor(list(text), dtype=torch.uint8)
    return packed


def unpack_texts(packed: Tensor) -> list[str]:
    """The texts that `pack_texts` packed."""
    return [bytes(row.tolist()).rstrip(b"\x00").decode() for row in packed.to(torch.uint8).cpu()]


@dataclass(frozen=True)
class Question:
    """What is asked, in which scope, and the rows that answer it."""

    text: str
    evidence: tuple[int, ...]
    scope: str = ""
    kind: str = ""

    def as_row(self) -> dict[str, Any]:
        return {"question": self.text, **({"scope": self.scope} if self.scope else {})}


@dataclass(frozen=True)
class Chapter:
    """Records that arrive together, each with its number in the stream, and a named set of questions."""

    name: str
    records: Sequence[tuple[int, Mapping[str, Any]]]
    questions: Sequence[Question]


def question_stream(
    name: str,
    chapters: Sequence[Chapter],
    metric: str,
    recipe: dict[str, Any] | None = None,
    notes: dict[str, object] | None = None,
) -> Stream:
    """A stream of records with questions about them.

    Parameters
    ----------
    name:
        What it is called.
    chapters:
        The experiences; those without questions add records only.
    metric:
        ``recall@k`` (the share of a question's evidence among the first k records named) or ``hit@k``
        (whether any of it is).
    recipe:
        As in `Stream.recipe`; None for a stream of one's own.
    """
    rows = [dict(record) for chapter in chapters for _, record in chapter.records]
    asked = [question.as_row() for chapter in chapters for question in chapter.questions]
    width = max(
        max((len(json.dumps(row, ensure_ascii=False).encode()) for row in group), default=1) for group in (rows, asked)
    )
    segments, tests = [], []
    for chapter in chapters:
        ids = torch.tensor([number for number, _ in chapter.records], dtype=torch.int64)
        x = pack([record for _, record in chapter.records], width)
        segments.append(
            Segment(InMemory(x, torch.zeros(len(ids), dtype=torch.int64), ids, ordered=True), name=chapter.name)
        )
        if chapter.questions:
            tests.append(
                TestSet(
                    chapter.name,
                    pack([question.as_row() for question in chapter.questions], width),
                    _evidence([question.evidence for question in chapter.questions]),
                )
            )
    return Stream(
        name,
        segments,
        tests,
        Task("retrieval", metric),
        (width,),
        Disclosure(classes=False),
        recipe=recipe,
        notes=notes,
    )


def _evidence(wanted: Sequence[Sequence[int]]) -> Tensor:
    """Row numbers (n, most), padded with -1."""
    most = max(map(len, wanted), default=1)
    found = torch.full((len(wanted), most), -1, dtype=torch.int64)
    for place, numbers in enumerate(wanted):
        found[place, : len(numbers)] = torch.tensor(list(numbers), dtype=torch.int64)
    return found
