"""Passages and the phrases of their facts as one graph, walked from what a question calls to mind.

What is remembered is the passages, as records; the graph of phrases, facts and synonyms is derived from them, and
follows every change of the store. It costs a vector for each passage, phrase and fact, a reading of every passage
for its facts (by a language model in the paper), and a walk over the graph for each question.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from remanence.errors import StateError
from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.memories.base import Memory
from remanence.store.record import Hit, Hits
from remanence.store.retrieve.extract import Triple
from remanence.store.retrieve.graph import PassageGraph, scaled
from remanence.store.retrieve.pagerank import walk_by_part
from remanence.store.retrieve.recognise import RULES, ByModel, ByRules, FactReader, facts_of, note_source
from remanence.store.where import filter_of

if TYPE_CHECKING:
    from remanence.store.language import Language
    from remanence.store.protocol import Records

GIVEN = "triples"
"""Under this name a record's metadata may hold its facts, as lists of subject, relation and object."""
PAPER = Paper(
    "From RAG to Memory: Non-Parametric Continual Learning for Large Language Models",
    "Gutiérrez, Shu, Qi, Zhou, Su",
    2025,
    "2502.14802",
    73,
)


@system("hipporag2[rules]", paper=PAPER, place="store", baseline="rag", variant="facts by rules")
class HippoRAG2(Memory):
    """HippoRAG 2.

    A question's nearest facts are found by their vectors and those that help are recognised. A fact's worth is its
    cosine with the question, scaled to 0 … 1 over all facts. A phrase of the recognised ones gets their mean worth,
    divided by the number of passages that it is in; the `linked` best phrases are seeds. Every passage is one too, with
    `passages` times its cosine, scaled likewise. A walk that restarts at the seeds ranks the passages by how often it
    comes by. Without any seed among the phrases the passages' cosines rank them.

    Parameters
    ----------
    linked:
        How many of the nearest facts are looked at, and how many phrases of the recognised ones are seeds (1 or more).
    recognise:
        Whether those that do not help are left out.
    names:
        What a phrase that the question names is worth beside the best fact, as a seed of its own: the first HippoRAG
        starts there, the second does not (0 or more).
    passages:
        Weight of the passages among the seeds (above 0).
    damping:
        The probability to walk on (0 or more, below 1).
    synonyms:
        The least cosine of phrases that are joined as synonyms; above 1 there are none.
    context:
        Whether passages are nodes of the graph. Without, a passage has the mean mass of its phrases.

    Example
    -------
    >>> import remanence as rm
    >>> stream = rm.streams.changing("facts", sessions=2, people=1, seed=0)
    >>> learner = rm.make("hipporag2[rules]", stream)
    >>> for experience in stream.experiences():
    ...     _ = learner.learn(experience)
    >>> learner.predict(stream.tests[0].x).records.shape[1]
    1

    References
    ----------
    Gutiérrez, Shu, Qi, Zhou, Su: From RAG to Memory: Non-Parametric Continual Learning for Large Language Models,
    2025, arXiv:2502.14802. Gutiérrez, Shu, Gu, Yasunaga, Su: HippoRAG: Neurobiologically Inspired Long-Term Memory
    for Large Language Models, 2024, arXiv:2405.14831.

    Departures
    ----------
    On ``hipporag2[rules]`` without a language model rules read the facts, and recognise those of which the question
    names an end in full; in ``hipporag2[given]`` the facts are given as data. Of phrases that are worth the same the
    first by the alphabet are seeds, where the authors' program takes any. Every edge counts once, where the authors' program lays fact and synonym edges once for each direction of an undirected graph; a phrase
    has all its synonyms, not the nearest 100. The encoder is the store's, not a language model of 7 billion
    parameters with instructions.
    """

    encodes: ClassVar[str] = "passages, phrases and facts as vectors"
    stores: ClassVar[str] = "passages as records; a graph of phrases, facts and synonyms, derived from them"
    retrieves: ClassVar[str] = "personalised PageRank from recognised facts, named phrases and near passages"
    manages: ClassVar[str] = "the graph follows what is written, revised and forgotten"
    small: ClassVar[dict[str, Any]] = {
        "stream": {"source": "facts", "scenarios": [["changing", {"sessions": 5, "people": 8, "seed": 0}]]}
    }
    needs_language: ClassVar[tuple[str, ...]] = ("facts", "recognise")

    @validated
    def __init__(
        self,
        *,
        linked: Annotated[int, Field(ge=1, description="nearest facts that are looked at")] = 5,
        recognise: Annotated[bool, Field(description="whether facts that do not help are left out")] = True,
        names: Annotated[float, Field(ge=0, description="worth of a phrase that the question names")] = 0.0,
        passages: Annotated[float, Field(gt=0, description="weight of passages among the seeds")] = 0.05,
        damping: Annotated[float, Field(ge=0, lt=1, description="probability to walk on")] = 0.5,
        synonyms: Annotated[float, Field(gt=0, description="least cosine of synonyms")] = 0.8,
        context: Annotated[bool, Field(description="whether passages are nodes")] = True,
    ) -> None:
        self.linked, self.recognise, self.names, self.passages = linked, recognise, names, passages
        self.damping, self.synonyms, self.context = damping, synonyms, context
        self._graphs: dict[tuple[str, str], PassageGraph] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_graphs", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._graphs, self._lock = {}, threading.Lock()

    def bind(self, store: Records, language: Language | None = None) -> Memory:
        self._graphs = {}
        super().bind(store, language)
        note_source(store.database, self.source)
        return self

    @property
    def reader(self) -> FactReader:
        """What reads facts and recognises them: the language model that was given, or rules without one."""
        model = getattr(self._language, "model", None)
        return ByRules() if model is None else ByModel(model)

    @property
    def source(self) -> str:
        """Under which name a record's metadata holds its facts; ``rules`` where they are read from its text.

        What a language model reads it reads when a record is written through this memory; a record that came into
        the store otherwise is found by its vector alone.
        """
        reader = self.reader
        return RULES if isinstance(reader, ByRules) else f"{GIVEN} by {reader.name}"

    # Store

    def write(self, given: Mapping[str, Any]) -> list[str]:
        source = self.source
        if source not in (RULES, GIVEN):
            read = [list(fact) for fact in self.reader.facts(given["text"], given.get("speaker"))]
            given = {**given, "metadata": {**given.get("metadata", {}), source: read}}
        return super().write(given)

    def graph(self, scope: str = "") -> PassageGraph:
        """The graph of the records that are current in a scope, brought up to date."""
        with self._lock:
            return self._followed(scope)

    def _followed(self, scope: str) -> PassageGraph:
        store = self.store
        space = store.encoding.serving
        if space is None:
            raise StateError("hipporag2 needs vectors: open the store with an encoder, such as encoder='minilm'")
        graph = self._graphs.get((space.name, scope))
        if graph is None:
            # Vectors of an encoder that was changed cannot be compared with these
            self._graphs = {key: kept for key, kept in self._graphs.items() if key[0] == space.name}
            graph = self._graphs[space.name, scope] = PassageGraph(store.encoding.texts, self.synonyms)
        wanted = filter_of(scope, None, now=store.clock())
        store.encoding.encode_queued(None, wanted)
        rows = store.database.matching(wanted)
        there = np.array(graph.rows, dtype=np.int64)
        graph.remove(np.setdiff1d(there, rows).tolist())
        new, vectors = store.database.vectors(space, np.setdiff1d(rows, there))
        if len(new):
            stored = store.database.stored(new)
            place = {row: number for number, row in enumerate(new.tolist())}
            chosen = [place[one.row] for one in stored]
            graph.add([one.row for one in stored], [facts_of(one, self.source) for one in stored], vectors[chosen])
        return graph

    # Retrieve

    def read(self, question: str, k: int, scope: str = "", *, explain: bool = False) -> Hits:
        """The k passages that a walk from the question's seeds comes by most often.

        With `explain` each hit says how much of its score came from recognised facts, named phrases and passages.
        """
        vector = self.store.encoding.question(question)
        with self._lock:
            graph = self._followed(scope)
            if vector is None or not len(graph):
                return Hits()
            numbers, worth = graph.nearest_facts(vector, self.linked)
            near = [graph.facts[number] for number in numbers]
        kept = self.reader.recognise(question, near) if self.recognise else range(len(near))
        with self._lock:
            # A language model takes its time, in which another thread may have changed the graph
            facts = {near[place]: float(worth[place]) for place in kept if graph.has(near[place])}
            shares = self._shares(graph, question, vector, facts)
            rows = np.array(graph.rows)
        scores = np.round(sum(shares.values(), np.zeros(len(rows))), 12)
        best = np.lexsort((rows, -scores))[:k]
        stored = {one.row: one for one in self.store.database.stored(rows[best].tolist())}
        return Hits(
            Hit(
                stored[int(rows[place])].record(),
                float(scores[place]),
                {name: float(share[place]) for name, share in shares.items()} if explain else {},
            )
            for place in best
            if int(rows[place]) in stored
        )

    def _shares(
        self, graph: PassageGraph, question: str, vector: NDArray[np.float32], recognised: Mapping[Triple, float]
    ) -> dict[str, NDArray[np.float64]]:
        """Each passage's score, by where it came from."""
        near = (graph.passage_vectors @ vector).astype(np.float64)
        phrases, spread = len(graph.phrases), np.maximum(graph.spread(), 1)
        facts, times, named = np.zeros(phrases), np.zeros(phrases), np.zeros(phrases)
        for fact, worth in recognised.items():
            for end in graph.ends(fact):
                facts[end] += worth
                times[end] += 1
        facts /= np.maximum(times, 1) * spread
        order = sorted(np.flatnonzero(times), key=lambda number: (-facts[number], graph.phrases[number]))
        facts[order[self.linked :]] = 0.0
        if self.names:
            named[graph.named(question)] = self.names
            named /= spread
        if not facts.any() and not named.any():
            return {"passages": near}
        nothing, none = np.zeros(len(near)), np.zeros(phrases)
        seeds = {
            "facts": np.concatenate([facts, nothing]),
            "names": np.concatenate([named, nothing]),
            "passages": np.concatenate([none, self.passages * scaled(near)]),
        }
        weights = graph.weights(passages=self.context)
        walked = walk_by_part(weights, seeds, self.damping)
        return {name: self._of_passages(graph, mass) for name, mass in walked.items()}

    def _of_passages(self, graph: PassageGraph, mass: NDArray[np.float64]) -> NDArray[np.float64]:
        phrases = len(graph.phrases)
        if self.context:
            return mass[phrases:]
        passage, phrase = graph.arrays.context.T
        count = np.maximum(np.bincount(passage, minlength=len(graph)), 1)
        return mass[phrases:] + np.bincount(passage, weights=mass[phrase], minlength=len(graph)) / count


@system("hipporag2[given]", paper=PAPER, place="store", baseline="rag", variant="facts given as data")
class HippoRAG2Given(HippoRAG2):
    __doc__ = HippoRAG2.__doc__
    needs_language: ClassVar[tuple[str, ...]] = ("recognise",)
    small: ClassVar[dict[str, Any]] = {}

    @property
    def source(self) -> str:
        return GIVEN
