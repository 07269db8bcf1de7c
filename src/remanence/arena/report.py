"""What a run showed: a table, pictures, and a page that a person can send around."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remanence.arena import metrics
from remanence.arena.folder import check_format
from remanence.arena.result import Result
from remanence.arena.rows import AxisUnit, Row, prequential, rows_of
from remanence.errors import StateError
from remanence.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Report:
    """The results of one or several learners on one stream.

    Parameters
    ----------
    results:
        One per learner and seed.
    configuration:
        What was run, resolved, as it is shown in the report.
    versions:
        Versions of the packages that ran it, by name; see `environment`.
    title:
        Heading of the page.

    Example
    -------
    >>> found = Result("er", 0, accuracy=0.9, matrix=[[0.9]], tests=["all"])
    >>> Report([found]).frame().loc["er", "accuracy"]
    np.float64(0.9)
    """

    def __init__(
        self,
        results: Sequence[Result],
        configuration: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        title: str = "",
    ) -> None:
        self.results = list(results)
        self.configuration = dict(configuration or {})
        self.versions = dict(versions or {})
        stream = self.configuration.get("stream")
        self.title = title or (f"Lifelong learning on {stream}" if isinstance(stream, str) else "Lifelong learning")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Report:
        """Read a run folder: ``results.json``, and ``config.toml`` and ``environment.json`` where they lie beside it.

        Raises
        ------
        StateError
            If the results are missing, cannot be read, or were written by a newer version of this library.
        """
        folder = Path(folder)
        check_format(folder)
        try:
            listed = json.loads((folder / "results.json").read_text("utf-8"))
            results = [Result.from_dict(item) for item in listed]
            config, versioned = folder / "config.toml", folder / "environment.json"
            configuration = tomllib.loads(config.read_text("utf-8")) if config.exists() else {}
            recorded = json.loads(versioned.read_text("utf-8")) if versioned.exists() else {}
        except FileNotFoundError:
            raise StateError(f"{folder} has no results.json: name the folder of a run") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(f"the results in {folder} cannot be read ({error}): run it again") from None
        return cls(results, configuration, recorded)

    @cached_property
    def rows(self) -> list[Row]:
        """One row per learner: best first, references last."""
        return rows_of(self.results)

    @property
    def unit(self) -> AxisUnit:
        return AxisUnit(self.results[0].metric if self.results else "accuracy")

    @property
    def prequential(self) -> bool:
        return prequential(self.results)

    def frame(self) -> pd.DataFrame:
        """One line per learner: means over seeds, and their standard deviations in columns ending in ``_std``.

        Best first; `reference` marks rows outside any budget, which come last. `diverged` counts seeds
        whose loss became NaN; they are left out of the means.
        """
        import pandas as pd

        lines = []
        for row in self.rows:
            line: dict[str, Any] = {"learner": row.learner, "seeds": len(row.results), "diverged": row.diverged}
            line["reference"] = row.reference
            intervals = {**row.metrics, "bytes": row.total_bytes}
            intervals |= {f"seconds_{which}": row.seconds(which) for which in ("learning", "evaluation")}
            for name, interval in intervals.items():
                line[name], line[f"{name}_std"] = interval.mean, interval.deviation
            lines.append({**line, **{f"bytes_{kind}": size for kind, size in row.bytes.items()}})
        frame = pd.DataFrame(lines, columns=None if lines else ["learner"]).set_index("learner")
        numbers = [name for name in frame.columns if name not in ("seeds", "diverged", "reference")]
        return frame.astype(dict.fromkeys(numbers, float)).dropna(axis="columns", how="all")

    def areas(self) -> dict[str, dict[str, float]]:
        """Areas under score against bytes of each learner that ran under several budgets (``notes["budget"]``)."""
        sized = [r for r in self.results if r.status == "finished" and r.notes.get("budget") and r.bytes.get("total")]
        found: dict[str, dict[str, float]] = {}
        for name in dict.fromkeys(result.learner.partition("@")[0] for result in sized):
            mine = [result for result in sized if result.learner.partition("@")[0] == name]
            average = [(result, result.metrics.get("average_incremental_accuracy")) for result in mine]
            for key, scores in (("a", average), ("l", [(result, result.accuracy) for result in mine])):
                area = metrics.area_over_bytes(
                    (float(result.notes["budget"]), score) for result, score in scores if score is not None
                )
                if area is not None:
                    found.setdefault(name, {}).update({f"auc_{key}": area[0], f"mean_{key}": area[1]})
        return found

    def plot(self) -> dict[str, Figure]:
        """Matplotlib figures by name: ``learning``, ``bytes``, ``matrices``, ``experiences``; what has no data is absent."""
        from remanence.arena import figures

        return figures.all_figures(self.rows, self.unit, prequential=self.prequential)

    def html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to one file, whole or not at all."""
        path = Path(path)
        write_atomically(path, self._page().encode("utf-8"))
        return path

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write ``report.html`` and the figures as PNG to a folder; return the page's path."""
        folder = Path(folder)
        from remanence.arena import figures

        for name, figure in self.plot().items():
            write_atomically(folder / f"{name}.png", figures.png(figure))
        return self.html(folder / "report.html")

    def _page(self) -> str:
        from remanence.arena import page

        return page.render(
            self.title,
            self.rows,
            self.unit,
            prequential=self.prequential,
            configuration=_toml(self.configuration),
            versions=self.versions,
            areas=self.areas(),
        )

    def _repr_html_(self) -> str:
        """In a notebook: the page in a frame of its own, so that neither's styles touch the other."""
        return f'<iframe srcdoc="{escape(self._page())}" title="{escape(self.title)}" style="width:100%;height:760px;border:0"></iframe>'

    def __repr__(self) -> str:
        return f"{self.title}\n{self.frame().to_string()}" if self.results else f"{self.title}: no results"


def _toml(configuration: Mapping[str, Any]) -> str:
    """The configuration as it would stand in a file; values that TOML lacks are left out or written as text."""
    import tomli_w

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(inner) for key, inner in value.items() if inner is not None}
        if isinstance(value, (list, tuple)):
            return [plain(inner) for inner in value if inner is not None]
        return value if isinstance(value, (bool, int, float, str)) else str(value)

    return tomli_w.dumps(plain(configuration)) if configuration else ""
