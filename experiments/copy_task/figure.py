"""The copy task's figure, drawn from the contents of results.json.

python -m experiments.copy_task.figure figures/copy_task      redraws it without training
"""

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from experiments.copy_task.config import METHODS
from experiments.harness.records import figures
from jaxrnn.tasks import CopyMemoryTask, CopyTask

COLORS = dict(zip(METHODS, figures.PALETTE, strict=False))


def draw(results: dict, out: Path) -> list[str]:
    """Write the figure into ``out``; return its name."""
    config, runs = results["config"], results["runs"]
    figure, axes = figures.panels(2, 2, _title(config))
    (loss, accuracy), (grad_norm, spectral_norm) = axes
    looks = figures.looks(runs)
    for method, color in COLORS.items():
        for backend, look in looks.items():
            group = figures.select(runs, method=method, backend=backend)
            label = _label(method, config) + (f" ({backend})" if len(looks) > 1 else "")
            line = {"color": color, "label": label, **look}
            figures.draw_lines(loss, group, "history", "epoch", "val_loss", **line)
            figures.draw_lines(accuracy, group, "history", "epoch", "val_accuracy", **line)
            thin = {**line, "linewidth": 0.6 * line["linewidth"]}
            figures.draw_lines(grad_norm, group, "steps", "step", "grad_norm", **thin)
            figures.draw_lines(spectral_norm, group, "steps", "step", "spectral_norm", **thin)
    delay, seq_len = config["delay"], config["seq_len"]
    task = CopyTask(seq_len) if delay is None else CopyMemoryTask(delay)
    figures.draw_baseline(loss, task.baseline)
    figures.draw_baseline(spectral_norm, 1.0, "orthogonal W_hh: 1")
    loss.set(title="Validation loss", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    accuracy.set(title="Validation accuracy", xlabel="epoch", ylabel="share of steps right")
    grad_norm.set(title="Gradient norm, unclipped", xlabel="training step", yscale="log")
    spectral_norm.set(title="Spectral norm of W_hh", xlabel="training step")
    for axis in (loss.xaxis, accuracy.xaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    figures.legend_below(figure, loss, spectral_norm)
    figures.save(figure, out / "copy_task.png")
    return ["copy_task.png"]


def _title(config: dict) -> str:
    if config["delay"] is None:
        task = f"Copy task, {config['seq_len']} symbols"
    else:
        task = f"Copy memory, delay {config['delay']}"
    clipping = f"clipped at {config['clip_norm']:g}" if config["clip_norm"] else "no clipping"
    seeds = f", {config['seeds']} seeds (mean, lowest to highest)" if config["seeds"] > 1 else ""
    return f"{task}: {config['hidden']} units, {clipping}{seeds}"


def _label(method: str, config: dict) -> str:
    if method == "vanilla":
        return "vanilla"
    init = "Henaff" if config["recurrent_init"] == "henaff" else config["recurrent_init"]
    if method == "orthogonal_init":
        return f"{init} init"
    every = config["project_every"]
    how_often = {0: ", never", 1: ""}.get(every, f", every {every} steps")
    name = {"qr": "QR"}.get(config["retraction"], config["retraction"])
    return f"{init} init + {name} projection{how_often}"


if __name__ == "__main__":
    figures.redraw(draw)
