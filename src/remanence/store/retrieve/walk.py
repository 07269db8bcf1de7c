"""A graph walk as a part of reading: from what was found, along names and links, to what a question does not say.

The graph is made for each question from its best candidates, the names in them and the links between them, and
grown by what else mentions the names that a first walk comes by most: nothing is kept, so nothing goes stale, and
a filter bars what it bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from remanence.store.database.base import Database
from remanence.store.record import Link
from remanence.store.retrieve.extract import FUNCTION, mentions, phrase, sentences, titled
from remanence.store.retrieve.graph import scaled
from remanence.store.retrieve.named import named_in, spelled
from remanence.store.retrieve.pagerank import walk_by_part
from remanence.store.retrieve.query import Query
from remanence.store.retrieve.terms import affordable, stem
from remanence.store.version import StoredVersion
from remanence.store.where import Filter

Array = NDArray[np.float64]

STARTS = 60
"""Candidates that the walk starts among."""
NAMES, MENTIONS = 24, 8
"""Names that are searched for after the first walk, and how many records each brings."""
COMMON = 5000
"""Records that mention a name beyond which it leads everywhere, and is not searched for."""
LINKED = 20
"""Candidates whose links are followed."""
_NAMED, _FOUND = 2.0, 0.05
"""Weight of a name in the question, and of the best candidate, among the seeds."""
_LONGEST = 20_000
"""Characters of a record that are read for names."""


def walk(
    database: Database,
    query: Query,
    stored: Sequence[StoredVersion],
    scores: Array,
    wanted: Filter,
    damping: float = 0.5,
) -> tuple[list[StoredVersion], dict[str, Array]]:
    """Records reached from a question, and how often a walker comes by each, by where its way began.

    Parameters
    ----------
    database, wanted:
        Where to look, and what may be found at all.
    query:
        The question; the names in it are seeds.
    stored, scores:
        What was found for it, and how well (records,): seeds too.
    damping:
        The probability to walk on rather than home.

    Returns
    -------
    stored, parts
        The records of the graph, and their mass from ``names`` and from ``passages``, which add up to the score.

    References
    ----------
    Gutiérrez, Shu, Gu, Yasunaga, Su: HippoRAG: Neurobiologically Inspired Long-Term Memory for Large Language
    Models, 2024, arXiv:2405.14831.
    """
    best = np.argsort(-scores, kind="stable")[:STARTS]
    graph = _Graph(query.text)
    if not len(best):
        return [], {}
    graph.add([stored[place] for place in best])
    seeds = _FOUND * scaled(scores[best])
    graph.links = _links(database, graph, wanted)
    first = sum(graph.walked(seeds, damping).values(), np.zeros(graph.nodes))
    _grow(database, graph, first[: len(graph.names)], wanted)
    walked = graph.walked(seeds, damping)
    return graph.stored, {name: part[len(graph.names) :] for name, part in walked.items()}


class _Graph:
    """Records and the names in them."""

    def __init__(self, question: str) -> None:
        self.question, self.spelled = question, spelled(question)
        self.stored: list[StoredVersion] = []
        self.names: dict[str, int] = {}
        self.links: list[Link] = []
        self._edges: list[tuple[int, int]] = []
        self._rows: set[int] = set()

    @property
    def nodes(self) -> int:
        return len(self.names) + len(self.stored)

    def add(self, stored: Iterable[StoredVersion], mentioned: str | None = None) -> None:
        """Add records that are new; where a name is given, only those that mention it."""
        for one in stored:
            text = one.text[:_LONGEST]
            if one.row in self._rows or (mentioned and f" {mentioned} " not in f" {phrase(text)} "):
                continue
            names = dict.fromkeys([*names_of(text), *([mentioned] if mentioned else [])])
            self._rows.add(one.row)
            self._edges += [(len(self.stored), self.names.setdefault(name, len(self.names))) for name in names]
            self.stored.append(one)

    def walked(self, found: Array, damping: float) -> dict[str, Array]:
        """The mass of names, then records, by where the way began; `found` are seeds of the first records."""
        from scipy import sparse

        names, nodes = len(self.names), self.nodes
        edges = np.array(self._edges, dtype=np.int64).reshape(-1, 2)
        spread = np.bincount(edges[:, 1], minlength=names)
        place = {one.id: names + number for number, one in enumerate(self.stored)}
        linked = [
            (place[one.source], place[one.target], abs(one.weight))
            for one in self.links
            if one.source in place and one.target in place and one.source != one.target
        ]
        begin = np.concatenate([edges[:, 0] + names, np.array([one[0] for one in linked], dtype=np.int64)])
        end = np.concatenate([edges[:, 1], np.array([one[1] for one in linked], dtype=np.int64)])
        weight = np.concatenate([np.ones(len(edges)), np.array([one[2] for one in linked], dtype=np.float64)])
        half = sparse.coo_array((weight, (begin, end)), shape=(nodes, nodes)).tocsr()
        named, passages = np.zeros(nodes), np.zeros(nodes)
        for number in named_in(self.spelled, self.names):
            named[number] = _NAMED / max(spread[number], 1)
        passages[names : names + len(found)] = found
        if not named.any() and not passages.any():
            passages[names:] = 1.0
        return walk_by_part((half + half.T).tocsr(), {"names": named, "passages": passages}, damping)


def names_of(text: str) -> list[str]:
    """The names in a text, normalised: its title, capitalised spans and quoted titles; no dates, no numbers.

    Example
    -------
    >>> names_of("Brand (play)\\nIn 1865 Henrik Ibsen wrote it in Rome.")
    ['brand', 'henrik ibsen', 'rome']
    """
    title, body = titled(text)
    found = [title] if title else []
    for sentence in sentences(body):
        found += [mention.text for mention in mentions(sentence) if mention.kind in ("name", "quoted")]
    return [name for name in dict.fromkeys(phrase(one) for one in found) if name]


def _links(database: Database, graph: _Graph, wanted: Filter) -> list[Link]:
    """The links of the best records; what they lead to joins the graph."""
    ids = [one.id for one in graph.stored[:LINKED]]
    links = database.links(ids)
    if links:
        known = {one.id for one in graph.stored}
        further = dict.fromkeys(end for one in links for end in (one.source, one.target) if end not in known)
        beyond = database.current(list(further)[: LINKED * MENTIONS])
        rows = np.array(sorted(one.row for one in beyond), dtype=np.int64)
        admitted = set(database.admitted(rows, wanted).tolist()) if len(rows) else set()
        graph.add(one for one in beyond if one.row in admitted)
    return links


def _grow(database: Database, graph: _Graph, mass: Array, wanted: Filter) -> None:
    """Add what else mentions the names that the walk came by most, and that the question names."""
    names = list(graph.names)
    asked = [phrase(one.text) for one in mentions(graph.question) if one.kind in ("name", "quoted")]
    often = [names[number] for number in np.argsort(-mass, kind="stable")[:NAMES]]
    searched = {name: [w for w in name.split() if w not in FUNCTION] or name.split() for name in [*asked, *often]}
    every = list(dict.fromkeys(stem(term) for terms in searched.values() for term in terms))
    frequency = dict(zip(every, database.frequencies(every), strict=True))
    for name, terms in searched.items():
        counts = [frequency[stem(term)] for term in terms]
        held = [count for count in counts if count]
        if held and min(held) <= COMMON:
            rows = database.words(affordable(terms, counts, COMMON), MENTIONS, wanted)[0]
            graph.add(database.stored(rows), name)
