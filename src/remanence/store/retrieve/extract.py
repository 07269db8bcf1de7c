"""Open information extraction by rules: names and (subject, relation, object) from plain English, with no model.

Names are capitalised spans, dates, numbers and quoted titles. A sentence speaks of its first name where it
begins with it, and of the passage's title otherwise; what stands between two names relates them. That finds
what a passage connects, not what it means: a language model reads better, and these rules are counted as a
variant wherever a paper's system uses them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from remanence.store.language.words import listed

Triple = tuple[str, str, str]

MOST = 64
"""Triples of one passage: a very long text gives no more than that."""

_JOINED = 1000
"""Characters up to which a sentence goes on after an abbreviation."""
_OPENING = 400
"""Characters of a sentence in which what its subject is may be said."""

_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DATE = rf"(?:\d{{1,2}}(?:st|nd|rd|th)? )?{_MONTH}(?: \d{{1,2}}(?:st|nd|rd|th)?)?,?(?: \d{{4}})?(?=\W|$)"
_NUMBER = (
    r"[$€£]?\d[\d.,]*\d(?:s|st|nd|rd|th)?(?: (?:million|billion|trillion|percent)\b|%)?|[$€£]?\d+(?:s|st|nd|rd|th)?"
)
_CAPITAL = r"(?:[^\W\d_a-zà-öø-ÿ][\w'’./&-]*\w|[A-Z]\.(?=[\s,]|$)|[A-Z]\b)"
_JOIN = r"(?: (?:of|of the|for the|de|de la|del|della|da|di|do|dos|du|la|le|van|von|van der|bin|al|&) | |-| - )"
_NAME = rf"{_CAPITAL}(?:{_JOIN}(?:{_CAPITAL}|\d+\b))*"
_QUOTED = r"[\"“”„«»]{1}[^\"“”„«»]{2,80}[\"“”„«»]{1}|``[^`']{2,80}''"
_MENTION = re.compile(rf"(?P<quoted>{_QUOTED})|(?P<date>{_DATE})|(?P<name>{_NAME})|(?P<number>{_NUMBER})")
_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"“'(]*[^\W\d_a-z]|[\"“'(]*\d)|\n+")
_SHORT = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Lt|Col|Gen|Capt|Rev|Hon|No|vs|ca|c|approx|etc|Inc|Ltd|Co|Corp|U\.S|U\.K|e\.g|i\.e))\.$"
)
_WORDS = re.compile(r"[^\W_]+")
_LEAD = re.compile(r"([\w'’]+)[ -]*")
_PARENTHESIS = re.compile(r"\s*[(（][^()（）]*[)）]\s*$")
_COPULA = re.compile(
    r"^\W*(?:\([^)]*\)\W*)?(?:,[^,]*,\s*)?(is|was|are|were|became|remains|refers to)\s+(?:an?|the|one of the)\s+([^,.;:()]+)"
)
_PRONOUN = re.compile(r"^(?:It|He|She|They|This)\b")
_STOPS = re.compile(
    r"\b(?:of|in|on|at|by|for|from|with|to|that|which|who|whose|where|when|located|based|founded|born|known|published|"
    r"produced|directed|written|released|during|since|under|near|and|or|between|as)\b"
)

_PLACED = frozenset(["in", "at", "near", "from", "to", "of"])

FUNCTION = listed(
    """a about above after again against all along also although am among an and another any are as at be because been
    before being below between both but by can could did do does doing down during each either every few first for from
    further had has have having he her here hers him his how however i if in including into is it its itself just last
    later many may me meanwhile might more most much must my no nor not now of off on once one only or other others our
    ours out over own per same several she should since so some such than that the their theirs them then there
    therefore these they this those through thus to today together too two under unlike until up upon us very via was
    we were what when where whereas whether which while who whom whose why will with within without would yet you your
    according additionally afterwards currently despite due eventually finally following formerly furthermore
    generally historically initially instead moreover nevertheless often originally previously recently similarly
    sometimes soon still subsequently three usually well yes"""
)
"""Words that make no phrase by themselves and no name at a sentence's beginning."""


def phrase(text: str) -> str:
    """A phrase as the graph names it: lower case, no diacritics, words and digits only.

    Example
    -------
    >>> phrase("Akinoshū  Kenji's café")
    'akinoshu kenji s cafe'
    """
    folded = text.lower()
    if not folded.isascii():
        folded = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return " ".join(_WORDS.findall(folded))


@dataclass(frozen=True, slots=True)
class Mention:
    """A name, date or number in a text: its words, and where they begin and end."""

    text: str
    begin: int
    end: int
    kind: str


def titled(text: str) -> tuple[str, str]:
    """Title and body of a passage: a first line of at most 120 characters without a full stop is its title.

    Example
    -------
    >>> titled("Brand (play)\\nBrand is a play by Henrik Ibsen.")
    ('Brand', 'Brand is a play by Henrik Ibsen.')
    >>> titled("I moved to Lisbon in May.")
    ('', 'I moved to Lisbon in May.')
    """
    first, _, rest = text.strip().partition("\n")
    if not rest.strip() or len(first) > 120 or first.endswith((".", "!", "?", ":", ";", ",")):
        return "", text.strip()
    return _PARENTHESIS.sub("", first) or first, rest.strip()


def sentences(text: str) -> list[str]:
    """The sentences of a text; initials and common abbreviations do not end one.

    Example
    -------
    >>> sentences("J. R. Smith met Dr. Who. They left in 1990! Why?")
    ['J. R. Smith met Dr. Who.', 'They left in 1990!', 'Why?']
    """
    found: list[str] = []
    for piece in _END.split(text):
        if not piece or not piece.strip():
            continue
        if found and len(found[-1]) < _JOINED and _SHORT.search(found[-1][-12:]):
            found[-1] += " " + piece.strip()
        else:
            found.append(piece.strip())
    return found


def mentions(sentence: str) -> list[Mention]:
    """The names, dates, numbers and quoted titles of a sentence, in order.

    A function word at the beginning is no name, however it is written.

    Example
    -------
    >>> [m.text for m in mentions("The Bubye River flows from Zimbabwe's south since 4 May 1920.")]
    ['Bubye River', 'Zimbabwe', '4 May 1920']
    """
    found = []
    place = 0
    while match := _MENTION.search(sentence, place):
        begin, end, kind = match.start(), match.end(), match.lastgroup or "name"
        place = end
        if kind == "quoted":
            width = 2 if sentence.startswith("``", begin) else 1
            begin, end = begin + width, end - width
        elif kind == "name":
            begin, end = _bare(sentence, begin, end)
            if begin > match.start():  # what is left may be something else: In 1865 Henrik Ibsen
                place = begin
                continue
        text = sentence[begin:end].strip(" ,.;:")
        if phrase(text) and not (kind == "name" and _functional(text)):
            found.append(Mention(text, begin, end, kind))
    return found


def _functional(name: str) -> bool:
    """Whether it is a function word or a contraction that begins with one: The, I'm."""
    return re.split("['’]", name)[0].lower() in FUNCTION or phrase(name) in FUNCTION


def _bare(sentence: str, begin: int, end: int) -> tuple[int, int]:
    """A name without the function words it may begin with and the genitive it may end in."""
    while (
        begin < end and (word := _LEAD.match(sentence, begin, end)) and word[1].lower() in FUNCTION and word[1] != "I"
    ):
        begin = word.end()
    if sentence[begin:end].endswith(("'s", "’s")):
        end -= 2
    return begin, end


def triples(text: str, title: str | None = None, most: int = MOST) -> list[Triple]:
    """The facts of a passage as (subject, relation, object), in order, none twice.

    Parameters
    ----------
    text:
        A passage; without a `title` of its own, its first line may be one (see `titled`).
    title:
        What the passage is about.
    most:
        No more than so many.

    Example
    -------
    >>> for fact in triples("Johnnycake\\nJohnnycake is an unincorporated community in McDowell County, West Virginia."):
    ...     print(fact)
    ('Johnnycake', 'is', 'unincorporated community')
    ('Johnnycake', 'is an unincorporated community in', 'McDowell County')
    ('Johnnycake', 'is an unincorporated community in', 'West Virginia')
    ('McDowell County', 'in', 'West Virginia')
    """
    if title is None:
        title, text = titled(text)
    full: dict[str, str] = {}
    _learn(full, title)
    own = re.compile(rf"(?<!\w){re.escape(title)}(?!\w)", re.IGNORECASE) if title else None
    found: dict[Triple, None] = {}
    for sentence in sentences(text):
        named = mentions(sentence)
        if own is not None:
            named = _with(named, [Mention(title, m.start(), m.end(), "name") for m in own.finditer(sentence)])
        named = [Mention(full.get(m.text, m.text), m.begin, m.end, m.kind) for m in named]
        for fact in _of_sentence(sentence, named, title):
            if phrase(fact[0]) != phrase(fact[2]):
                found[fact] = None
        if len(found) >= most:
            break
        for mention in named:
            if mention.kind == "name":
                _learn(full, mention.text)
    return list(found)[:most]


def _with(named: list[Mention], sure: list[Mention]) -> list[Mention]:
    """The mentions that do not overlap the sure ones, and those, in order."""
    kept = [m for m in named if all(m.end <= one.begin or m.begin >= one.end for one in sure)]
    return sorted(kept + sure, key=lambda m: m.begin)


def _learn(full: dict[str, str], name: str) -> None:
    """A last name by itself means the full name that stood before it."""
    parts = name.split()
    if 2 <= len(parts) <= 4 and all(part[:1].isupper() for part in parts):
        full.setdefault(parts[-1], name)


def _of_sentence(sentence: str, named: list[Mention], title: str) -> Iterable[Triple]:
    first = named[0] if named and named[0].kind in ("name", "quoted") else None
    begins = first is not None and phrase(sentence[: first.begin]) in ("", "the", "a", "an")
    subject = first.text if first is not None and (begins or not title) else title
    if not subject:
        return
    rest = named[1:] if first is not None and subject == first.text else named
    after = first.end if begins and first is not None else 0
    opening = sentence[after : after + _OPENING]
    copula = _COPULA.match(opening if begins else _PRONOUN.sub("", opening))
    if copula is not None:
        kind = _STOPS.split(copula.group(2), maxsplit=1)[0].strip()
        if kind and len(kind.split()) <= 6 and phrase(kind) not in FUNCTION:
            yield subject, copula.group(1), kind
    relation, previous, place = "", None, after
    for mention in rest:
        between = sentence[place : mention.begin]
        joined = _relation(between)
        if joined:
            relation = joined
        yield subject, relation or "has", mention.text
        if previous is not None and mention.kind == "name" and previous.kind == "name":
            if joined and len(joined.split()) <= 5:
                yield previous.text, joined, mention.text
            elif between.strip() == "," and relation.split()[-1:] and relation.split()[-1] in _PLACED:
                yield previous.text, "in", mention.text  # McDowell County, West Virginia
        previous, place = mention, mention.end


def _relation(between: str) -> str:
    """What relates two names, from the words between them: at most the last six."""
    between = re.sub(r"\([^)]*\)?", " ", between)
    words = re.findall(r"[\w'’-]+", between)
    while words and words[0].lower() in ("and", "or", "s", "'s", "’s"):
        words = words[1:]
    while words and words[-1].lower() in ("the", "a", "an"):
        words = words[:-1]
    return " ".join(words[-6:]).lower()
