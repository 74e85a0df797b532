"""The figure of the retractions, drawn from the contents of results.json.

python -m experiments.retractions.figure figures/retractions      redraws it without training
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiments.harness.records import figures
from jaxrnn.tasks import CopyTask

LABELS = {
    "qr": "QR",
    "householder": "Householder",
    "polar": "polar",
    "newton_schulz": "Newton–Schulz",
    "qr_unsigned": "unsigned QR",
    "gram_schmidt": "classical Gram–Schmidt",
    "modified_gram_schmidt": "modified Gram–Schmidt",
    "cholesky": "Cholesky",
}


def label(method: str) -> str:
    """A retraction in words, and how often it projects."""
    name, *every = method.split(", ")
    return ", ".join([LABELS.get(name, name.replace("_", " ")), *every])


def draw(results: dict, out: Path) -> list[str]:
    """Write the figure into ``out``; return its name."""
    seeds = results["config"]["seeds"]
    figure, axes = figures.panels(
        2, 2, f"Retractions: accuracy, nearness, training ({seeds} seeds)"
    )
    parts = figures.by_setting(results["runs"], "part")
    # An interrupted run lacks the later parts.
    _draw_accuracy(axes[0, 0], parts.get("accuracy", []))
    _draw_single_steps(axes[0, 1], parts.get("single steps", []))
    _draw_training(axes[1, 0], axes[1, 1], parts.get("training", []))
    for panel in (axes[0, 0], axes[0, 1], axes[1, 0]):
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, labelspacing=0.25)
    figures.save(figure, out / "retractions.png")
    return ["retractions.png"]


def _draw_accuracy(axes: Axes, runs: list[dict]) -> None:
    # Several lie on each other, so each has its own marker and width.
    for index, (run, color) in enumerate(zip(runs, figures.PALETTE, strict=False)):
        history = run["history"]
        errors = np.array(history["orthogonality_error"], float)
        style: Any = {"marker": "osv^DxP*"[index % 8], "markersize": 9 - index, "linewidth": 1.5}
        axes.plot(history["condition"], errors, color=color, label=label(run["method"]), **style)
    axes.set(
        title="Orthogonality error, float32",
        xlabel="condition number of W",
        xscale="log",
        yscale="log",
    )


def _draw_single_steps(axes: Axes, runs: list[dict]) -> None:
    lines = {
        "qr_unsigned_distance": "‖unsigned QR − W‖",
        "qr_distance": "‖QR − W‖",
        "polar_distance": "‖polar − W‖ (nearest)",
        "qr_to_polar": "‖QR − polar‖",
    }
    for run in runs:
        steps = run["steps"]
        for (name, text), color in zip(lines.items(), figures.PALETTE, strict=False):
            axes.plot(steps["step"], steps[name], color=color, label=text, linewidth=1.5)
    axes.set(title="One step of the copy task", xlabel="training step", yscale="log")
    axes.set_ylabel("Frobenius norm")


def _draw_training(loss: Axes, spectral_norm: Axes, runs: list[dict]) -> None:
    variants = dict.fromkeys(run["method"] for run in runs)
    for variant, color in zip(variants, figures.PALETTE, strict=False):
        group = figures.select(runs, method=variant)
        line: Any = {"color": color, "label": label(variant)}
        figures.draw_lines(loss, group, "history", "epoch", "val_loss", **line)
        thin = {**line, "linewidth": 1.2}
        figures.draw_lines(spectral_norm, group, "steps", "step", "spectral_norm", **thin)
    figures.draw_baseline(loss, CopyTask().baseline)
    loss.set(title="Copy task, validation loss", xlabel="epoch", yscale="log")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    spectral_norm.set(title="Copy task, spectral norm of W_hh", xlabel="training step")


if __name__ == "__main__":
    figures.redraw(draw)
