"""The evidence of networks whose condition is known, and the lines that diagnose draws.

python -m experiments.doctor_calibration.figure figures/doctor      redraws it without measuring
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments.harness.records import figures
from jaxrnn.diagnosis import Thresholds

# Label → its look.
LOOKS: dict[str, dict[str, Any]] = {
    "healthy": {"color": "#009E73", "marker": "o"},
    "vanishing": {"color": "#0072B2", "marker": "v"},
    "exploding": {"color": "#D55E00", "marker": "^"},
    "saturated": {"color": "#E69F00", "marker": "s"},
    "dead_units": {"color": "#000000", "marker": "X"},
    "short_memory": {"color": "#CC79A7", "marker": "D"},
    "non_finite": {"color": "#999999", "marker": "*"},
}
LEAST, MOST = 1e-20, 1e20  # what falls out of this is drawn at its edge
TITLES = {"calibration": "calibration", "held_out": "held out"}


def draw(results: dict, out: Path) -> list[str]:
    """Write the figure into ``out``; return its name."""
    sets = figures.by_setting(results["runs"], "set")
    figure, axes = figures.panels(len(sets), 2, "What diagnose sees of networks of known condition")
    grid = np.atleast_2d(axes)
    for (memory, shares), (name, runs) in zip(grid, sets.items(), strict=True):
        right = np.mean([run["final"]["right"] for run in runs])
        _draw_memory(memory, runs)
        memory.set_title(f"{TITLES[name]}: {right:.0%} of {len(runs)} right")
        _draw_shares(shares, runs)
    figures.legend_below(figure, *grid.ravel())
    figures.save(figure, out / "doctor.png")
    return ["doctor.png"]


def _draw_memory(axes: Axes, runs: list[dict]) -> None:
    limits, rng = Thresholds(), np.random.default_rng(0)
    for label, group in figures.by_setting(runs, "label").items():
        # The layer that is furthest from keeping what it is given.
        x = [_extreme(run["final"]["memory_left"]) for run in group]
        y = [_number(run["final"]["early_share"]) for run in group]
        axes.plot(
            _spread(np.clip(x, LEAST, MOST), rng),
            np.clip(y, 1e-9, 10),
            linestyle="",
            label=label.replace("_", " "),
            **LOOKS[label],
            alpha=0.7,
        )
    for limit in (limits.vanishing, limits.exploding):
        axes.axvline(limit, color="0.35", linestyle="--", linewidth=1.2)
    axes.axhline(limits.short_memory, color="0.35", linestyle="--", linewidth=1.2)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"left of a signal, T steps back (at the edge: {LEAST:g} or less)",
        ylabel="share of early inputs",
    )


def _draw_shares(axes: Axes, runs: list[dict]) -> None:
    limits = Thresholds()
    for label, group in figures.by_setting(runs, "label").items():
        x = [_largest(run["final"]["saturated"]) for run in group]
        y = [_largest(run["final"]["dead"]) for run in group]
        axes.plot(x, y, linestyle="", label=label.replace("_", " "), **LOOKS[label], alpha=0.7)
    axes.axvline(limits.saturated, color="0.35", linestyle="--", linewidth=1.2)
    axes.axhline(limits.dead_units, color="0.35", linestyle="--", linewidth=1.2)
    axes.set(xlabel="saturated share (0 without tanh)", ylabel="dead share")


def _spread(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What lies at the left edge drawn beside each other, in front of it."""
    return np.where(values <= LEAST, LEAST * 10 ** rng.uniform(-1.5, 0, len(values)), values)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _largest(values: list[float | None]) -> float:
    return max(value or 0.0 for value in values)


def _extreme(values: list[float | None]) -> float:
    """Of m_0, the one furthest from 1; NaN where there is none."""
    known = [max(value, LEAST) for value in values if value is not None]
    return max(known, key=lambda value: abs(np.log(value)), default=float("nan"))


if __name__ == "__main__":
    figures.redraw(draw)
