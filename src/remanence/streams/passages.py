"""MuSiQue: questions that need several passages put together, and the passages they are asked over.

Source: Trivedi et al., MuSiQue: Multihop Questions via Single-hop Question Composition, 2022, arXiv:2108.00573.
"""

from __future__ import annotations

import json
from pathlib import Path

from remanence.errors import StateError
from remanence.streams.experience import Stream
from remanence.streams.text_rows import Chapter, Question, question_stream

PARTS = 4
"""In how many experiences the passages arrive."""


def load(folder: Path, metric: str = "recall@5") -> Stream:
    """The passages in four experiences; all questions are asked after each.

    Triples that were extracted from a passage are in its metadata, under ``triples``.
    """
    try:
        corpus = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        asked = json.loads((folder / "questions50.json").read_text(encoding="utf-8"))
        extracted = json.loads((folder / "openie.json").read_text(encoding="utf-8"))
        told = extracted["docs"] if isinstance(extracted, dict) else extracted
        triples = {one["passage"]: one["extracted_triples"] for one in told}
        texts = [f"{one['title']}\n{one['text']}" for one in corpus]
        known = {text: number for number, text in reversed(list(enumerate(texts)))}
        records = [
            (number, {"text": text, "kind": "fact", "metadata": {"triples": triples.get(text, [])}})
            for number, text in enumerate(texts)
        ]
        questions = []
        for one in asked:
            wanted = [f"{p['title']}\n{p['paragraph_text']}" for p in one["paragraphs"] if p["is_supporting"]]
            questions.append(
                Question(one["question"], tuple(dict.fromkeys(known[text] for text in wanted if text in known)))
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{folder} does not hold MuSiQue's files ({error!r}): get an intact copy") from None
    bounds = [round(k * len(records) / PARTS) for k in range(PARTS + 1)]
    chapters = [
        Chapter(f"part {k + 1}", records[a:b], []) for k, (a, b) in enumerate(zip(bounds, bounds[1:], strict=False))
    ]
    chapters[-1] = Chapter("musique", chapters[-1].records, questions)
    return question_stream("musique", chapters, metric, {"source": "musique", "scenarios": []})
