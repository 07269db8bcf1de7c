"""LoCoMo: long conversations, and questions with the turns that answer them.

Source: Maharana et al., Evaluating Very Long-Term Conversational Memory of LLM Agents, 2024, arXiv:2402.17753.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remanence.errors import StateError
from remanence.streams.experience import Stream
from remanence.streams.text_rows import Chapter, Question, question_stream

ADVERSARIAL = 5
"""The category of questions that have no answer."""

_TURN = re.compile(r"D\d+:\d+")


def turns(conversation: dict[str, Any], scope: str) -> list[tuple[str, dict[str, Any]]]:
    """The turns of one conversation in order: their names (``D1:3``) and records.

    An image's caption is part of its turn's text; the session is the source, its time is when it was said.
    """
    found = []
    number = 1
    while (session := conversation.get(f"session_{number}")) is not None:
        said = said_at(conversation.get(f"session_{number}_date_time", ""))
        for turn in session:
            caption = turn.get("blip_caption")
            text = f"{turn['text']} [shares {caption}]" if caption else turn["text"]
            record = {"text": text, "speaker": turn["speaker"], "source": f"session {number}", "scope": scope}
            if said:
                record["said_at"] = said
            found.append((turn["dia_id"], record))
        number += 1
    return found


def said_at(written: str) -> str | None:
    """A session's time, ``1:56 pm on 8 May, 2023``, in ISO 8601; None where it is written otherwise."""
    try:
        return datetime.strptime(written, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


def evidence(named: list[str], known: dict[str, int]) -> tuple[int, ...]:
    """The numbers of the turns that a question names; several in one string are told apart, what is none is left out."""
    names = [name for text in named for name in _TURN.findall(text)]
    return tuple(dict.fromkeys(known[name] for name in names if name in known))


def load(path: Path, metric: str = "recall@10") -> Stream:
    """Each conversation is an experience with a scope of its own; its questions are a test set.

    Questions without evidence, and those that have no answer (category 5), are left out.
    """
    try:
        samples = json.loads(path.read_text(encoding="utf-8"))
        chapters, first = [], 0
        for sample in samples:
            scope = str(sample["sample_id"])
            told = turns(sample["conversation"], scope)
            known = {name: first + place for place, (name, _) in enumerate(told)}
            questions = [
                Question(str(asked["question"]), found, scope, str(asked["category"]))
                for asked in sample["qa"]
                if asked["category"] != ADVERSARIAL and (found := evidence(asked["evidence"], known))
            ]
            chapters.append(Chapter(scope, [(first + k, record) for k, (_, record) in enumerate(told)], questions))
            first += len(told)
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} is not a file of LoCoMo conversations ({error!r}): get an intact copy") from None
    return question_stream("locomo", chapters, metric, {"source": "locomo", "scenarios": []})
