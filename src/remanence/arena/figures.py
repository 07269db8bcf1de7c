"""The report's pictures as matplotlib figures, for PNG files, papers and notebooks."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from remanence.arena import distance
from remanence.arena.rows import AxisUnit, Row
from remanence.arena.styles import budget_lines, styles
from remanence.arena.svg import apart, bounds
from remanence.footprint import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#008a63", "#b8578f", "#a87400", "#2f9bd0", "#6a3d9a", "#6b7280")
STYLES = ("-", "--", ":", "-.")
SOFT = "#59626d"


def all_figures(rows: Sequence[Row], unit: AxisUnit, *, prequential: bool) -> dict[str, Figure]:
    """Every figure that there is data for, by name."""
    found = {"learning": learning(rows, unit, prequential=prequential), "bytes": against_bytes(rows, unit)}
    found["distance"] = against_distance(rows, unit)
    found["matrices"] = matrices(rows, unit)
    if not prequential:
        found["experiences"] = experiences(rows, unit)
    return {name: figure for name, figure in found.items() if figure is not None}


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, facecolor="white")
    return buffer.getvalue()


def learning(rows: Sequence[Row], unit: AxisUnit, *, prequential: bool) -> Figure | None:
    """Mean score on the test sets taught so far over the stream, one line per learner."""
    shown = [(style, row) for style, row in zip(styles(rows), rows, strict=True) if len(row.seen_so_far[0])]
    if not shown:
        return None
    figure, (axes,) = _grid(1, 8.6, 4.4, columns=1)
    for style, row in shown:
        kind = STYLES[style.line % len(STYLES)]
        axes.plot(*row.seen_so_far, color=COLOURS[style.colour], linestyle=kind, linewidth=1.6, label=row.learner)
    _uprights(axes, range(1, max(len(row.ends) for _, row in shown)))
    _score_axis(axes, unit)
    axes.set_xlabel("Experiences passed")
    what = (
        "Score of what came since the last probe, tested before it was learned"
        if prequential
        else "Mean score on the test sets taught so far"
    )
    axes.set_title(what, loc="left", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def against_bytes(rows: Sequence[Row], unit: AxisUnit) -> Figure | None:
    """Final score against bytes held at the end; the budgets of one learner are joined."""
    shown = [k for k, r in enumerate(rows) if r.total_bytes.mean and r.accuracy.mean is not None]
    if not shown:
        return None
    figure, (axes,) = _grid(1, 8.6, 4.4, columns=1)
    styled, lines = styles(rows), budget_lines(rows)
    for places in lines:
        xs, ys = [rows[k].total_bytes.mean or 0.0 for k in places], [rows[k].accuracy.mean or 0.0 for k in places]
        axes.plot(xs, ys, color=COLOURS[styled[places[0]].colour], linewidth=1.4)
    inner, last = {k for places in lines for k in places[:-1]}, {places[-1] for places in lines}
    names: list[tuple[str, float, float, str]] = []
    for k in shown:
        row, colour = rows[k], COLOURS[styled[k].colour]
        x, y = row.total_bytes.mean or 0.0, row.accuracy.mean or 0.0
        axes.errorbar(
            [x],
            [y],
            yerr=[row.accuracy.deviation or 0.0],
            color=colour,
            marker="osD^vPX*"[styled[k].turn % 8],
            markerfacecolor="white" if row.reference else colour,
            linestyle="none",
            capsize=2,
        )
        if k not in inner:
            name = row.family if k in last else row.learner
            names.append((name + (" (reference)" if row.reference else ""), x, y, colour))
    axes.set_xscale("log")
    least, most = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if most < 500 * least else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_bytes(round(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.2, high * 1.2)
    _score_axis(axes, unit, whole=False)
    axes.set_xlabel("Bytes held at the end")
    axes.set_title(f"Final {unit.word.lower()} against bytes", loc="left", fontsize=11)
    _named(axes, names)
    return figure


def against_distance(rows: Sequence[Row], unit: AxisUnit) -> Figure | None:
    """Recall by the tokens between a fact and its question: a line per learner, a panel per budget."""
    drawn = distance.charts(rows)
    if not drawn:
        return None
    alone = len(drawn) == 1
    figure, panels = _grid(len(drawn), 8.6 if alone else 5.0, 4.4 if alone else 3.4, columns=3)
    styled = styles(rows)
    for axes, (name, curves) in zip(panels, drawn, strict=True):
        for c in curves:
            colour, style = COLOURS[styled[c.row].colour], STYLES[styled[c.row].turn % len(STYLES)]
            low, high = np.clip(c.mean - c.deviation, 0, 1), np.clip(c.mean + c.deviation, 0, 1)
            axes.fill_between(c.distance, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(c.distance, c.mean, color=colour, linestyle=style, linewidth=1.6, marker="o", markersize=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        _score_axis(axes, unit)
        axes.set_title(f"Within {name}" if name else "Recall against distance", loc="left", fontsize=11)
        ends = [(c, float(c.distance[-1]), float(c.mean[-1])) for c in curves if len(c.distance)]
        _named(axes, [(c.name, x, y, COLOURS[styled[c.row].colour]) for c, x, y in ends], 0.055 if alone else 0.07)
    figure.supxlabel("Tokens between a fact and its question", fontsize=9, color=SOFT)
    if not alone:
        figure.suptitle("Recall against distance", x=0.01, ha="left", fontsize=11)
    return figure


def _named(axes: Axes, names: Sequence[tuple[str, float, float, str]], room: float = 0.055) -> None:
    """Names of lines or points in a column at the right, near their height and joined to them, `room` apart."""
    low, high = axes.get_ylim()
    depths = [1 - (y - low) / ((high - low) or 1) for _, _, y, _ in names]
    for (name, x, y, colour), depth in zip(names, apart(depths, room, 0.0, 1.0), strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.02, 1 - depth),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#c5cbd3", "linewidth": 0.7, "shrinkA": 2, "shrinkB": 5},
        )


def matrices(rows: Sequence[Row], unit: AxisUnit) -> Figure | None:
    """The score on each test set after each experience, a heat map per learner."""
    shown = [row for row in rows if row.matrix.size and not np.isnan(row.matrix).all()]
    if not shown:
        return None
    low, high = bounds(np.concatenate([row.matrix.ravel() for row in shown]), unit.percent)
    figure, panels = _grid(len(shown), 2.6, 2.6)
    image: Any = None
    for axes, row in zip(panels, shown, strict=False):
        matrix = row.matrix
        image = axes.imshow(matrix, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        axes.set_title(row.learner, loc="left", fontsize=10)
        axes.tick_params(labelsize=8, length=0)
        for axis, count in ((axes.xaxis, matrix.shape[1]), (axes.yaxis, matrix.shape[0])):
            places = range(0, count, max(1, count // 8))
            axis.set_ticks(list(places), [str(place + 1) for place in places])
        axes.spines[:].set_visible(False)
        if max(matrix.shape) <= 10:
            for (k, j), value in np.ndenumerate(matrix):
                share = (value - low) / ((high - low) or 1)
                if not np.isnan(value):
                    text = unit.score(float(value), 0) if unit.percent else f"{value:.2g}"
                    ink = "#111111" if share > 0.6 else "white"
                    axes.text(j, k, text, ha="center", va="center", fontsize=7, color=ink)
    figure.supxlabel("Test set", fontsize=9, color=SOFT)
    figure.supylabel("After experience", fontsize=9, color=SOFT)
    bar = figure.colorbar(image, ax=panels[: len(shown)], shrink=0.7, label=unit.label)
    bar.outline.set_visible(False)
    if unit.percent:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    return figure


def experiences(rows: Sequence[Row], unit: AxisUnit) -> Figure | None:
    """The score on each test set over updates, a panel per learner: where the dips show."""
    shown = [row for row in rows if row.curves[1].size]
    if not shown:
        return None
    figure, panels = _grid(len(shown), 3.6, 2.4)
    count = max(row.curves[1].shape[1] for row in shown)
    ramp = [colormaps["viridis"](step) for step in np.linspace(0.0, 0.86, count)]
    tests = next((result.tests for row in shown for result in row.finished if result.tests), [])
    for axes, row in zip(panels, shown, strict=False):
        updates, scores = row.curves
        for j in range(scores.shape[1]):
            axes.plot(
                updates, scores[:, j], color=ramp[j], linewidth=1.1, label=tests[j] if j < len(tests) else str(j + 1)
            )
        _uprights(axes, row.boundaries)
        _score_axis(axes, unit)
        axes.set_title(row.learner, loc="left", fontsize=10)
    figure.supxlabel("Updates", fontsize=9, color=SOFT)
    if count <= 20:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8, title="Test set")
    return figure


def _grid(count: int, wide: float, high: float, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels; made without pyplot, so nothing is left open and no screen is needed."""
    across = min(columns, count)
    down = math.ceil(count / across)
    figure = Figure(figsize=(wide * across + 1.2, high * down + 0.5), layout="constrained")
    panels = [figure.add_subplot(down, across, place + 1) for place in range(count)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color("#c5cbd3")
        axes.tick_params(colors=SOFT, labelsize=8)
    return figure, panels


def _score_axis(axes: Axes, unit: AxisUnit, whole: bool = True) -> None:
    axes.grid(axis="y", color="#dfe3e8", linewidth=0.7)
    axes.set_axisbelow(True)
    if unit.percent:
        if whole:
            axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.set_ylabel(unit.label, fontsize=9, color=SOFT)


def _uprights(axes: Axes, boundaries: Sequence[int]) -> None:
    """Where one experience ends and the next begins."""
    if len(boundaries) <= 30:
        for boundary in boundaries:
            axes.axvline(boundary, color=SOFT, linewidth=0.7, linestyle=":", alpha=0.7)
