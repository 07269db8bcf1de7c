"""The language tasks by rules, with no language model: for English, fast, the same answer every time.

They see words and sentence patterns, not meaning. A published memory that runs on them is a variant of
its own (``a-mem[rules]``).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from remanence.hyperparameters import validated
from remanence.store.language.comparing import compare
from remanence.store.language.statements import SINGLE, statements
from remanence.store.language.tasks import Fact, Lesson, NoteAnnotation, Operation
from remanence.store.language.words import STOP, Stems, contained, content, overlap, sentences, stem, words

SUBJECTS: dict[str, Stems] = {
    subject: Stems(names)
    for subject, names in {
        "family": "mother father mom dad sister brother son daughter kids children baby parents grandma grandpa wife husband aunt uncle cousin",
        "friends": "friend friends buddy roommate neighbour neighbor colleague party hangout",
        "love": "girlfriend boyfriend dating wedding married engaged fiancé fiancée divorce anniversary",
        "work": "job work boss office career company colleague interview promotion salary project client business",
        "study": "school university college exam class course degree student teacher study homework research thesis",
        "health": "doctor hospital sick ill pain surgery therapy medicine diet allergy flu cold injury diagnosed mental",
        "feelings": "happy sad angry afraid anxious stressed proud excited lonely worried depressed grateful",
        "home": "house home apartment flat moved rent garden kitchen furniture neighbourhood",
        "travel": "trip travel flight vacation holiday hotel beach visited abroad airport camping hike tour",
        "food": "cook recipe dinner lunch breakfast restaurant eat pizza cake vegetarian vegan coffee bake",
        "sport": "run running gym football soccer tennis yoga marathon swim basketball team training match bike",
        "art": "music song guitar piano painting paint art movie film book novel dance photo photography concert drawing",
        "animals": "dog cat pet puppy kitten horse bird animal vet",
        "money": "money bank loan save buy bought price debt salary invest budget",
        "technology": "computer phone software app code programming internet game laptop",
        "events": "birthday wedding funeral festival conference ceremony graduation parade meeting",
        "plans": "plan plans planning tomorrow next future goal dream hope",
    }.items()
}
_GRAVE = Stems(
    """died death funeral born birth pregnant wedding married engaged divorce hospital surgery cancer
    diagnosed accident graduated fired hired promotion moved retired adopted allergic allergy disability coming-out
    won award lost attacked arrested bankrupt transition"""
)
_SMALL = re.compile(
    r"^\W*(?:hi|hello|hey|thanks?|thank you|bye|goodbye|good (?:morning|night|evening)|see you|take care|wow|cool|nice|great"
    r"|awesome|sure|ok|okay|yes|yeah|no|haha|lol|you're welcome|how are you)\b",
    re.IGNORECASE,
)
_PAST = re.compile(
    r"\b(?:i|i'm|my|me|we|our|you|your|he|she|they|his|her|did|was|were|had|ago|last|yesterday|earlier|before|again|remember"
    r"|remind|told|said|mentioned|previous|previously|still)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![.!?…]\s)(?<!^)\b[A-ZÀ-Þ][\w'-]+")
_NUMBER = re.compile(r"\d+")


class Rules:
    """A `Language` by rules.

    Example
    -------
    >>> rules = Rules()
    >>> rules.keywords("My sister Carla adopted a grey kitten; the kitten is called Tofu.", most=3)
    ['kitten', 'Carla', 'Tofu']
    >>> rules.tags("My sister adopted a kitten")
    ['animals', 'family']
    >>> rules.importance("Hi there!") < rules.importance("My father died in March.")
    True
    """

    name = "rules"

    @validated
    def __init__(self) -> None:
        pass

    def keywords(self, text: str, most: int = 8) -> list[str]:
        shown: dict[str, str] = {}
        weights: Counter[str] = Counter()
        names = {stem(name) for name in _NAME.findall(text)}
        for word in words(text):
            if word.lower() in STOP or len(word) < 2 or "n't" in word:
                continue
            root = stem(word)
            shown.setdefault(root, word if root in names else word.lower())
            weights[root] += 2 if root in names and not weights[root] else 1
        # Of equally frequent words the longer tells more; ties are broken by place in the text.
        order = {root: place for place, root in enumerate(shown)}
        best = sorted(weights, key=lambda root: (-weights[root], -min(len(root), 6), order[root]))
        return [shown[root][:100] for root in best[:most]]

    def tags(self, text: str, most: int = 5) -> list[str]:
        found = Counter(content(text))
        scores = {subject: sum(found[word] for word in lexicon) for subject, lexicon in SUBJECTS.items()}
        return [name for name in sorted(scores, key=lambda name: (-scores[name], name)) if scores[name]][:most]

    def context(self, text: str) -> str:
        return self.summary([text], 1)[:400] or text.strip()[:400] or "(empty)"

    def summary(self, texts: Sequence[str], sentences: int = 3) -> str:
        return " ".join(central([sentence for text in texts for sentence in _sentences(text)], sentences))

    def portrait(self, texts: Sequence[str], person: str) -> str:
        shown: list[str] = []
        for text in texts:
            for fact in statements(text, person):
                about = fact.subject == person and (fact.relation in SINGLE | {"is", "likes", "feels", "loves"})
                if about and str(fact) not in shown:
                    shown.append(str(fact))
        return " ".join(shown[-12:])

    def facts(self, text: str, speaker: str | None = None) -> list[Fact]:
        return statements(text, speaker)

    def relation(self, old: str, new: str) -> Operation:
        return compare(old, new)

    def merge(self, texts: Sequence[str]) -> str:
        kept: list[str] = []
        for sentence in (sentence for text in texts for sentence in _sentences(text)):
            operations = [compare(old, sentence) for old in kept]
            if "pass" in operations:
                continue
            kept = [old for old, operation in zip(kept, operations, strict=True) if operation == "append"]
            if "delete" not in operations:
                kept.append(sentence)
        return " ".join(kept)

    def importance(self, text: str) -> float:
        if not content(text):
            return 0.1
        found = statements(text)
        score = 2.0 + 2.0 * bool(found) + 2.0 * any(fact.relation in SINGLE for fact in found)
        score += 3.0 * bool(set(content(text)) & _GRAVE) + bool(_NUMBER.search(text)) + bool(_NAME.search(text))
        if _SMALL.match(text) or text.rstrip().endswith("?"):
            score -= 2.0
        return max(1.0, min(10.0, score)) / 10

    def same_event(self, a: str, b: str) -> bool:
        first, second = content(a), content(b)
        numbers = [set(_NUMBER.findall(text)) for text in (a, b)]
        if all(numbers) and not numbers[0] & numbers[1]:
            return False
        shared = set(first) & set(second)
        shorter, longer = sorted((first, second), key=len)
        return len(shared) >= 2 and (
            overlap(first, second) >= 0.5 or (len(shared) >= 3 and contained(shorter, longer) >= 0.75)
        )

    def related(self, text: str, others: Sequence[str]) -> list[int]:
        mine = {stem(word) for word in self.keywords(text, 12)}
        names = {stem(name) for name in _NAME.findall(text)}
        found = []
        for place, other in enumerate(others):
            shared = mine & set(content(other))
            if len(shared) >= 2 and (contained(mine, shared) >= 0.25 or shared & names):
                found.append(place)
        return found

    def rewrite(self, old: NoteAnnotation, text: str, news: Sequence[str]) -> NoteAnnotation:
        fresh = [tag for new in news for tag in self.tags(new)]
        tags = list(dict.fromkeys([*old.tags, *fresh]))[:8]
        context = self.summary([old.context, *news], 2)[:400].strip()
        return NoteAnnotation(context=context or old.context, tags=tags)

    def needs_memory(self, question: str) -> bool:
        if _SMALL.match(question) and len(content(question)) < 2:
            return False
        return bool(_PAST.search(question) or _NAME.search(question))

    def suffices(self, question: str, summary: str) -> bool:
        asked = content(question)
        return bool(asked) and contained(asked, content(summary)) >= 0.6

    def lessons(self, story: str, succeeded: bool) -> list[Lesson]:
        told = _sentences(story)
        if not told:
            return []
        done = " ".join(central(told[1:], 3)) or told[0]
        return [Lesson(when=told[0][:400], do=("" if succeeded else "Avoid what failed: ") + done[:7000])]


def _sentences(text: str) -> list[str]:
    return sentences(text)


def central(candidates: Sequence[str], most: int) -> list[str]:
    """The sentences nearest the middle of all, none saying what a chosen one says, in their order.

    >>> central(["I like tea.", "Tea in the morning is what I like.", "Rain fell."], 1)
    ['I like tea.']
    """
    bags = [Counter(content(sentence)) for sentence in candidates]
    seen: Counter[str] = Counter(word for bag in bags for word in bag)
    vectors = [{word: count * math.log(1 + len(bags) / seen[word]) for word, count in bag.items()} for bag in bags]
    centre: Counter[str] = Counter()
    norms = [math.sqrt(sum(value**2 for value in vector.values())) or 1.0 for vector in vectors]
    for vector, norm in zip(vectors, norms, strict=True):
        for word, value in vector.items():
            centre[word] += value / norm  # type: ignore[assignment]
    scores = [
        sum(value * centre[word] for word, value in vector.items()) / norm
        for vector, norm in zip(vectors, norms, strict=True)
    ]
    chosen: list[int] = []
    for place in sorted(range(len(candidates)), key=lambda place: (-scores[place], place)):
        if len(chosen) == most:
            break
        if bags[place] and all(overlap(bags[place], bags[other]) < 0.6 for other in chosen):
            chosen.append(place)
    return [candidates[place] for place in sorted(chosen)]
