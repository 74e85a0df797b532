"""The figure: the largest gradient norm of each run, by setting; from results.json alone.

python -m experiments.gradient_spikes.figure figures/gradient_spikes      redraws it
"""

from pathlib import Path

from experiments.copy_task.config import METHODS
from experiments.gradient_spikes.config import SETTINGS
from experiments.harness.records import figures


def draw(results: dict, out: Path) -> list[str]:
    """One row a setting, one dot a run: the largest gradient norm of each."""
    seeds, steps = results["config"]["seeds"], results["config"]["steps"]
    figure, axes = figures.panels(1, 2, f"Where gradients spike: {steps} steps, {seeds} seeds")
    rows = {name: row for row, name in enumerate(reversed(SETTINGS))}
    quantities = {
        "grad_norm_max": "Largest gradient norm, unclipped",
        "spectral_norm_max": "Largest spectral norm of W_hh",
    }
    for panel, (quantity, title) in zip(axes, quantities.items(), strict=True):
        for offset, (method, color) in enumerate(zip(METHODS, figures.PALETTE, strict=False)):
            group = figures.select(results["runs"], method=method)
            points = [
                (run["final"][quantity], rows[run["settings"]["setting"]] + 0.25 * (1 - offset))
                for run in group
                if run["final"].get(quantity)
            ]
            if points:
                panel.scatter(*zip(*points, strict=True), color=color, label=METHODS[method], s=28)
        panel.set(title=title, xscale="log", yticks=list(rows.values()))
        panel.set_yticklabels(rows if panel is axes[0] else [])
    figures.legend_below(figure, axes[0])
    figures.save(figure, out / "gradient_spikes.png")
    return ["gradient_spikes.png"]


if __name__ == "__main__":
    figures.redraw(draw)
