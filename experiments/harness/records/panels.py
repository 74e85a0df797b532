"""A figure's series, by figure, panel and name, as runs of results.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.harness.records.results import Run

Values = Sequence[Any] | np.ndarray


@dataclass(frozen=True)
class Series:
    """What one line or one bar of a panel shows.

    Attributes:
      figure: the file's name without .png.
      panel: one of its panels.
      name: what the line is called.
      x, y: the points.
      low, high: the lowest and highest of several seeds at each.
    """

    figure: str
    panel: str
    name: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None

    def as_run(self) -> Run:
        """The entry of results.json: the points are in ``final``."""
        points = {name: getattr(self, name) for name in ("x", "y", "low", "high")}
        return Run(
            self.figure,
            "jax",
            0,
            {"panel": self.panel, "series": self.name},
            final={name: list(values) for name, values in points.items() if values is not None},
        )


def panels_of(results: dict, figure: str) -> dict[str, dict[str, dict[str, list]]]:
    """The points of a figure, by panel and name; numbers that are not finite are NaN."""
    found: dict[str, dict[str, dict[str, list]]] = {}
    for run in results["runs"]:
        if run["method"] == figure and "panel" in run["settings"]:
            points = {
                name: [np.nan if value is None else value for value in values]
                for name, values in run["final"].items()
            }
            panel = found.setdefault(run["settings"]["panel"], {})
            panel[run["settings"]["series"]] = points
    return found
