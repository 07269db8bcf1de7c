"""A long text with planted facts as a stream: lines arrive, and what each experience planted is asked for ever after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from remanence.errors import UsageError
from remanence.randomness import derive, generator
from remanence.streams.examples import InMemory
from remanence.streams.experience import ANSWERING, Disclosure, Segment, Stream, TestSet
from remanence.streams.facts import SMALL_TALK
from remanence.streams.recall.needle_text import needle_text
from remanence.streams.recall.notes import Fact, NeedleText
from remanence.streams.scenarios import Seed, recorded, scenario, start
from remanence.streams.text_rows import pack, pack_texts

MARGIN = 64
"""No line of the filler has more bytes, and a note stands at the beginning of the line where it was to stand."""

NOTE = len(Fact("bdfgk", "0000", 0, 0, True).sentence)


@scenario
def planted(
    stream: str | Stream = "recall",
    experiences: Annotated[int, Field(ge=1, le=10_000, description="how many experiences")] = 12,
    tokens: Annotated[int, Field(ge=1, description="bytes of text in each")] = 400,
    facts: Annotated[int, Field(ge=1, description="facts planted in each")] = 4,
    filler: Annotated[Literal["shakespeare", "talk"], Field(description="what lies between")] = "shakespeare",
    *,
    seed: Seed = 0,
) -> Stream:
    """A text arrives line by line, with facts planted in it; every test set asks for those of one experience.

    Recall against distance is read off the matrix of scores: a test set asked so many experiences later is asked so
    many times `tokens` bytes later. A row of an experience is a line (``{"text": …}``, an empty line stands with the
    one before it). A question says how its line begins and how many bytes the answer has (``{"question": …,
    "length": 4}``).

    Parameters
    ----------
    stream:
        The source ``recall``.
    experiences, tokens, facts:
        How long the text is, and how much is planted; a byte is a token.
    filler:
        ``shakespeare``: the part of Tiny Shakespeare that models are not trained on; ``talk``: small talk, which
        needs no data.
    seed:
        From which facts, their places and the filler are drawn.

    Raises
    ------
    UsageError
        If the facts do not go into an experience.

    Example
    -------
    >>> stream = planted("recall", experiences=3, tokens=500, facts=2, filler="talk")
    >>> stream.segment_ends, [len(test.y) for test in stream.tests], stream.task.metric
    ([14, 28, 42], [2, 2, 2], 'exact match')
    >>> from remanence.streams.text_rows import unpack, unpack_texts
    >>> unpack(stream.tests[0].x)[0], unpack_texts(stream.tests[0].y)[0]
    ({'question': 'Question: the key of tudaj=', 'length': 4}, 'e6gi')
    """
    base = start(stream)
    if tokens < MARGIN + NOTE * facts:
        raise UsageError(
            f"{facts} facts do not go into experiences of {tokens} bytes: give {MARGIN} bytes and {NOTE} a fact, "
            f"{MARGIN + NOTE * facts} or more"
        )
    text = needle_text(
        experiences * tokens,
        derive(seed, "recall"),
        facts=experiences * facts,
        at=_places(experiences, tokens, facts, seed),
        filler="".join(f"{line}\n" for line in SMALL_TALK) if filler == "talk" else None,
    )
    options: dict[str, Any] = {"experiences": experiences, "tokens": tokens, "facts": facts, "filler": filler}
    told = _cut(text, experiences, tokens)
    return replace(told, recipe=recorded(base, "planted", {**options, "seed": seed}))


@dataclass(frozen=True)
class Line:
    """A line of a text, without its line break, and where it begins in bytes."""

    text: str
    start: int


def lines_of(text: str) -> list[Line]:
    """The lines of an ASCII text; an empty one is a line break more at the end of the one before.

    Joined by line breaks, with one at the end, they are the text again (and its last line break, if it had none).

    >>> [line.text for line in lines_of("Speak.\\n\\nAll:\\nSpeak, speak.\\n")]
    ['Speak.\\n', 'All:', 'Speak, speak.']
    """
    lines: list[Line] = []
    place = 0
    for one in text.splitlines(keepends=True):
        bare = one.removesuffix("\n")
        if not bare and lines:
            lines[-1] = replace(lines[-1], text=lines[-1].text + "\n")
        else:
            lines.append(Line(bare, place))
        place += len(one)
    return lines


def _places(experiences: int, tokens: int, facts: int, seed: int) -> tuple[int, ...]:
    """Where the notes stand: at random within each experience, apart by a note's length, and wholly inside."""
    draw = generator(seed, "recall places")
    spare = tokens - MARGIN - NOTE * facts
    found: list[int] = []
    for experience in range(experiences):
        drawn = torch.randint(0, spare + 1, (facts,), generator=draw).sort().values.tolist()
        found += [experience * tokens + MARGIN + place + NOTE * k for k, place in enumerate(drawn)]
    return tuple(found)


def _cut(text: NeedleText, experiences: int, tokens: int) -> Stream:
    """The experiences, each with the lines and the facts that begin in it."""
    lines: list[list[Line]] = [[] for _ in range(experiences)]
    for line in lines_of(text.text):
        lines[line.start // tokens].append(line)
    asked: list[list[Fact]] = [[] for _ in range(experiences)]
    for fact in text.latest:
        asked[fact.start // tokens].append(fact)
    rows = pack([{"text": line.text} for group in lines for line in group])
    questions = pack([{"question": fact.question, "length": len(fact.value)} for group in asked for fact in group])
    width = max(rows.shape[1], questions.shape[1])
    rows, questions = (torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in (rows, questions))
    segments, tests = [], []
    row = question = 0
    for k, (told, group) in enumerate(zip(lines, asked, strict=True)):
        ids = torch.arange(row, row + len(told))
        examples = InMemory(rows[ids], torch.zeros(len(ids), dtype=torch.int64), ids, ordered=True)
        segments.append(Segment(examples, name=f"text {k + 1}"))
        mine = questions[question : question + len(group)]
        tests.append(TestSet(f"text {k + 1}", mine, pack_texts([fact.value for fact in group])))
        row, question = row + len(told), question + len(group)
    ends = [(fact.start // tokens + 1) * tokens - fact.value_at for fact in text.latest]
    first = sum(ends) / len(ends)
    return Stream(
        "recall/planted",
        segments,
        tests,
        ANSWERING,
        (width,),
        Disclosure(classes=False),
        distances=tuple(first + k * tokens for k in range(experiences)),
    )
