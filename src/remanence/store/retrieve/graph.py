"""A graph of passages and phrases: a phrase is an end of a fact, and joins the passages that speak of it.

Fact edges join the two ends of a fact, context edges a passage to the phrases of its facts, and synonym edges
phrases whose vectors are near. It is derived: passages come and go, in any order and any number at a time, and
what is left is the graph of the passages that are there, as if no other had ever been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.retrieve.extract import Triple, phrase
from remanence.store.retrieve.named import named_in

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]
Encode = Callable[[list[str]], Vectors]

DECIMALS = 5
"""Of cosines: what lies beyond depends on how many were computed at once, and would let the order of arrival show."""

_AT_ONCE = 1000


class PassageGraph:
    """Passages by their row, phrases, facts, and the edges between them.

    Parameters
    ----------
    encode:
        Texts to unit vectors (n, dimension), for phrases and facts.
    synonyms:
        The least cosine between the vectors of two phrases that a synonym edge joins.

    Example
    -------
    >>> import numpy as np
    >>> graph = PassageGraph(lambda texts: np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]])
    >>> born, city = [("Gisvi", "born in", "Windhoek")], [("Windhoek", "capital of", "Namibia")]
    >>> graph.add([1, 2], [born, city], np.eye(8, dtype=np.float32)[:2])
    >>> graph.phrases, [graph.phrases[number] for number in graph.named("Where was Gisvi born?")]
    (['gisvi', 'windhoek', 'namibia'], ['gisvi'])
    >>> graph.remove([1])
    >>> graph.phrases
    ['windhoek', 'namibia']
    """

    def __init__(self, encode: Encode, synonyms: float = 0.8) -> None:
        self.encode, self.synonyms = encode, synonyms
        self.rows: list[int] = []
        self.phrases: list[str] = []
        self.facts: list[Triple] = []
        self.passage_vectors = self.phrase_vectors = self.fact_vectors = np.zeros((0, 0), np.float32)
        self._contents: dict[int, Counter[Triple]] = {}
        self._phrase: dict[str, int] = {}
        self._fact: dict[Triple, int] = {}
        self._alike: Numbers = np.zeros((0, 2), np.int64)
        self._cosines = np.zeros(0, np.float32)
        self._arrays: _Arrays | None = None

    def __len__(self) -> int:
        return len(self.rows)

    # Coming and going

    def add(self, rows: Sequence[int], facts: Sequence[Iterable[Sequence[str]]], vectors: Vectors) -> None:
        """Add passages.

        Parameters
        ----------
        rows:
            What they are called; none is in the graph yet.
        facts:
            For each, its (subject, relation, object); one without two ends is passed over.
        vectors:
            Of the passages (n, dimension), unit length.
        """
        if not (len(rows) == len(facts) == len(vectors)):
            raise UsageError(
                f"{len(rows)} passages were given with {len(facts)} lists of facts and {len(vectors)} vectors"
            )
        twice = next((row for row, count in Counter(rows).items() if count > 1 or row in self._contents), None)
        if twice is not None:
            raise UsageError(f"passage {twice} is in the graph already: remove it first")
        told = [Counter(normal(facts_of_one)) for facts_of_one in facts]
        new_facts = list(dict.fromkeys(fact for one in told for fact in one if fact not in self._fact))
        ends = dict.fromkeys(end for fact in new_facts for end in (fact[0], fact[2]))
        new_phrases = [end for end in ends if end not in self._phrase]
        # Everything that can fail comes before anything is changed
        found = self.encode(new_phrases + [" ".join(fact) for fact in new_facts]) if new_facts else None
        for row, one in zip(rows, told, strict=True):
            self._contents[row] = one
        self.rows += rows
        self.passage_vectors = _joined(self.passage_vectors, vectors)
        if found is not None:
            self._phrase |= {end: len(self.phrases) + place for place, end in enumerate(new_phrases)}
            self._fact |= {fact: len(self.facts) + place for place, fact in enumerate(new_facts)}
            self.phrases += new_phrases
            self.facts += new_facts
            self.phrase_vectors = _joined(self.phrase_vectors, found[: len(new_phrases)])
            self.fact_vectors = _joined(self.fact_vectors, found[len(new_phrases) :])
            self._find_synonyms(len(self.phrases) - len(new_phrases))
        self._arrays = None

    def _find_synonyms(self, first: int) -> None:
        """Synonym edges between the phrases from number `first` on and all up to them."""
        pairs, cosines = [self._alike], [self._cosines]
        wordy = np.array([len(one.replace(" ", "")) > 2 for one in self.phrases], dtype=bool)
        for begin in range(first, len(self.phrases), _AT_ONCE):
            end = min(begin + _AT_ONCE, len(self.phrases))
            near = self.phrase_vectors[begin:end] @ self.phrase_vectors[:end].T
            np.round(near, DECIMALS, out=near)
            here, there = np.nonzero(near >= self.synonyms)
            keep = (there < here + begin) & wordy[here + begin] & wordy[there]
            pairs.append(np.stack([here[keep] + begin, there[keep]], axis=1))
            cosines.append(near[here[keep], there[keep]])
        self._alike, self._cosines = np.concatenate(pairs), np.concatenate(cosines)

    def remove(self, rows: Iterable[int]) -> None:
        """Remove passages, the facts that no other tells, the phrases that are in no other, and their edges."""
        going = set(rows)
        unknown = next((row for row in going if row not in self._contents), None)
        if unknown is not None:
            raise UsageError(f"passage {unknown} is not in the graph: it was never added, or was removed before")
        if not going:
            return
        stays = np.array([row not in going for row in self.rows], dtype=bool)
        self.rows = [row for row in self.rows if row not in going]
        self.passage_vectors = self.passage_vectors[stays]
        for row in going:
            del self._contents[row]
        told = {fact for one in self._contents.values() for fact in one}
        kept = np.array([fact in told for fact in self.facts], dtype=bool)
        self.facts = [fact for fact in self.facts if fact in told]
        self.fact_vectors = self.fact_vectors[kept]
        self._fact = {fact: number for number, fact in enumerate(self.facts)}
        ends = {end for fact in self.facts for end in (fact[0], fact[2])}
        kept = np.array([one in ends for one in self.phrases], dtype=bool)
        self.phrases = [one for one in self.phrases if one in ends]
        self.phrase_vectors = self.phrase_vectors[kept]
        self._phrase = {one: number for number, one in enumerate(self.phrases)}
        both = kept[self._alike].all(axis=1)
        self._alike = (np.cumsum(kept) - 1)[self._alike[both]]
        self._cosines = self._cosines[both]
        self._arrays = None

    # The walker's view

    @property
    def arrays(self) -> _Arrays:
        if self._arrays is None:
            self._arrays = _Arrays(self)
        return self._arrays

    def weights(self, *, passages: bool = True, synonyms: bool = True) -> Any:
        """Edge weights as a symmetric sparse matrix over the phrases, then the passages, in their order.

        A fact edge weighs as many passages' tellings as there are, a context edge 1, a synonym edge the cosine.

        Parameters
        ----------
        passages, synonyms:
            Whether context and synonym edges are there.
        """
        from scipy import sparse

        arrays, phrases = self.arrays, len(self.phrases)
        if (passages, synonyms) in arrays.weights:
            return arrays.weights[passages, synonyms]
        begins, ends, weights = [arrays.ends[:, 0]], [arrays.ends[:, 1]], [arrays.tellings]
        if passages:
            begins.append(arrays.context[:, 0] + phrases)
            ends.append(arrays.context[:, 1])
            weights.append(np.ones(len(arrays.context)))
        if synonyms:
            begins.append(self._alike[:, 0])
            ends.append(self._alike[:, 1])
            weights.append(self._cosines.astype(np.float64))
        begin, end, weight = (np.concatenate(one) for one in (begins, ends, weights))
        apart = begin != end
        nodes = phrases + len(self.rows)
        half = sparse.coo_array((weight[apart], (begin[apart], end[apart])), shape=(nodes, nodes)).tocsr()
        arrays.weights[passages, synonyms] = (half + half.T).tocsr()
        return arrays.weights[passages, synonyms]

    def spread(self) -> NDArray[np.float64]:
        """In how many passages each phrase is (phrases,)."""
        return np.bincount(self.arrays.context[:, 1], minlength=len(self.phrases)).astype(np.float64)

    def named(self, question: str) -> list[int]:
        """The numbers of the phrases that a question names, see `named_in`."""
        return named_in(question, self._phrase)

    def nearest_facts(self, vector: Vectors, most: int) -> tuple[Numbers, NDArray[np.float64]]:
        """The numbers of the facts nearest to a unit vector, best first, and their cosines on the scale of all facts':
        0 for the least, 1 for the greatest, and for each where all are alike."""
        if not self.facts:
            return np.zeros(0, np.int64), np.zeros(0)
        cosines = np.round(self.fact_vectors @ vector, DECIMALS).astype(np.float64)
        least = np.partition(cosines, -most)[-most] if most < len(cosines) else -np.inf
        best = sorted(np.flatnonzero(cosines >= least), key=lambda place: (-cosines[place], self.facts[place]))[:most]
        return np.array(best, dtype=np.int64), scaled(cosines)[best]

    def has(self, fact: Triple) -> bool:
        return fact in self._fact

    def ends(self, fact: Triple) -> tuple[int, int]:
        """The numbers of the phrases at the ends of a fact."""
        return self._phrase[fact[0]], self._phrase[fact[2]]


class _Arrays:
    """The edges as numbers, made anew after a change."""

    def __init__(self, graph: PassageGraph) -> None:
        tellings = np.zeros(len(graph.facts))
        context: list[tuple[int, int]] = []
        for place, row in enumerate(graph.rows):
            told = graph._contents[row]
            for fact, times in told.items():
                tellings[graph._fact[fact]] += times
            context += [(place, graph._phrase[end]) for end in dict.fromkeys(e for f in told for e in (f[0], f[2]))]
        self.weights: dict[tuple[bool, bool], Any] = {}
        self.tellings = tellings
        self.ends: Numbers = np.array([graph.ends(fact) for fact in graph.facts], dtype=np.int64).reshape(-1, 2)
        self.context: Numbers = np.array(context, dtype=np.int64).reshape(-1, 2)


def encoded_for(facts: Iterable[Sequence[str]]) -> list[str]:
    """The texts that the graph has encoded for the sake of some facts: their ends, and themselves.

    Example
    -------
    >>> encoded_for([("Ana", "lives in", "Lisbon")])
    ['ana', 'lisbon', 'ana lives in lisbon']
    """
    told = normal(facts)
    return list(dict.fromkeys([end for fact in told for end in (fact[0], fact[2])] + [" ".join(fact) for fact in told]))


def normal(facts: Iterable[Sequence[str]]) -> list[Triple]:
    """Facts as the graph names them; what has not two different ends is passed over.

    Example
    -------
    >>> normal([("The Bubye River", "is in", "Zimbabwe"), ("x", "is", "X"), ("…", "is", "y")])
    [('the bubye river', 'is in', 'zimbabwe')]
    """
    found = []
    for fact in facts:
        subject, relation, other = (phrase(part) for part in fact)
        if subject and other and subject != other:
            found.append((subject, relation, other))
    return found


def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 for the least to 1 for the greatest; 1 for each where all are alike.

    >>> scaled(np.array([0.2, 0.4, 0.3])).round(6).tolist(), scaled(np.array([0.3, 0.3])).tolist()
    ([0.0, 1.0, 0.5], [1.0, 1.0])
    """
    width = float(np.ptp(values)) if len(values) else 0.0
    return (values - values.min()) / width if width > 0 else np.ones(len(values))


def _joined(old: Vectors, new: Vectors) -> Vectors:
    new = np.asarray(new, dtype=np.float32)
    return new.copy() if not len(old) else np.concatenate([old, new])
