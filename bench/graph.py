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
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.store import open as open_store
from remanence.store.encode import encoder
from remanence.store.memories.hipporag2 import HippoRAG2ByRules, HippoRAG2Given

BATCHES = 4
FACTS = {"given facts": HippoRAG2Given, "facts by rules": HippoRAG2ByRules}
VARIANTS: dict[str, dict[str, Any]] = {
    "HippoRAG 2 as here": {},
    "as in the paper (no names), facts recognised by rules": {"names": 0.0},
    "as in the paper, no filter": {"names": 0.0, "recognise": False},
    "no filter": {"recognise": False},
    "no synonym edges": {"synonyms": 1.5},
    "no passage nodes": {"context": False},
}


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


def main() -> None:
    folder = Path(os.environ.get("REMANENCE_DATA", "")) / "musique"
    if not folder.is_dir():
        sys.exit("set REMANENCE_DATA to a folder that holds musique")
    records, (questions, support), (singles, supports) = musique(folder)
    below = Remembering()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        store = open_store(Path(place) / "all.db", encoder=below, background=False)
        store.write_many(records, wait=True)
        print(f"{'':62s}{'r@2':>8s}{'r@5':>8s}{'settled':>8s}{'held':>8s}")
        for mode in ("dense", "text", "hybrid"):
            found = [[hit.text for hit in store.read(question, 10, mode=mode)] for question in questions]
            results[mode] = line(f"store, {mode}", found, support)
            alone = [[hit.text for hit in store.read(question, 10, mode=mode)] for question in singles]
            results[f"{mode}, single facts"] = line(f"store, {mode}, single facts", alone, supports)
        whole: dict[str, list[list[str]]] = {}
        for facts, made in FACTS.items():
            for name, settings in VARIANTS.items():
                memory = made(**settings)
                memory.on(store)
                started = time.perf_counter()
                memory.graph()
                built = time.perf_counter() - started
                started = time.perf_counter()
                found = [[hit.text for hit in memory.read(question, 10)] for question in questions]
                asking = (time.perf_counter() - started) / len(questions)
                title = f"{facts}: {name}"
                note = f"graph made in {built:.1f} s, a question {1000 * asking:.0f} ms"
                results[title] = line(title, found, support, note)
                if not settings:
                    whole[facts] = found
                    alone = [[hit.text for hit in memory.read(question, 10)] for question in singles]
                    results[f"{title}, single facts"] = line(f"{title}, single facts", alone, supports)
        for facts, made in FACTS.items():
            grown = open_store(Path(place) / f"{facts}.db", encoder=below, background=False)
            memory = made()
            memory.on(grown)
            for batch in np.array_split(np.arange(len(records)), BATCHES):
                grown.write_many([records[number] for number in batch], wait=True)
                memory.graph()
            found = [[hit.text for hit in memory.read(question, 10)] for question in questions]
            same = sum(a == b for a, b in zip(found, whole[facts], strict=True))
            title = f"{facts}: in {BATCHES} batches"
            results[title] = line(title, found, support, f"same ten passages in the same order: {same} of 50")
            grown.close()
        store.close()
    if "--json" in sys.argv:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
