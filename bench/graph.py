"""How many supporting passages of MuSiQue's questions HippoRAG 2 finds, against vectors alone and without its parts.

1,890 passages, 50 questions of two to four steps; recall is the share of a question's supporting passages among
the first k, averaged over questions. Their parts that stand for themselves ("Who is the performer of Hello Love?",
one supporting passage each) are asked too: on single facts the graph must not lose against vectors. Choices (what is a name, when a fact is recognised, what a named phrase
weighs) were settled on the 25 questions of even number, the first being 0; the other 25 were only reported on.
Run it by ``python -m bench.graph``, with REMANENCE_DATA naming the folder that holds ``musique``.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store import open as open_store
from remanence.store.encode import encoder
from remanence.store.memories.hipporag2 import HippoRAG2, HippoRAG2Given

BATCHES = 4
FACTS = {"hipporag2[given]": HippoRAG2Given, "hipporag2[rules]": HippoRAG2}
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    ", names as seeds": {"names": 2.0},
    ", names as seeds, no filter": {"names": 2.0, "recognise": False},
    ", no filter": {"recognise": False},
    ", no synonym edges": {"synonyms": 1.5},
    ", no passage nodes": {"context": False},
}
TARGETS = {
    "hipporag2[given]": 0.72,
    "hipporag2[rules]": None,
    "graph": None,
    "hipporag2[given], single facts": None,
    "hipporag2[rules], single facts": None,
}
"""The least recall@5; None: what vectors alone find."""


class Remembering:
    """An encoder that encodes each text once: the variants share phrases and facts."""

    def __init__(self) -> None:
        self.below = encoder("minilm", cache=False)
        self.name, self.dimension = self.below.name, self.below.dimension
        self.known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.below.encode(new), strict=True))
        return np.stack([self.known[text] for text in texts])


Asked = tuple[list[str], list[set[str]]]
"""Questions, and for each the texts that support its answer."""


def musique(folder: Path) -> tuple[list[dict[str, Any]], Asked, Asked]:
    """Records, the questions, and those of their parts that ask for a single fact."""
    corpus = json.loads((folder / "corpus.json").read_text())
    asked = json.loads((folder / "questions50.json").read_text())
    triples = {one["passage"]: one["extracted_triples"] for one in json.loads((folder / "openie.json").read_text())}
    texts = [f"{one['title']}\n{one['text']}" for one in corpus]
    records = [{"text": text, "metadata": {"triples": triples[text]}} for text in texts]
    whole: Asked = ([], [])
    single: Asked = ([], [])
    for one in asked:
        passages = [f"{p['title']}\n{p['paragraph_text']}" for p in one["paragraphs"]]
        whole[0].append(one["question"])
        whole[1].append({t for t, p in zip(passages, one["paragraphs"], strict=True) if p["is_supporting"]})
        for step in one["question_decomposition"]:
            if "#" not in step["question"]:
                single[0].append(step["question"].replace(" >> ", ", "))
                single[1].append({passages[step["paragraph_support_idx"]]})
    return records, whole, single


def recall(found: Sequence[Sequence[str]], support: Sequence[set[str]], k: int) -> NDArray[np.float64]:
    return np.array([len(set(texts[:k]) & wanted) / len(wanted) for texts, wanted in zip(found, support, strict=True)])


def line(name: str, found: Sequence[Sequence[str]], support: Sequence[set[str]], note: str = "") -> dict[str, float]:
    two, five = recall(found, support, 2), recall(found, support, 5)
    figures = {
        "recall@2": two.mean(),
        "recall@5": five.mean(),
        "recall@5 settled on": five[::2].mean(),
        "recall@5 held out": five[1::2].mean(),
    }
    print(f"{name:62s}" + "".join(f"{value:8.3f}" for value in figures.values()) + f"  {note}", flush=True)
    return {name: round(float(value), 4) for name, value in figures.items()}


def run() -> list[dict[str, Any]]:
    """HippoRAG 2 and reading along a graph against vectors alone."""
    folder = Path(os.environ.get("REMANENCE_DATA", "")) / "musique"
    if not folder.is_dir():
        raise UsageError("no folder holds musique: let REMANENCE_DATA name one that does")
    figures = measure(folder)
    rows = []
    for what, target in TARGETS.items():
        ours = figures[what]["recall@5"]
        theirs = figures["dense, single facts" if what.endswith("single facts") else "dense"]["recall@5"]
        least = theirs if target is None else target
        rows.append(
            {
                "what": f"MuSiQue, {what}",
                "ratio": ours,
                "target": least,
                "ours": ours,
                "theirs": theirs,
                "unit": "recall@5, beside vectors alone",
            }
        )
    return rows


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Every figure, by name; printed as it is found."""
    records, (questions, support), (singles, supports) = musique(folder)
    below = Remembering()
    results: dict[str, dict[str, float]] = {}

    def told(name: str, found: Sequence[Sequence[str]], wanted: Sequence[set[str]], note: str = "") -> None:
        results[name] = line(name, found, wanted, note)

    with tempfile.TemporaryDirectory() as place:
        store = open_store(Path(place) / "all.db", encoder=below, background=False)
        store.write_many(records, wait=True)
        print(f"{'':62s}{'r@2':>8s}{'r@5':>8s}{'settled':>8s}{'held':>8s}")
        for mode in ("dense", "text", "hybrid", "graph"):
            told(mode, [[hit.text for hit in store.read(asked, 10, mode=mode)] for asked in questions], support)
            alone = [[hit.text for hit in store.read(asked, 10, mode=mode)] for asked in singles]
            told(f"{mode}, single facts", alone, supports)
        whole: dict[str, list[list[str]]] = {}
        for facts, made in FACTS.items():
            for name, settings in VARIANTS.items():
                memory = made(**settings)
                memory.bind(store)
                started = time.perf_counter()
                memory.graph()
                built = time.perf_counter() - started
                started = time.perf_counter()
                found = [[hit.text for hit in memory.read(asked, 10)] for asked in questions]
                asking = (time.perf_counter() - started) / len(questions)
                told(f"{facts}{name}", found, support, f"graph in {built:.1f} s, a question {1000 * asking:.0f} ms")
                if not settings:
                    whole[facts] = found
                    alone = [[hit.text for hit in memory.read(asked, 10)] for asked in singles]
                    told(f"{facts}, single facts", alone, supports)
        for facts, made in FACTS.items():
            grown = open_store(Path(place) / f"{facts}.db", encoder=below, background=False)
            memory = made()
            memory.bind(grown)
            for batch in np.array_split(np.arange(len(records)), BATCHES):
                grown.write_many([records[number] for number in batch], wait=True)
                memory.graph()
            found = [[hit.text for hit in memory.read(asked, 10)] for asked in questions]
            same = sum(a == b for a, b in zip(found, whole[facts], strict=True))
            told(f"{facts}, in {BATCHES} batches", found, support, f"the same ten in the same order: {same} of 50")
            grown.close()
        store.close()
    return results


if __name__ == "__main__":
    run()
