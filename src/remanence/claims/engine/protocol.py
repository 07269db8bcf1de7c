"""How a claim was measured, in words: what nobody should have to ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remanence.arena.tuning import Found
from remanence.footprint import format_bytes


def searched(found: Mapping[str, Found], sides: Sequence[str], where: str) -> str:
    """What was searched on either side, what still lies at an end, and how ties were settled.

    Parameters
    ----------
    found:
        By label.
    sides:
        System and baseline.
    where:
        On what the points were judged, in words.
    """
    tried = {label: max(1, len(found[label].table)) for label in sides}
    if max(tried.values()) == 1:
        return "none: both run with the settings of the claim and of their cards"
    first = found[sides[0]]
    told = [_count(found, sides, tried) + f", by the mean {first.by} over seeds {listed(first.seeds)}, {where}"]
    for label in sides:
        here = found[label]
        if here.distinct < tried[label]:
            told.append(f"only {here.distinct} of the {tried[label]} points of {label} differ")
        told += [f"{name} of {label}: {text}" for name, text in here.ends.items()]
        if here.tie:
            told.append(f"{label}: {here.tie}")
    return "; ".join(told)


def _count(found: Mapping[str, Found], sides: Sequence[str], tried: Mapping[str, int]) -> str:
    system, baseline = sides
    if tried[system] == tried[baseline]:
        text = f"{tried[system]} points each"
    else:
        text = f"{tried[system]} points for {system} and {tried[baseline]} for {baseline}"
    given = {label: found[label].given for label in sides}
    extended = [f"{given[label]} of {label}" for label in sides if tried[label] > given[label]]
    return text + (f" (of grids of {' and '.join(extended)} points, extended)" if extended else "")


def spent(
    held: Mapping[str, Mapping[str, int]], updates: Mapping[str, Mapping[str, int]], labels: Sequence[str]
) -> str:
    """Bytes and updates of each label."""
    told = []
    for label in labels:
        counts = updates[label]
        if "forwards" in counts:
            rows = f", {counts['updates']:,} updates, {counts['forwards']:,} rows forward, {counts['backwards']:,} backward"
        else:
            rows = "".join(f", {count:,} {name}" for name, count in counts.items())
        told.append(f"{label} {format_bytes(held[label]['total'])}{rows}")
    return "; ".join(told)


def listed(numbers: Sequence[int]) -> str:
    """Numbers as a person lists them.

    >>> listed([0, 1, 2, 3]), listed([1000, 1001])
    ('0 to 3', '1000 and 1001')
    """
    whole = list(numbers)
    if len(whole) > 2 and whole == list(range(whole[0], whole[-1] + 1)):
        return f"{whole[0]} to {whole[-1]}"
    return " and ".join(map(str, whole))
