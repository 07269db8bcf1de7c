"""Finding the right turn: recall of evidence turns on six LoCoMo conversations, default settings, no language model.

One turn is one record and one hit; the caption of an image is part of its turn's text; records have speaker and text
only, unless it is said that they have session and time. Every conversation is a scope of its own in one store. Recall is
the mean over the questions with evidence, category 5 left out, of the share of a question's evidence turns among the
hits; several turns in one string are told apart, and names of no turn are left out. What is set by data (the weights in
`remanence.store.retrieve.fusion`) was settled on conversations 26, 41 and 43; the others are held out.

``python -m bench.finding`` prints more: by conversation and category, what each reason contributes, and the weights
that each half of the conversations asks for.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import remanence.store as stores
from remanence.store.retrieve.features import FEATURES
from remanence.store.retrieve.fusion import WEIGHTS
from remanence.store.retrieve.hybrid import gather
from remanence.store.retrieve.query import query
from remanence.store.times import instant, moment, now
from remanence.store.where import filter_of
from remanence.streams import dialogues

SETTLING = ("conv-26", "conv-41", "conv-43")
TARGETS = {5: 0.65, 10: 0.75}
NAMES = tuple(FEATURES)
_PENALTY = 0.3
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """A question: its candidates' rows (n,) and reasons (n, reasons), best first by each search alone, its evidence."""

    conversation: str
    category: int
    evidence: frozenset[int]
    rows: Array
    reasons: Array
    alone: Mapping[str, list[int]]


def conversations() -> list[dict[str, Any]]:
    path = Path(os.environ["REMANENCE_DATA"]) / "locomo" / "locomo6.json"
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def ask(given: bool = False) -> list[Asked]:
    """All questions; `given` says that records have their session as the source and its time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        stores.open(Path(folder) / "memory.db", background=False) as store,
    ):
        return [one for sample in conversations() for one in _asked(store, sample, given)]


def _asked(store: stores.Store, sample: Mapping[str, Any], given: bool) -> Iterable[Asked]:
    scope = str(sample["sample_id"])
    told = dialogues.turns(sample["conversation"], scope)
    kept = ("text", "speaker", "scope", *(("source", "said_at") if given else ()))
    written = store.write_many([{name: record[name] for name in kept} for _, record in told])
    known = {name: store.get(key).row for (name, _), key in zip(told, written, strict=True)}
    store.encode()
    last = moment(instant(told[-1][1]["said_at"]))
    assert last is not None
    at = instant(last + timedelta(days=1)) if given else now()
    wanted = filter_of(scope, now=now())
    database, encoding = store.database, store.encoding
    for question in sample["qa"]:
        evidence = frozenset(dialogues.evidence(question["evidence"], known))
        if not evidence or question["category"] == dialogues.ADVERSARIAL:
            continue
        taken = query(question["question"], database.speakers(wanted, 1000), at)
        taken = replace(taken, space=encoding.serving, vector=encoding.question(taken.meaning))
        found = gather(database, taken, wanted)
        reasons = np.stack([FEATURES[name](taken, found) for name in NAMES], axis=1)
        alone = {
            mode: [hit.record.row for hit in store.read(question["question"], 50, scope=scope, mode=mode)]
            for mode in ("dense", "text")
        }
        yield Asked(scope, question["category"], evidence, found.rows.astype(float), reasons, alone)


def recall(hits: Iterable[float], evidence: frozenset[int]) -> float:
    return len(evidence & {int(row) for row in hits}) / len(evidence)


def by_weights(some: list[Asked], k: int, weights: Mapping[str, float] = WEIGHTS) -> float:
    """Mean recall at k when reasons are weighed so."""
    given = np.array([weights.get(name, 0.0) for name in NAMES])
    best = (one.rows[np.argsort(-(one.reasons @ given), kind="stable")[:k]] for one in some)
    return float(np.mean([recall(hits, one.evidence) for hits, one in zip(best, some, strict=True)]))


def alone(some: list[Asked], k: int, mode: str) -> float:
    return float(np.mean([recall(one.alone[mode][:k], one.evidence) for one in some]))


def by_ranks(some: list[Asked], k: int) -> float:
    """Reciprocal rank fusion of full text and vectors, the usual way to join them."""
    found = []
    for one in some:
        score: dict[int, float] = {}
        for rows in one.alone.values():
            for place, row in enumerate(rows):
                score[row] = score.get(row, 0.0) + 1 / (60 + place)
        found.append(recall(sorted(score, key=lambda row: -score[row])[:k], one.evidence))
    return float(np.mean(found))


def fitted(some: list[Asked]) -> dict[str, float]:
    """The weights that make the evidence likeliest under a softmax over each question's candidates."""
    pairs = [(one.reasons, np.flatnonzero(np.isin(one.rows, list(one.evidence)))) for one in some]
    pairs = [(reasons, right) for reasons, right in pairs if len(right)]

    def loss(weights: Array) -> tuple[float, Array]:
        value, slope = _PENALTY * float(weights @ weights), 2 * _PENALTY * weights
        for reasons, right in pairs:
            score = reasons @ weights
            score -= score.max()
            share = np.exp(score)
            value -= float((score[right] - np.log(share.sum())).mean())
            slope = slope - reasons[right].mean(axis=0) + share @ reasons / share.sum()
        return value, slope

    found = minimize(loss, np.zeros(len(NAMES)), jac=True, method="L-BFGS-B").x
    return dict(zip(NAMES, found.round(2).tolist(), strict=True))


def halves(some: list[Asked]) -> dict[str, list[Asked]]:
    return {
        "all six": some,
        "settled on": [one for one in some if one.conversation in SETTLING],
        "held out": [one for one in some if one.conversation not in SETTLING],
    }


def run() -> list[dict[str, Any]]:
    if "REMANENCE_DATA" not in os.environ:
        print("finding is not measured: set REMANENCE_DATA to the folder that holds locomo/locomo6.json")
        return []
    plain, given = ask(), ask(given=True)
    return [
        {
            "what": f"LoCoMo recall@{k}, {name}{', with session and time' * (some is given)}",
            "ratio": round(by_weights(part, k), 3),
            "ours": round(by_weights(part, k), 3),
            "theirs": round(by_ranks(part, k), 3),
            "unit": "recall; other: reciprocal rank fusion",
            "turns": 1,
            "target": TARGETS[k] if name == "all six" and some is plain else None,
        }
        for some in (plain, given)
        for name, part in halves(some).items()
        for k in TARGETS
    ]


def _line(name: str, some: list[Asked], weights: Mapping[str, float] = WEIGHTS) -> str:
    return f"{name:34s} {len(some):4d} {by_weights(some, 5, weights):.3f} {by_weights(some, 10, weights):.3f}"


def main() -> None:
    plain, given = ask(), ask(given=True)
    print(f"{'':34s} {'n':>4s} {'@5':>5s} {'@10':>5s}")
    for some, label in ((plain, ""), (given, ", session and time")):
        for name, part in halves(some).items():
            print(_line(name + label, part))
    for name, part in halves(plain).items():
        for mode, words in (("dense", "vectors alone"), ("text", "full text alone")):
            print(f"{words + ', ' + name:34s} {len(part):4d} {alone(part, 5, mode):.3f} {alone(part, 10, mode):.3f}")
        print(f"{'both by ranks, ' + name:34s} {len(part):4d} {by_ranks(part, 5):.3f} {by_ranks(part, 10):.3f}")
    for conversation in sorted({one.conversation for one in plain}):
        print(_line(conversation, [one for one in plain if one.conversation == conversation]))
    for category in sorted({one.category for one in plain}):
        print(_line(f"category {category}", [one for one in plain if one.category == category]))
    for name, part in halves(given).items():
        for reason in NAMES:
            print(_line(f"without {reason}, {name}", part, {**WEIGHTS, reason: 0.0}))
    around = ("words nearby", "words around", "meaning nearby", "reply")
    for name, part in halves(plain).items():
        print(_line(f"no neighbours, {name}", part, {**WEIGHTS, **dict.fromkeys(around, 0.0)}))
    inside = sum(len(one.evidence & {int(row) for row in one.rows}) / len(one.evidence) for one in plain) / len(plain)
    print(
        f"candidates {np.mean([len(one.rows) for one in plain]):.0f} a question, holding {inside:.3f} of the evidence"
    )
    parts = halves(given)
    for name, other in (("settled on", "held out"), ("held out", "settled on")):
        weights = fitted(parts[name])
        print(f"fitted to what is {name}: {weights}")
        print(_line(f"  on the half {other}", parts[other], weights))


if __name__ == "__main__":
    main()
