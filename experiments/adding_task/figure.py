"""The adding problem's figure, drawn from the contents of results.json.

python -m experiments.adding_task.figure figures/adding_task/irnn      redraws it without training
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from experiments.adding_task.config import METHODS
from experiments.harness.records import figures
from jaxrnn.tasks import AddingTask


def draw(results: dict, out: Path) -> list[str]:
    """Write the figure into ``out``; return its name."""
    config, runs = results["config"], results["runs"]
    figure, axes = figures.panels(2, 2, _title(config))
    (loss, overfitting), (grad_norm, spectral_norm) = axes
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(label(run["method"], run["settings"], config), []).append(run)
    looks = figures.looks(runs)
    styles = zip(groups.items(), figures.PALETTE, itertools.cycle(figures.DASHES), strict=False)
    for (name, group), color, dashes in styles:
        for backend, look in looks.items():
            found = figures.select(group, backend=backend)
            text = f"{name} ({backend})" if len(looks) > 1 else name
            line = {"color": color, "label": text, "linestyle": dashes, **look}
            figures.draw_lines(loss, found, "history", "epoch", "val_loss", **line)
            figures.draw_lines(grad_norm, found, "history", "epoch", "grad_norm_max", **line)
            figures.draw_lines(spectral_norm, found, "history", "epoch", "spectral_norm", **line)
            _mark_restarts(loss, found, config, color)
            _draw_points(overfitting, found, color)
    baseline = AddingTask(2).baseline
    figures.draw_baseline(loss, baseline)
    if any("restarts" in run["final"] for run in runs):
        loss.plot([], [], "x", color="0.35", label="restart")
    equal = (1e-4, 2 * baseline)
    overfitting.plot(equal, equal, color="0.35", linewidth=1.0)
    loss.set(title="Validation loss", xlabel="epoch", ylabel="mean squared error", yscale="log")
    overfitting.set(
        title="Nothing overfits that stays on the line",
        xlabel="loss on training sequences",
        ylabel="validation loss",
        xscale="log",
        yscale="log",
    )
    overfitting.xaxis.set_minor_formatter(NullFormatter())
    grad_norm.set(title="Largest gradient norm, unclipped", xlabel="epoch", yscale="log")
    spectral_norm.set(title="Spectral norm of W_hh", xlabel="epoch", yscale="log")
    for panel in (loss, grad_norm, spectral_norm):
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    figures.legend_below(figure, loss)
    figures.save(figure, out / "adding_task.png")
    return ["adding_task.png"]


def label(method: str, settings: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What a run's line is called: its method, or what a sweep changes."""
    values = {**config, **settings}
    words = []
    if "seq_len" in settings:
        words.append(f"T = {settings['seq_len']}")
    if "identity_scale" in settings:
        words.append(f"{settings['identity_scale']:g} · I")
    if "optimizer" in settings:
        words.append(f"{'SGD' if values['optimizer'] == 'sgd' else 'Adam'} {values['lr']:g}")
        words.append(f"clip {values['clip_norm']:g}" if values["clip_norm"] else "no clipping")
    return ", ".join(words) or METHODS[method].label


def _title(config: Mapping[str, Any]) -> str:
    length = "" if config["sweep"] else f", T = {config['seq_len']}"
    seeds = f", {config['seeds']} seeds (mean, lowest to highest)" if config["seeds"] > 1 else ""
    return f"Adding problem{length}: {config['hidden']} units{seeds}"


def _draw_points(axes: Axes, runs: list[dict], color: str) -> None:
    """Each epoch's loss on training sequences, and on the validation set by the same weights."""
    for run in runs:
        history = run["history"]
        axes.plot(history["training_set_loss"], history["val_loss"], ".", color=color, alpha=0.6)


def _mark_restarts(axes: Axes, runs: list[dict], config: Mapping[str, Any], color: str) -> None:
    """A cross at the top for each time that a run went back."""
    steps_per_epoch = config["train_samples"] // config["batch_size"]
    epochs = [
        step / steps_per_epoch
        for run in runs
        for step in run["final"].get("restarted_at_steps", ())
    ]
    if epochs:
        axes.plot(
            epochs,
            [0.97] * len(epochs),
            "x",
            color=color,
            transform=axes.get_xaxis_transform(),
        )


if __name__ == "__main__":
    figures.redraw(draw)
