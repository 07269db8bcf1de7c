"""Charts as SVG text: lines over updates, and scores against bytes. Colours are names that the page defines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from remanence.arena.rows import Numbers

DASHES = ("", "6 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Line:
    """A named line; `colour` is the name of a CSS variable, `dash` an index into `DASHES`, `spread` shades around it."""

    name: str
    x: Numbers
    y: Numbers
    colour: str
    dash: int = 0
    spread: Numbers | None = None


@dataclass(frozen=True)
class Point:
    """A named point with a spread upwards and downwards; points of one `line` are joined, and the last one named."""

    name: str
    x: float
    y: float
    spread: float
    colour: str
    hollow: bool = False
    line: int | None = None


@dataclass(frozen=True)
class Frame:
    """Where in a picture the plotted area lies, and which values its edges have."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]
    percent: bool
    left: int = 46
    right: int = 12
    top: int = 10
    bottom: int = 34
    logarithmic: bool = False
    bytes: bool = False

    def across(self, value: float) -> float:
        low, high = self.x
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def up(self, value: float) -> float:
        low, high = self.y
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)


def thinned(x: Numbers, y: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """At most about `most` points of a line, keeping the lowest and highest of every stretch, so that dips stay.

    >>> x = np.arange(1000.0)
    >>> y = np.ones(1000); y[501] = 0.0
    >>> a, b = thinned(x, y, 20)
    >>> len(a) <= 22, float(b.min())
    (True, 0.0)
    """
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    if len(x) <= most:
        return x, y
    kept = {0, len(x) - 1}
    for stretch in np.array_split(np.arange(len(x)), max(1, most // 2)):
        kept |= {int(stretch[y[stretch].argmin()]), int(stretch[y[stretch].argmax()])}
    order = sorted(kept)
    return x[order], y[order]


def bounds(values: Numbers, percent: bool) -> tuple[float, float]:
    """From 0 to 1 for accuracies, else around the values that occur."""
    if percent:
        return 0.0, 1.0
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def lines(
    drawn: Sequence[Line],
    *,
    title: str,
    percent: bool,
    boundaries: Sequence[int] = (),
    width: int = 640,
    height: int = 300,
    most: int = 200,
    x_label: str = "Updates",
    logarithmic: bool = False,
) -> str:
    """A chart of lines; dashed uprights mark where one experience ends and the next begins.

    On a logarithmic axis, where lines are few and short, every point is marked and every line named at its end.
    """
    xs = np.concatenate([line.x for line in drawn]) if drawn else np.empty(0)
    ys = np.concatenate([line.y for line in drawn]) if drawn else np.empty(0)
    end = float(xs.max()) if len(xs) else 1.0
    frame = Frame(width, height, (0.0, end or 1.0), bounds(ys, percent), percent)
    if logarithmic:
        sides = (float(xs.min()) / 1.1, end * 1.1) if len(xs) else (1.0, 10.0)
        frame = replace(frame, x=sides, right=150, logarithmic=True)
    out = [_open(frame, title, "chart lines", x_label)]
    out += _axes(frame, x_label)
    for boundary in boundaries:
        x = frame.across(boundary)
        out.append(f'<line class="boundary" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top}" y2="{height - frame.bottom}"/>')
    out += [_shade(frame, line) for line in drawn if line.spread is not None and len(line.x)]
    for number, line in enumerate(drawn):
        kept_x, kept_y = thinned(line.x, line.y, most)
        if not len(kept_x):
            continue
        points = " ".join(f"{frame.across(a):.1f},{frame.up(b):.1f}" for a, b in zip(kept_x, kept_y, strict=True))
        dash = f' stroke-dasharray="{DASHES[line.dash % len(DASHES)]}"' if line.dash else ""
        out.append(
            f'<polyline data-line="{number}" data-name="{escape(line.name)}" points="{points}" '
            f'style="stroke:var(--{line.colour})"{dash}/>'
        )
    if logarithmic:
        out += _ends(frame, [line for line in drawn if len(line.x)])
    out.append('<line class="cursor" y1="0" y2="0"/></svg>')
    return "".join(out)


def points(drawn: Sequence[Point], *, title: str, percent: bool, width: int = 640, height: int = 340) -> str:
    """Scores against bytes on a logarithmic axis; names stand in a column at the right, joined by thin lines."""
    if not drawn:
        return ""
    sizes = [point.x for point in drawn]
    ys = np.array([point.y + sign * point.spread for point in drawn for sign in (-1, 1)])
    low, high = bounds(ys, False)
    y = (max(0.0, low), min(1.0, high)) if percent else (low, high)
    x_range = (min(sizes) / 1.3, max(sizes) * 1.3)
    frame = Frame(width, height, x_range, y, percent, right=150, logarithmic=True, bytes=True)
    out = [_open(frame, title, "chart points"), *_axes(frame, "Bytes held at the end (logarithmic)")]
    column = width - frame.right + 14
    lines: dict[int, list[Point]] = {}
    for point in sorted(drawn, key=lambda point: point.x):
        if point.line is not None:
            lines.setdefault(point.line, []).append(point)
    for along in lines.values():
        path = " ".join(f"{frame.across(p.x):.1f},{frame.up(p.y):.1f}" for p in along)
        out.append(f'<polyline points="{path}" style="stroke:var(--{along[0].colour})"/>')
    named = [p for p in drawn if p.line is None or lines[p.line][-1] is p]
    places = apart([frame.up(p.y) for p in named], 15, frame.top + 6, height - 6)
    levels = {id(point): at for point, at in zip(named, places, strict=True)}
    for point in drawn:
        x, level = frame.across(point.x), frame.up(point.y)
        colour = f"var(--{point.colour})"
        up, down = frame.up(min(point.y + point.spread, y[1])), frame.up(max(point.y - point.spread, y[0]))
        fill = "var(--page)" if point.hollow else colour
        out.append(
            f'<g><path style="stroke:{colour}" d="M{x:.1f} {up:.1f}V{down:.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{level:.1f}" r="5" style="fill:{fill};stroke:{colour}"/>'
        )
        if id(point) in levels:
            at = levels[id(point)]
            out.append(
                f'<path class="leader" d="M{x + 6:.1f} {level:.1f}L{column - 4} {at:.1f}"/>'
                f'<circle cx="{column + 4}" cy="{at:.1f}" r="4" style="fill:{fill};stroke:{colour}"/>'
                f'<text x="{column + 13}" y="{at + 4:.1f}">{escape(_short(point.name))}</text>'
            )
        out.append("</g>")
    out.append("</svg>")
    return "".join(out)


def _shade(frame: Frame, line: Line) -> str:
    """The spread around a line."""
    spread = np.zeros(len(line.x)) if line.spread is None else line.spread
    edge = [(x, min(y, frame.y[1])) for x, y in zip(line.x, line.y + spread, strict=True)]
    edge += [(x, max(y, frame.y[0])) for x, y in reversed(list(zip(line.x, line.y - spread, strict=True)))]
    around = " ".join(f"{frame.across(x):.1f},{frame.up(y):.1f}" for x, y in edge)
    return f'<path class="shade" d="M{around}Z" style="fill:var(--{line.colour})"/>'


def _ends(frame: Frame, drawn: Sequence[Line]) -> list[str]:
    """A mark at every point of short lines, and their names in a column at the right."""
    out = []
    column = frame.width - frame.right + 14
    places = apart([frame.up(float(line.y[-1])) for line in drawn], 15, frame.top + 6, frame.height - frame.bottom)
    for line, at in zip(drawn, places, strict=True):
        style = f'style="fill:var(--{line.colour});stroke:var(--{line.colour})"'
        marks = [(frame.across(float(x)), frame.up(float(y))) for x, y in zip(line.x, line.y, strict=True)]
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" {style}/>' for x, y in marks]
        x, y = marks[-1]
        out.append(f'<path class="leader" d="M{x + 5:.1f} {y:.1f}L{column - 4} {at:.1f}"/>')
        out.append(f'<text x="{column}" y="{at + 4:.1f}" style="fill:var(--{line.colour})">')
        out.append(f"{escape(_short(line.name))}</text>")
    return out


def _open(frame: Frame, title: str, kind: str, label: str = "") -> str:
    scale = "log" if frame.logarithmic else "linear"
    return (
        f'<svg class="{kind}" viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escape(title)}" '
        f'data-x="{frame.x[0]:g},{frame.x[1]:g},{frame.left},{frame.width - frame.right}" data-scale="{scale}" '
        f'data-y="{frame.y[0]:g},{frame.y[1]:g},{frame.height - frame.bottom},{frame.top}" '
        f'data-percent="{int(frame.percent)}" data-label="{escape(label)}"><title>{escape(title)}</title>'
    )


def _axes(frame: Frame, x_label: str) -> list[str]:
    out = []
    foot = frame.height - frame.bottom
    for value in ticks(*frame.y, 5):
        level = frame.up(value)
        text = f"{100 * value:g}" if frame.percent else f"{value:g}"
        out.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{level:.1f}" y2="{level:.1f}"/>'
        )
        out.append(f'<text class="tick" x="{frame.left - 6}" y="{level + 4:.1f}" text-anchor="end">{text}</text>')
    for value in _sizes(*frame.x) if frame.logarithmic else ticks(*frame.x, max(2, frame.width // 110)):
        text = _bytes(value) if frame.bytes else f"{value:,g}" if frame.logarithmic else f"{value:g}"
        out.append(
            f'<text class="tick" x="{frame.across(value):.1f}" y="{foot + 15}" text-anchor="middle">{text}</text>'
        )
    middle = (frame.left + frame.width - frame.right) / 2
    out.append(
        f'<text class="axis" x="{middle:.0f}" y="{frame.height - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return out


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about so many.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    rough = (high - low) / about
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _sizes(low: float, high: float) -> list[float]:
    """Numbers to write at a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        found = [factor * 10.0**decade for decade in decades for factor in factors]
        inside = [value for value in found if low <= value <= high]
        if len(inside) >= 3:
            break
    return inside[:: max(1, len(inside) // 6)]


def _bytes(value: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def apart(levels: Sequence[float], room: float, top: float, bottom: float) -> list[float]:
    """The levels moved as little as keeps neighbours `room` apart, between `top` and `bottom`."""
    order = sorted(range(len(levels)), key=lambda k: levels[k])
    placed = [0.0] * len(levels)
    room = min(room, (bottom - top) / max(1, len(levels) - 1))
    last = top - room
    for k in order:
        last = placed[k] = max(levels[k], last + room)
    last = bottom + room
    for k in reversed(order):
        last = placed[k] = min(placed[k], last - room)
    return placed


def _short(name: str, most: int = 20) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
