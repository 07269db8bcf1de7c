"""The language tasks that memories ask for, and the types of their answers.

A memory asks for a task (`Language.relation`), never for a prompt, so that a language model and the
rules can stand in for each other.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Operation = Literal["pass", "replace", "append", "delete"]
"""What to do with an old sentence in the light of a new one.

``pass``: keep the old, the new adds nothing. ``replace``: the new stands for the old. ``append``: keep
both. ``delete``: drop both, the new only says that the old is over.
"""


def _printable(text: str) -> str:
    if any(unicodedata.category(character) in {"Cc", "Cs"} and character not in "\n\t" for character in text):
        raise ValueError("it has control characters")
    return text


def _text(longest: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=1, max_length=longest)


Printable = AfterValidator(_printable)
Word = Annotated[str, _text(100), Printable]
Phrase = Annotated[str, _text(400), Printable]
Passage = Annotated[str, _text(8000), Printable]


class Answer(BaseModel):
    """What a task must come back as: nothing missing, nothing more, of the right types and sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Fact(Answer):
    """A short statement: who, how related, to what (empty for "Rex died"); `negated` where it is not so, or no longer.

    >>> str(Fact(subject="Ana", relation="lives in", object="Porto", negated=True))
    'Ana no longer lives in Porto.'
    """

    subject: Word
    relation: Word
    object: Annotated[str, StringConstraints(strip_whitespace=True, max_length=400), Printable]
    negated: bool

    def __str__(self) -> str:
        words = [self.subject, "no longer" if self.negated else "", self.relation, self.object]
        return " ".join(word for word in words if word) + "."


class NoteAnnotation(Answer):
    """What an older note becomes: a sentence of context, and tags."""

    context: Phrase
    tags: Annotated[list[Word], Field(max_length=20)]


class Lesson(Answer):
    """What to do next time: in which situation it applies, and what to do there."""

    when: Phrase
    do: Passage


class WordsAnswer(Answer):
    words: Annotated[list[Word], Field(max_length=30)]


class SentenceAnswer(Answer):
    sentence: Passage


class FactsAnswer(Answer):
    facts: Annotated[list[Fact], Field(max_length=100)]


class OperationAnswer(Answer):
    operation: Operation


class ScoreAnswer(Answer):
    score: Annotated[int, Field(ge=1, le=10)]


class YesNoAnswer(Answer):
    yes: bool


class ChoiceAnswer(Answer):
    numbers: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=100)]


class LessonsAnswer(Answer):
    lessons: Annotated[list[Lesson], Field(max_length=20)]


@runtime_checkable
class Language(Protocol):
    """The tasks. Texts are any strings; answers are validated data.

    Raises
    ------
    EndpointError
        From any task, where a language model does not answer, or not usably; nothing was changed then.
    """

    @property
    def name(self) -> str:
        """``rules``, or the name of the model."""
        ...

    def keywords(self, text: str, most: int = 8) -> list[str]:
        """The words that a person would search it by, the most telling first."""
        ...

    def tags(self, text: str, most: int = 5) -> list[str]:
        """Broad subjects it belongs to, in lower case."""
        ...

    def context(self, text: str) -> str:
        """One sentence: what it is about."""
        ...

    def summary(self, texts: Sequence[str], sentences: int = 3) -> str:
        """The whole in a few sentences; empty where nothing was given."""
        ...

    def portrait(self, texts: Sequence[str], person: str) -> str:
        """What these texts show of a person's character and moods; empty where nothing was given."""
        ...

    def facts(self, text: str, speaker: str | None = None) -> list[Fact]:
        """What it says about people and things that may matter later; "I" is the speaker."""
        ...

    def relation(self, old: str, new: str) -> Operation:
        """What to do with `old`, now that `new` is known; both speak of the same person."""
        ...

    def merge(self, texts: Sequence[str]) -> str:
        """One text that says what several similar ones say."""
        ...

    def importance(self, text: str) -> float:
        """From 0.1 (small talk) to 1 (changes a life)."""
        ...

    def same_event(self, a: str, b: str) -> bool:
        """Whether both tell of the same happening."""
        ...

    def related(self, text: str, others: Sequence[str]) -> list[int]:
        """Which of the others (their places in the list) belong with it, in order."""
        ...

    def rewrite(self, old: NoteAnnotation, text: str, news: Sequence[str]) -> NoteAnnotation:
        """Context and tags of an older note (its `text` stays), in the light of newer ones."""
        ...

    def needs_memory(self, question: str) -> bool:
        """Whether answering needs something said before."""
        ...

    def suffices(self, question: str, summary: str) -> bool:
        """Whether the summary, without the full text, is enough to answer."""
        ...

    def lessons(self, story: str, succeeded: bool) -> list[Lesson]:
        """What an attempt at a task teaches for the next one."""
        ...
