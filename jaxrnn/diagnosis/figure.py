"""The evidence of a report in four panels. Matplotlib is needed for this alone."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxrnn.diagnosis.measure_network import Evidence
from jaxrnn.diagnosis.thresholds import Thresholds

# Okabe & Ito's palette, which colour-blind readers can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
LIMIT: Any = {"color": "0.35", "linestyle": "--", "linewidth": 1.2}


def draw(
    evidence: Evidence, thresholds: Thresholds, conditions: tuple[str, ...], path: Path
) -> None:
    """Memory and gradient against time, singular values, and the shares that are compared."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 7), layout="constrained")
        (memory, gradient), (values, shares) = figure.subplots(2, 2)
        figure.suptitle(", ".join(conditions), fontweight="bold")
        for i, (name, layer) in enumerate(evidence.layers.items()):
            color = PALETTE[i % len(PALETTE)]
            for axes, profile in ((memory, layer.memory), (gradient, layer.gradient)):
                back = np.arange(len(profile))[::-1]
                axes.plot(back, _positive(profile), color=color, label=name)
            for kernel, W in layer.kernels.items():
                order = np.arange(1, len(W.singular_values) + 1)
                label = f"{kernel.removesuffix('/kernel')}, radius {W.spectral_radius:.2f}"
                values.plot(order, W.singular_values, color=color, marker=".", label=label)
        for limit in (thresholds.vanishing, thresholds.exploding):
            memory.axhline(limit, **LIMIT)
        values.axhline(1.0, **LIMIT)
        _label(memory, "What is left of a signal at h_T", "steps back from T", "m, of 1 at T")
        _label(gradient, "Gradient of the loss", "steps back from T", "‖∂L/∂h‖")
        _label(values, "Recurrent kernels", "number", "singular value")
        for axes in (memory, gradient):
            axes.set_yscale("log")
        _draw_shares(shares, evidence, thresholds)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def _positive(profile: tuple[float, ...]) -> np.ndarray:
    """What a logarithmic axis can show."""
    values = np.asarray(profile)
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.legend(fontsize=9)


def _draw_shares(axes: Axes, evidence: Evidence, thresholds: Thresholds) -> None:
    """Bars of every layer's shares, each with its limit."""
    rows = [
        (f"{kind}, {name}", share, limit)
        for name, layer in evidence.layers.items()
        for kind, share, limit in (
            ("saturated", layer.saturated, thresholds.saturated),
            ("dead", layer.dead, thresholds.dead_units),
        )
    ]
    rows.append(("early inputs", evidence.early_share, thresholds.short_memory))
    for y, (_, share, limit) in enumerate(rows):
        axes.barh(y, np.nan_to_num(share), color=PALETTE[y % 2], height=0.6)
        axes.plot([limit, limit], [y - 0.4, y + 0.4], **LIMIT)
        text = "not measured" if np.isnan(share) else f"{share:.2g}"
        axes.text(max(0.02, min(1.0, np.nan_to_num(share)) + 0.02), y, text, va="center")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set(title="Shares, and where they are too many (too few: early)", xlim=(0, 1.15))
