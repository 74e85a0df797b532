"""The look of the figures, and the parts that several experiments draw.

A figure is drawn from the contents of results.json alone, so it can be redrawn without training.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, LogLocator, NullFormatter

from experiments.harness.records.results import write_atomically

mpl.use("Agg")
# Okabe & Ito's palette, which colour-blind readers can tell apart, and grey.
PALETTE = (
    *("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#000000"),
    "#999999",
)
STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}
mpl.rcParams.update(STYLE)
LONG_LABEL = 24  # characters; of longer ones a figure is three wide, not four
# Two backends whose curves lie on each other: a broad pale line, and a dashed one on top of it.
LOOKS: dict[str, dict[str, Any]] = {
    "jax": {"linewidth": 5.0, "alpha": 0.4},
    "torch": {"linewidth": 1.8, "linestyle": (0, (3, 2))},
}
# Lines that lie on each other, but whose dashes leave room for those below: by their order.
DASHES: tuple[Any, ...] = ("-", (0, (7, 3)), (0, (4, 4)), (0, (1.2, 2.4)), (0, (5, 2, 1, 2)))
FEW_DECADES = 30  # a logarithmic axis that spans less has plain numbers at 1, 2 and 5


def panels(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of panels in the house style."""
    figure, axes = plt.subplots(rows, columns, figsize=(5.6 * columns, 3.8 * rows))
    figure.suptitle(title, fontweight="bold")
    return figure, np.atleast_1d(axes)


def legend_below(figure: Figure, *sources: Axes) -> None:
    """One legend for the whole figure, of the labels in ``sources``, each label once."""
    handles: dict[str, Artist] = {}
    for axes in sources:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        most = 4 if max(map(len, handles)) <= LONG_LABEL else 3
        columns = math.ceil(len(handles) / math.ceil(len(handles) / most))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG atomically, without the date or versions that would change its bytes."""
    for axes in figure.axes:
        _write_plain_numbers(axes)
    write_atomically(path, lambda name: figure.savefig(name, metadata={"Software": None}))
    plt.close(figure)


def redraw(draw: Callable[[dict, Path], object]) -> None:
    """Draw again what the folders named on the command line have in results.json."""
    for folder in map(Path, sys.argv[1:]):
        draw(json.loads((folder / "results.json").read_text()), folder)


def _write_plain_numbers(axes: Axes) -> None:
    """0.2 and 0.5 instead of 2 × 10⁻¹ and 5 × 10⁻¹, on logarithmic axes of a decade or so."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        is_stock = isinstance(axis.get_major_formatter(), LogFormatterSciNotation)
        if axis.get_scale() == "log" and is_stock and high < FEW_DECADES * low:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def draw_lines(
    axes: Axes,
    runs: Sequence[dict],
    part: str,
    x: str,
    y: str,
    color: str,
    label: str | None,
    **style: Any,
) -> None:
    """Mean of the runs' ``part[y]`` over ``part[x]``, and the spread from lowest to highest."""
    curves = [
        (np.array(run[part][x], float), np.array(run[part][y], float))
        for run in runs
        if any(value is not None for value in run[part][y])
    ]
    if not curves:
        return
    all_xs = np.unique(np.concatenate([xs for xs, _ in curves]))
    stacked = np.full((len(curves), len(all_xs)), np.nan)
    for row, (xs, ys) in zip(stacked, curves, strict=True):
        row[np.searchsorted(all_xs, xs)] = ys
    kept = ~np.isnan(stacked).all(axis=0)
    xs, stacked = all_xs[kept], stacked[:, kept]
    marker = "o" if len(xs) == 1 else None
    axes.plot(xs, np.nanmean(stacked, axis=0), color=color, label=label, marker=marker, **style)
    if len(xs) == 1:  # or the axis would run from 0.945 to 1.055
        axes.set_xlim(xs[0] - 1, xs[0] + 1)
    if len(curves) > 1:
        low, high = np.nanmin(stacked, axis=0), np.nanmax(stacked, axis=0)
        axes.fill_between(xs, low, high, color=color, alpha=0.2, linewidth=0)


def draw_baseline(axes: Axes, value: float, label: str = "memoryless baseline") -> None:
    """A horizontal dashed line."""
    axes.axhline(value, color="0.35", linestyle="--", linewidth=1.2, label=label, zorder=1)


def looks(runs: Iterable[dict]) -> dict[str, dict[str, Any]]:
    """The style of each backend's lines; where there is one, a plain line."""
    backends = list(dict.fromkeys(run["backend"] for run in runs))
    return {name: LOOKS[name] if len(backends) > 1 else {"linewidth": 2.0} for name in backends}


def by_setting(runs: Iterable[dict], name: str) -> dict[str, list[dict]]:
    """The runs of each value of one of their settings, in the order in which they come."""
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(run["settings"][name], []).append(run)
    return groups


def select(runs: Iterable[dict], **wanted: Any) -> list[dict]:
    """The runs whose fields have the wanted values."""
    return [run for run in runs if all(run[key] == value for key, value in wanted.items())]
