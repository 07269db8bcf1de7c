"""An old sentence in the light of a new one, by what both state and by the words they share."""

from __future__ import annotations

from remanence.store.language.statements import SINGLE, statements
from remanence.store.language.tasks import Fact, Operation
from remanence.store.language.words import NEGATIONS, Stems, contained, content, overlap

_OVER = Stems("recovered cured healed better gone over fine healthy well passed resolved disappeared")
_ILL = Stems(
    "sick ill hurt hurts sore pain flu cold fever headache injured broken cough surgery infection sprain covid"
)
_OPPOSED = [
    (Stems("single"), Stems("married dating engaged girlfriend boyfriend husband wife")),
    (Stems("unemployed jobless"), Stems("work works job hired employed")),
    (Stems("works employed job"), Stems("retired unemployed fired")),
    (Stems("pregnant expecting"), Stems("birth born newborn")),
]


def compare(old: str, new: str) -> Operation:
    """What to do with an old sentence in the light of a new one (see `Operation`).

    Example
    -------
    >>> compare("Ana has a cold.", "Ana has recovered from the cold.")
    'delete'
    >>> compare("Ana lives in Porto.", "Ana has a dog.")
    'append'
    """
    before, after = content(old), content(new)
    if not after or (set(before) == set(after) and _polarity(old) == _polarity(new)):
        return "pass"
    if set(before) & _ILL and set(after) & _OVER and (set(before) & set(after)):
        return "delete"
    found = [op for a in statements(old) for b in statements(new) if (op := _pair(a, b)) is not None]
    order: tuple[Operation, ...] = ("delete", "replace", "pass")
    for operation in order:
        if operation in found:
            return operation
    if any(set(before) & was and set(after) & now for was, now in _OPPOSED):
        return "replace"
    if _polarity(old) != _polarity(new):
        return "replace" if overlap(before, after) >= 0.5 else "append"
    if contained(after, before) == 1.0:
        return "pass"
    return "replace" if contained(before, after) == 1.0 and len(before) > 1 else "append"


def _polarity(text: str) -> bool:
    low = text.lower().replace("’", "'")
    return not (set(low.split()) & NEGATIONS or "n't" in low or "anymore" in low or "no longer" in low)


def _pair(a: Fact, b: Fact) -> Operation | None:
    if a.subject.lower() != b.subject.lower():
        return None
    before, after = content(a.object), content(b.object)
    if a.relation == b.relation:
        same = (
            contained(after, before) >= 0.6 or contained(before, after) >= 0.6 or a.object.lower() == b.object.lower()
        )
        if same and a.negated != b.negated:
            return "delete" if b.negated else "replace"
        if same:
            return "pass" if contained(after, before) == 1.0 or a.object.lower() == b.object.lower() else "replace"
        about_one = a.relation in SINGLE or (a.relation == "is" and "'s " in a.subject)
        if about_one and not a.negated and not b.negated:
            return "replace"
    return None
