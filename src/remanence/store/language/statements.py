"""Statements about people in plain English: who, how related, to what, and whether it still is so."""

from __future__ import annotations

import re

from remanence.store.language.tasks import Fact
from remanence.store.language.words import STOP, listed, sentences

SINGLE = frozenset(
    ["lives in", "works at", "works as", "studies at", "is called", "is aged", "is married to", "is dating", "is from"]
)
"""Relations in which one object follows another: the later one stands."""

_OPENERS = re.compile(
    r"^(?:(?:and|but|so|well|actually|also|oh|wow|yeah|yes|yep|hey|haha|ok|okay|anyway|honestly|btw|by the way|guess what"
    r"|recently|lately|today|yesterday|nowadays|unfortunately|luckily|finally|plus|now)\b[,!]?\s+)+",
    re.IGNORECASE,
)
_TIME = re.compile(
    r",?\s+(?:(?:last|this|next) \w+|since\b.*|for (?:\w+ )?(?:years?|months?|weeks?|days?|decades?)\b.*|(?:\w+ ){1,3}ago"
    r"|yesterday|today|tomorrow|in (?:early |late )?(?:january|february|march|april|may|june|july|august|september|october"
    r"|november|december|\d{4}|spring|summer|autumn|fall|winter)\b.*|on (?:mon|tues|wednes|thurs|fri|satur|sun)day\b.*)$",
    re.IGNORECASE,
)
_SAYS = re.compile(r"^(?P<who>[A-ZÀ-Þ][\w' -]{0,40}):\s+")
_JOINED = re.compile(
    r",?\s+and\s+(?=(?:(?:then|now|just|recently)\s+)?(?:moved|started|joined|adopted|bought|sold|quit|left|got|became|works?"
    r"|lives?|have|has|likes?|loves?|hates?|am|is|was|went)\b)",
)
_CLAUSES = re.compile(
    r";\s+|,\s+(?=(?:I|we|my)\b)|,?\s+(?:and|but|so|because|since|while)\s+(?=(?:I|we|my|he|she|they)(?:\b|'))",
    re.IGNORECASE,
)
_NAME = r"[A-ZÀ-Þ][\w'-]*(?:\s+[A-ZÀ-Þ][\w-]*)?"
_SUBJECT = re.compile(
    rf"^(?P<subject>I|[Ww]e|[Mm]y(?:\s+[\w'-]+){{1,3}}?|[Tt]he (?:user|speaker)|{_NAME}(?:'s(?:\s+\w+){{1,3}}?)?)"
    r"(?:\s+(?P<rest>.+)|(?P<short>['’](?:m|re|ve|s|d|ll)\s+.+))$",
    re.DOTALL,
)
_SHORT = {"m": "am", "re": "are", "ve": "have", "s": "is", "d": "would", "ll": "will"}
_ADVERBS = re.compile(
    r"^(?:(?:just|recently|now|really|finally|also|still|currently|always|already|actually|usually|often|even|totally|"
    r"absolutely|all|[a-z]+ly|kind of|sort of|do|did|both|officially|soon)\s+)+",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:\s*,?\s*(?:now|any ?more|any longer|nowadays|these days|at the moment|lately|recently|too|as well|currently))+[.!]*$",
    re.IGNORECASE,
)
_NOBODY = STOP - {"i", "we", "my", "the", "user", "speaker"}
"""Words that begin a sentence with a capital and are nobody's name."""
_PARTICIPLE = re.compile(r"[a-z]{3,}ed")
_PARTICLES = "in|at|as|for|with|to|on|about|from|of|into|by"
_VERBS = listed(
    """died dies smoke smokes smoked am are is was were be been have has had got get gets live lives lived work works worked move moves moved like likes
    liked love loves loved hate hates hated enjoy enjoys enjoyed prefer prefers preferred want wants wanted need needs
    start starts started stop stops stopped quit quits left leave leaves join joins joined study studies studied teach
    teaches taught play plays played own owns owned adopt adopts adopted buy buys bought sell sells sold marry marries
    married divorce divorces divorced date dates dated visit visits visited plan plans planned learn learns learned
    speak speaks spoke run runs ran go goes went eat eats ate drink drinks smoke smokes feel feels felt become becomes
    became win wins won lose loses lost make makes made meet meets met use uses used graduate graduates graduated
    retire retires retired give gives gave take takes took see sees saw try tries tried keep keeps kept suffer suffers
    suffered recover recovers recovered break breaks broke finish finishes finished begin begins began will would can
    can't cannot could should might may won't wouldn't don't doesn't didn't isn't aren't wasn't weren't hasn't haven't
    hadn't no never not travel travels traveled travelled read reads write writes wrote cook cooks cooked sing sings
    paint paints painted grow grows grew call calls called think thinks thought believe believes hope hopes hoped"""
)
_PAST = listed(
    """went saw met got ate made took found lost began bought gave had was were ran wrote won broke told thought felt came
    became left quit spoke taught sold kept drank sang grew spent brought built drove flew knew heard held said did"""
)
_NEGATED = re.compile(
    r"^(?:(?:do|does|did|is|are|am|was|were|has|have|had|wo|would|ca|could|should)(?:n['’]t| not)|cannot|no longer|never|not)\s+",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"(?:will|would|can|could|should|might|may|do|does|did|am|is|are|was|were|has|have|had)(?: not)?", re.IGNORECASE
)
_ENDED = re.compile(
    r"^(?:used to|(?:have |has )?(?:stopped|quit|gave up|given up)(?=\s+\w+ing\b)|(?:broke up|split up)(?= with)|divorced)\s*",
    re.IGNORECASE,
)
_FORMS: list[tuple[str, str, bool]] = [
    # (what follows the subject, relation, negated); the object is what is left
    (r"(?:have |has )?(?:moved|relocated) (?:back )?(?:from .+? )?to\s+", "lives in", False),
    (
        r"(?:have |has |am |is |are )?(?:liv(?:e|es|ing)|lived(?= in .+ (?:for|since)\b)|resid(?:e|es|ing)|based)(?: here)? in\s+",
        "lives in",
        False,
    ),
    (r"(?:have |has )?(?:moved out of|moved away from|left) (?=[A-ZÀ-Þ])", "lives in", True),
    (
        r"(?:have |has )?(?:got|started|landed|accepted|found)(?: working)?(?: on)? (?:a |an |my |his |her )?(?:new )?(?:job |position |work )?as\s+",
        "works as",
        False,
    ),
    (
        r"(?:have |has )?(?:got|started|landed|accepted|found) (?:a |an |my |his |her )?(?:new )?(?:job|position|work|working) (?:at|for|with)\s+",
        "works at",
        False,
    ),
    (r"(?:have |has )?joined (?=[A-ZÀ-Þ])", "works at", False),
    (r"(?:am |is |are )?(?:work|works|working|employed) as\s+", "works as", False),
    (r"(?:am |is |are )?(?:work|works|working|employed) (?:at|for|by|with)\s+", "works at", False),
    (
        r"(?:have |has )?(?:quit|left|resigned from|lost) (?:my|his|her|their|the) (?:old )?job (?:at|with|as)\s+",
        "works at",
        True,
    ),
    (r"(?:am |is |are )?(?:study|studies|studying) at\s+", "studies at", False),
    (r"(?:am|is|are) (?:called|named)\s+|(?:my |his |her )?name is\s+", "is called", False),
    (r"(?:have |has )?(?:just )?turned (?=\d)", "is aged", False),
    (r"(?:am|is|are) (?=\d+ years old)", "is aged", False),
    (
        r"(?:have |has |am |is |are )?(?:just )?(?:got |gotten |getting )?married(?: to)?\s+(?=[A-ZÀ-Þ])",
        "is married to",
        False,
    ),
    (r"(?:am|is|are)(?: now)? (?:dating|seeing) (?=[A-ZÀ-Þ])", "is dating", False),
    (r"(?:come|comes|am|is|are) (?:originally )?from\s+", "is from", False),
    (r"(?:really |absolutely )?(?:like|likes|love|loves|enjoy|enjoys|adore|adores)\s+", "likes", False),
    (r"(?:really |absolutely )?(?:hate|hates|dislike|dislikes|can't stand|cannot stand)\s+", "likes", True),
    (
        r"(?:have |has )?(?:just )?(?:adopted|bought|got|gotten) (?=(?:a|an|my|our|two|three|some|another)\b)",
        "has",
        False,
    ),
    (
        r"(?:have|has)(?: got)?(?= (?:a|an|my|our|two|three|four|five|some|another|no|\d|\w+\b(?!ed\b)))\s+(?!been\b|to\b)(?!\w+(?:ed|en)\b)",
        "has",
        False,
    ),
    (r"(?:have |has )?(?:just )?(?:sold|gave away|given away|got rid of)\s+", "has", True),
]
_PATTERNS = [
    (re.compile("^" + pattern, re.IGNORECASE if "À" not in pattern else 0), relation, no)
    for pattern, relation, no in _FORMS
]


def statements(text: str, speaker: str | None = None) -> list[Fact]:
    """What a text states about people and things; questions and small talk give nothing.

    Example
    -------
    >>> [str(fact) for fact in statements("Guess what, I moved to Lisbon and my sister works at Bosch now!", "Ana")]
    ['Ana lives in Lisbon.', "Ana's sister works at Bosch."]
    >>> [str(fact) for fact in statements("I don't eat meat anymore.", "Ana")]
    ['Ana no longer eats meat.']
    """
    found: list[Fact] = []
    for sentence in sentences(text):
        said = _SAYS.match(sentence)
        if said is not None:
            speaker, sentence = said["who"], sentence[said.end() :]
        if sentence.rstrip("\"'”’) ").endswith("?"):
            continue
        for clause in _CLAUSES.split(sentence):
            subject = ""
            for part in _JOINED.split(clause.strip()):
                # "I quit and moved to Rome": the second verb has the first one's subject.
                who, rest = _clause(part, speaker or "the speaker") or (subject, part if subject else "")
                fact = _predicate(who, rest) if who else None
                subject = who
                if fact is not None and fact not in found:
                    found.append(fact)
    return found[:100]


def _clause(clause: str, speaker: str) -> tuple[str, str] | None:
    """Who it is about, and the rest; None where it has no subject that is understood."""
    clause = " ".join(_OPENERS.sub("", clause).replace("’", "'").split()).rstrip(".!… ")
    clause = clause[:1].upper() + clause[1:] if clause[:3].lower() in {"i ", "i'm", "i'v"} else clause
    tried = _SUBJECT.match(clause)
    while tried is not None:
        subject, rest = tried["subject"], tried["rest"] or _spelled(tried["short"])
        rest = _ADVERBS.sub("", rest)
        first = rest.split(" ", 1)[0].lower()
        if subject.split("'")[0].lower() in _NOBODY:
            return None
        if first in _VERBS or (subject in {"I", "We", "we"} and first not in STOP) or _PARTICIPLE.fullmatch(first):
            return _who(subject, speaker), rest
        # A longer subject, as in "my little sister …": take one word more.
        more = re.match(rf"^{re.escape(subject)}\s+\S+", clause)
        if more is None or subject.count(" ") >= 3 or not re.match(r"[Mm]y|.*'s", subject):
            return None
        head = more[0]
        tried = re.match(rf"^(?P<subject>{re.escape(head)})(?:\s+(?P<rest>.+)|(?P<short>'(?:s|re|m)\s+.+))$", clause)
    return None


def _spelled(short: str) -> str:
    ending, _, rest = short[1:].partition(" ")
    return f"{_SHORT[ending.lower()]} {rest}"


def _who(subject: str, speaker: str) -> str:
    low = subject.lower()
    if low in {"i", "we", "the user", "the speaker"}:
        return speaker
    return f"{speaker}'s {subject[3:]}" if low.startswith("my ") else subject


def _predicate(subject: str, rest: str) -> Fact | None:
    rest = re.sub(r"^(?:have|has) been (?=\w+ing\b)", "is ", _ADVERBS.sub("", rest))
    over = bool(re.search(r"\b(?:any ?more|any longer)\b", rest, re.IGNORECASE))
    rest = _TAIL.sub("", rest)
    negated = None if re.match(r"can(?:'t|not) stand\b", rest) else _NEGATED.match(rest)
    base = ""
    if negated is not None:
        # "isn't tired" keeps its verb, "doesn't smoke" loses its auxiliary.
        verb = re.match(
            r"(is|are|am|was|were|has|have|had)\b|(wo|would|ca|could|should|cannot)", negated[0], re.IGNORECASE
        )
        base = verb[1] + " " if verb and verb[1] else ("can " if verb else "")
        rest = base + _ADVERBS.sub("", rest[negated.end() :])
    ended = _ENDED.match(rest)
    if ended is not None:
        rest = rest[ended.end() :]
        over = True
        if ended[0].lower().startswith(("broke", "split", "divorced")):
            return _fact(subject, "is with", rest.removeprefix("with "), True)
        gerund = re.match(r"(\w+)ing\b", rest, re.IGNORECASE)
        rest = _base(gerund[1]) + rest[gerund.end() :] if gerund else rest
    for pattern, relation, no in _PATTERNS:
        match = pattern.match(rest)
        if match is not None and rest[match.end() :].strip():
            return _fact(subject, relation, rest[match.end() :], (negated is not None or over) != no)
    # "has finished the book" says what "finished the book" says.
    rest = re.sub(r"^(?:have|has) (?:just |been )?(?=\w+(?:ed|ing)\b)", "", rest)
    rest = re.sub(r"^(?:have|has|had) been\s+", "has been ", rest)
    if _MODAL.fullmatch(rest):
        return None
    match = re.match(rf"^(?P<verb>\S+)(?:\s+(?P<particle>{_PARTICLES})(?=\s))?\s+(?P<object>.+)$", rest, re.DOTALL)
    if match is None:
        alone = rest.strip().lower()
        known = alone in _VERBS or alone.endswith("ed") or ended is not None
        return _fact(subject, _third(alone), "", over or negated is not None) if known and alone.isalpha() else None
    verb_form = _third(match["verb"].lower())
    relation = " ".join(part for part in (verb_form, match["particle"]) if part)
    return _fact(subject, relation, match["object"], negated is not None or over)


def _fact(subject: str, relation: str, thing: str, negated: bool) -> Fact | None:
    thing = thing.strip(" .,!")
    if relation == "is aged":
        thing = thing.split(" ")[0]
    if relation in SINGLE:
        thing = _TIME.sub("", thing)
    if len(subject) > 100 or len(relation) > 100:
        return None
    return Fact(subject=subject, relation=relation, object=thing[:400].strip(), negated=negated)


def _third(verb: str) -> str:
    """The third person of a present tense; other forms stay."""
    fixed = {"am": "is", "are": "is", "have": "has", "were": "was", "do": "does", "go": "goes"}
    if verb in fixed:
        return fixed[verb]
    if verb in {"will", "would", "can", "could", "should", "might", "may", "is", "was", "been", "be"} or verb in _PAST:
        return verb
    if verb.endswith(("ed", "ing", "s")) and not verb.endswith("ss"):
        return verb
    if verb.endswith("y") and verb[-2:-1] not in set("aeiou"):
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("ss", "sh", "ch", "x", "z", "o")) else "s")


def _base(gerund: str) -> str:
    if len(gerund) > 2 and gerund[-1] == gerund[-2] and gerund[-1] not in "lsz":
        return gerund[:-1]
    return gerund + "e" if re.search(r"(?:[^aeiou][aiou][kvtdcsz]|us|riv|liv|mok|anc)$", gerund) else gerund
