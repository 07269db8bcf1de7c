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

from remanence.arena.drawing import bounds
from remanence.arena.rows import Row, Units
from remanence.footprint import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#008a63", "#b8578f", "#a87400", "#2f9bd0", "#6a3d9a", "#6b7280")
STYLES = ("-", "--", ":", "-.")
SOFT = "#59626d"


def all_figures(rows: Sequence[Row], units: Units, *, prequential: bool) -> dict[str, Figure]:
    """Every figure that there is data for, by name."""
    found = {"learning": learning(rows, units, prequential=prequential), "bytes": against_bytes(rows, units)}
    found["matrices"] = matrices(rows, units)
    if not prequential:
        found["experiences"] = experiences(rows, units)
    return {name: figure for name, figure in found.items() if figure is not None}


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, facecolor="white")
    return buffer.getvalue()


def learning(rows: Sequence[Row], units: Units, *, prequential: bool) -> Figure | None:
    """Mean score on the test sets taught so far over updates, one line per learner."""
    shown = [(k, row) for k, row in enumerate(rows) if len(row.taught[0])]
    if not shown:
        return None
    figure, (axes,) = _grid(1, 8.6, 4.4, columns=1)
    for k, row in shown:
        axes.plot(*row.taught, color=_colour(k), linestyle=_style(k), linewidth=1.6, label=row.learner)
    _boundaries(axes, shown[0][1])
    _score_axis(axes, units)
    axes.set_xlabel("Updates")
    what = "Running score" if prequential else "Mean score on the test sets taught so far"
    axes.set_title(what, loc="left", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def against_bytes(rows: Sequence[Row], units: Units) -> Figure | None:
    """Final score against bytes held at the end."""
    shown = [(k, r) for k, r in enumerate(rows) if r.total_bytes.mean and r.accuracy.mean is not None]
    if not shown:
        return None
    figure, (axes,) = _grid(1, 8.6, 4.4, columns=1)
    for k, row in shown:
        fill = "white" if row.reference else _colour(k)
        axes.errorbar(
            [row.total_bytes.mean or 0.0],
            [row.accuracy.mean or 0.0],
            yerr=[row.accuracy.deviation or 0.0],
            color=_colour(k),
            marker="osD^vPX*"[k // len(COLOURS) % 8],
            markerfacecolor=fill,
            linestyle="none",
            capsize=2,
            label=row.learner + (" (reference)" if row.reference else ""),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_bytes(round(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.2, high * 1.2)
    _score_axis(axes, units, whole=False)
    axes.set_xlabel("Bytes held at the end")
    axes.set_title("Final score against bytes", loc="left", fontsize=11)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def matrices(rows: Sequence[Row], units: Units) -> Figure | None:
    """The score on each test set after each experience, a heat map per learner."""
    shown = [row for row in rows if row.matrix.size and not np.isnan(row.matrix).all()]
    if not shown:
        return None
    low, high = bounds(np.concatenate([row.matrix.ravel() for row in shown]), units.percent)
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
                    text = units.score(float(value), 0) if units.percent else f"{value:.2g}"
                    ink = "#111111" if share > 0.6 else "white"
                    axes.text(j, k, text, ha="center", va="center", fontsize=7, color=ink)
    figure.supxlabel("Test set", fontsize=9, color=SOFT)
    figure.supylabel("After experience", fontsize=9, color=SOFT)
    bar = figure.colorbar(image, ax=panels[: len(shown)], shrink=0.7, label=units.label)
    bar.outline.set_visible(False)
    if units.percent:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    return figure


def experiences(rows: Sequence[Row], units: Units) -> Figure | None:
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
        _boundaries(axes, row)
        _score_axis(axes, units)
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


def _score_axis(axes: Axes, units: Units, whole: bool = True) -> None:
    axes.grid(axis="y", color="#dfe3e8", linewidth=0.7)
    axes.set_axisbelow(True)
    if units.percent:
        if whole:
            axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    axes.set_ylabel(units.label, fontsize=9, color=SOFT)


def _boundaries(axes: Axes, row: Row) -> None:
    if len(row.boundaries) <= 30:
        for boundary in row.boundaries:
            axes.axvline(boundary, color=SOFT, linewidth=0.7, linestyle=":", alpha=0.7)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _style(number: int) -> str:
    return STYLES[number // len(COLOURS) % len(STYLES)]
