"""bAbI tasks 1 to 3: where somebody is, where something is, and where it was before, told in sentences of words.

The tasks are those of Weston et al., Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks, 2015,
arXiv:1502.05698, with one, two and three supporting facts; the world is simulated here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from remanence.errors import UsageError
from remanence.randomness import derive
from remanence.streams.recall.sequence_batch import IGNORE, SequenceBatch

One = TypeVar("One")

PEOPLE = ("daniel", "john", "mary", "sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
OBJECTS = ("apple", "football", "milk")
MOVES = ("journeyed", "moved", "travelled", "went")
TAKES = ("got", "grabbed", "took")
DROPS = ("discarded", "dropped", "left")
_OTHERS = ("-", ".", "?", "to", "the", "where", "is", "was", "before")
VOCABULARY = (*_OTHERS, *PEOPLE, *PLACES, *OBJECTS, *MOVES, *TAKES, *DROPS)
"""The word of each token; ``-`` fills the room in front of a story."""
_ELSEWHERE = {here: tuple(place for place in PLACES if place != here) for here in ("", *PLACES)}
_TOKEN = {word: token for token, word in enumerate(VOCABULARY)}
_SENTENCE = 6
_QUESTION = {1: 4, 2: 5, 3: 8}
_ENDING = {1: 6, 2: 11, 3: 17}  # words that may be needed before anything can be asked: move; take; move with it


@dataclass
class Question:
    """One question of a story; its place, and those of its facts, are counted in words of the story.

    Parameters
    ----------
    at:
        The place of its question mark.
    answer:
        A place of the world.
    source:
        Where a supporting fact says the answer.
    facts:
        Where the sentences begin that are needed for the answer, in the order of telling.
    """

    at: int
    answer: str
    source: int
    facts: tuple[int, ...]


@dataclass
class Story:
    """The words of a story, and the questions among them."""

    words: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


class _World:
    """Who and what is where, and which sentences said so."""

    def __init__(self, task: int, draw: random.Random) -> None:
        self.task, self.random, self.story = task, draw.random, Story()
        self.askable = False
        # Of a person: the place, and the move that led there. A sentence is named by the place of its first word.
        self.person: dict[str, tuple[str, int]] = {}
        self.holder: dict[str, str] = {}
        # Of an object: the last take or drop, with the move of whoever did it or carried it on.
        self.object: dict[str, tuple[int, int]] = {}
        # Of an object: each place it was at, and the facts that tell of the place before it (move there first).
        self.visits: dict[str, list[tuple[str, tuple[int, ...]]]] = {}

    def _any(self, of: Sequence[One]) -> One:
        return of[int(self.random() * len(of))]

    def _say(self, *words: str) -> int:
        at = len(self.story.words)
        self.story.words += words
        self.story.words.append(".")
        return at

    def move(self, who: str | None = None, place: str | None = None) -> None:
        """Somebody goes elsewhere, and what they hold goes along."""
        who = who or self._any(PEOPLE)
        before, left = self.person.get(who, ("", -1))
        place = place or self._any(_ELSEWHERE[before])
        said = self._say(who, self._any(MOVES), "to", "the", place)
        self.person[who] = place, said
        self.askable = self.askable or self.task == 1
        for what, holder in self.holder.items():
            if holder == who:
                taken, _ = self.object[what]
                self.object[what] = taken, said
                self.visits[what].append((place, (left, taken, said)))
                self.askable = True

    def take(self) -> bool:
        """Somebody takes what is where they are; what was not told of so far may be anywhere."""
        able = [
            (who, what)
            for what in OBJECTS
            if what not in self.holder
            for who, (place, _) in self.person.items()
            if what not in self.visits or self.visits[what][-1][0] == place
        ]
        if not able:
            return False
        who, what = self._any(able)
        place, moved = self.person[who]
        self.object[what] = self._say(who, self._any(TAKES), "the", what), moved
        self.holder[what] = who
        self.visits.setdefault(what, [(place, ())])
        self.askable = self.askable or self.task == 2
        return True

    def drop(self) -> bool:
        """Somebody leaves what they hold where they are."""
        if not self.holder:
            return False
        what = self._any(list(self.holder))
        who = self.holder.pop(what)
        self.object[what] = self._say(who, self._any(DROPS), "the", what), self.person[who][1]
        return True

    def happen(self) -> None:
        """One sentence of whatever may happen."""
        kind = 0.0 if self.task == 1 else self.random()
        if not ((kind > 0.8 and self.drop()) or (kind > 0.5 and self.take())):
            self.move()

    def prepare(self) -> None:
        """The shortest way to something that can be asked about."""
        while not self.askable:
            if self.holder:
                self.move(self._any(list(self.holder.values())))
            elif self.task == 1 or not self.take():
                lying = [visits[-1][0] for visits in self.visits.values()]
                self.move(place=self._any(lying or PLACES))

    def ask(self) -> None:
        """One question about what can be known."""
        words: tuple[str, ...]
        facts: tuple[int, ...]
        if self.task == 1:
            who = self._any(list(self.person))
            answer, moved = self.person[who]
            words, facts = ("where", "is", who), (moved,)
        elif self.task == 2:
            what = self._any(list(self.visits))
            answer = self.visits[what][-1][0]
            taken, moved = self.object[what]
            facts = (taken, moved)
            words = ("where", "is", "the", what)
        else:
            what = self._any([what for what, visits in self.visits.items() if len(visits) > 1])
            visits = self.visits[what]
            last = {place: number for number, (place, _) in enumerate(visits) if number}
            place, number = self._any(list(last.items()))
            answer, facts = visits[number - 1][0], visits[number][1]
            moved = facts[0]
            words = ("where", "was", "the", what, "before", "the", place)
        self.story.words += [*words, "?"]
        self.story.questions.append(Question(len(self.story.words) - 1, answer, moved + 4, tuple(sorted(facts))))


def stories(rows: int, seed: int, *, task: int = 1, length: int = 256, asked: float = 0.3) -> list[Story]:
    """Tell stories with questions; the parameters are those of `babi`.

    Example
    -------
    >>> story = stories(1, seed=0, task=2, length=32)[0]
    >>> print(" ".join(story.words).replace(". ", ".\\n"))
    sandra journeyed to the bathroom .
    sandra grabbed the milk .
    daniel travelled to the kitchen .
    mary moved to the kitchen .
    where is the milk ?
    >>> story.questions
    [Question(at=27, answer='bathroom', source=4, facts=(0, 6))]
    """
    if task not in _QUESTION or not 0 <= asked <= 1:
        raise UsageError(f"babi was asked for task {task} with questions at {asked}: give task 1, 2 or 3 and 0 to 1")
    question, ending = _QUESTION[task], _ENDING[task]
    if length < ending + question:
        raise UsageError(f"a story of {length} words is too short for task {task}: give {ending + question} or more")
    draw, told = random.Random(derive(seed, "babi")), []
    for _ in range(rows):
        world = _World(task, draw)
        words = world.story.words
        while len(words) + _SENTENCE + question + (0 if world.askable else ending) <= length:
            world.happen()
            if world.askable and draw.random() < asked and len(words) + 2 * question <= length:
                world.ask()
        world.prepare()
        world.ask()
        told.append(world.story)
    return told


def babi(rows: int, seed: int, *, task: int = 1, length: int = 256, asked: float = 0.3) -> SequenceBatch:
    """Draw stories of one bAbI task as words.

    Sentences tell who goes where and, for tasks 2 and 3, who takes or leaves what. A question mark asks for the place
    that is the answer. The last sentence is a question, and what the story leaves of the length is filled up in front
    of it. `VOCABULARY` has the word of each token, `stories` the supporting facts.

    Parameters
    ----------
    rows, seed:
        How many stories, and from which they are drawn.
    task:
        1 asks where a person is (one supporting fact), 2 where an object is (two: who took or left it, and where they
        had gone), 3 where an object was before it came to a place (three: who had it, and the two moves; where it
        came to that place more than once, the last time is meant).
    length:
        Words of a story (10, 16 or 25 for tasks 1, 2 and 3, or more).
    asked:
        How likely a sentence is followed by a question (0 to 1).

    Departures
    ----------
    Every verb is one word, no sentence says that somebody is already there, and the number of sentences between
    questions is random. The `distance` of a question is that to the word of the answer in the fact that says it.

    Example
    -------
    >>> given = babi(1, seed=0, length=16)
    >>> " ".join(VOCABULARY[token] for token in given.tokens[0])
    '- - john journeyed to the kitchen . where is john ? where is john ?'
    >>> [VOCABULARY[token] for token in given.targets[given.asked]]
    ['kitchen', 'kitchen']
    """
    told = stories(rows, seed, task=task, length=length, asked=asked)
    words = [["-"] * (length - len(story.words)) + story.words for story in told]
    tokens = torch.tensor([[_TOKEN[word] for word in row] for row in words], dtype=torch.int64).view(rows, length)
    targets, distance = torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)
    found = [
        (row * length + length - len(story.words) + question.at, _TOKEN[question.answer], question.at - question.source)
        for row, story in enumerate(told)
        for question in story.questions
    ]
    at, answer, ago = torch.tensor(found, dtype=torch.int64).view(-1, 3).T
    targets.view(-1)[at], distance.view(-1)[at] = answer, ago
    return SequenceBatch(tokens, targets, distance, len(VOCABULARY))
