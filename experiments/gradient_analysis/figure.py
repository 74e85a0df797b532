"""The five figures of the gradient analysis, drawn from the contents of results.json.

python -m experiments.gradient_analysis.figure figures/gradient_analysis      redraws them
"""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from experiments.char_lm.figure import draw_frequencies
from experiments.harness.records import figures
from experiments.harness.records.panels import panels_of

Panel = dict[str, dict[str, list]]
DASHED = {"unigram baseline": "--", "bigram baseline": ":"}
# Rates of decay: their name in results.json → their mark, and what they come from.
RATES = {
    "fitted": ("o", "fitted to the gradients"),
    "ln(ρ · mean φ')": ("d", "ln(ρ · mean φ'), spectral radius"),
    "ln(σ_max · mean φ')": ("x", "ln(σ_max · mean φ'), largest singular value"),
}
# A rate that SGD stands with clipping alone: at half of it gradient norms stay below two, and at
# twice it a clipping norm of one is too large.
SGD_LR = 2.0
SHOWN_BITS = 3.0  # above the least loss: what exploded is beyond the frame


def draw(results: dict, out: Path) -> list[str]:
    """Write the figures of what was measured into ``out``; return their names."""
    names = []
    for name, draw_panels in FIGURES.items():
        panels = panels_of(results, name)
        if panels:
            figure, axes = figures.panels(2, 2, TITLES[name].format(**results["config"]))
            draw_panels(axes, panels)
            figures.legend_below(figure, *axes.flat)
            figures.save(figure, out / f"{name}.png")
            names.append(f"{name}.png")
    return names


def lines(
    axes: Axes, panel: Panel, labelled: bool = True, dashed: bool = False, **labels: Any
) -> None:
    """One line a series, with the spread over seeds; ``dashed`` where some lie on others."""
    colors, dashes = cycle(figures.PALETTE), cycle(figures.DASHES if dashed else "-")
    for name, points in panel.items():
        if name in DASHED:
            axes.plot(points["x"], points["y"], DASHED[name], color="0.35", label=name)
            continue
        color = next(colors)
        line = {"color": color, "linestyle": next(dashes), "label": name if labelled else None}
        axes.plot(points["x"], points["y"], **line)
        if "low" in points:
            low, high = points["low"], points["high"]
            axes.fill_between(points["x"], low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(**labels)
    if labels.get("xlabel") == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def bars(axes: Axes, panel: Panel, **labels: Any) -> None:
    """One horizontal bar a series, from the top, with the range over seeds."""
    colors = cycle(figures.PALETTE)
    for row, points in enumerate(panel.values()):
        value = points["y"][0]
        axes.barh(row, value, color=next(colors))
        if np.isfinite(value):
            axes.plot([points["low"][0], points["high"][0]], [row, row], color="0.2", linewidth=1.5)
    axes.set(yticks=range(len(panel)), yticklabels=list(panel), **labels)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")


def draw_training(axes: np.ndarray, panels: dict[str, Panel]) -> None:
    """Loss, perplexity, gradient norm, and characters."""
    lines(axes[0, 0], panels["loss"], title="Loss", xlabel="epoch", ylabel="nats per character")
    lines(
        axes[0, 1],
        panels["perplexity"],
        labelled=False,
        title="Perplexity, exp(loss)",
        xlabel="epoch",
        ylabel="perplexity",
    )
    axes[0, 1].set_ylim(0, None)
    lines(
        axes[1, 0],
        {f"{name} gradient": points for name, points in panels["gradient norm"].items()},
        title="Gradient norm, unclipped",
        xlabel="training step",
        ylabel="norm",
        yscale="log",
    )
    characters = panels.get("characters", {})
    parts = {f"characters of {name}": points["y"] for name, points in characters.items()}
    if parts:
        draw_frequencies(axes[1, 1], characters["text"]["x"], parts)


def draw_flow(axes: np.ndarray, panels: dict[str, Panel]) -> None:
    """Along a sequence, by length, and the singular values behind it."""
    norm = "‖∂L/∂h_t‖"
    shades = zip(panels["lengths"].items(), ("0.7", "0.5", "0.3", "0"), strict=False)
    for (name, points), shade in shades:
        axes[0, 0].plot(points["x"], points["y"], color=shade)
        end = points["x"][-1], points["y"][-1]
        beside: Any = {"textcoords": "offset points", "xytext": (-5, 3), "ha": "right"}
        axes[0, 0].annotate(name, end, fontsize=9, color=shade, **beside)
    axes[0, 0].set(title="Vanilla, four lengths", xlabel="time step t", ylabel=norm, yscale="log")
    draw_rates(axes[0, 1], panels["rates"])
    lines(
        axes[1, 0],
        panels["spectrum"],
        labelled=False,
        title="Singular values of ∂h_T/∂h_0",
        xlabel="i",
        ylabel="log10 σ_i",
    )
    lines(
        axes[1, 1],
        panels["networks"],
        title="The way back",
        xlabel="steps back from the loss",
        ylabel=norm,
        yscale="log",
    )


def draw_rates(axes: Axes, panel: Panel) -> None:
    """A row a network: what ln ‖∂L/∂h_0‖ changes by per step, and two predictions of it."""
    for row, (points, color) in enumerate(zip(panel.values(), figures.PALETTE, strict=False)):
        rates = dict(zip(points["x"], points["y"], strict=True))
        for name, (marker, _) in RATES.items():
            axes.plot(rates[name], row, marker, color=color, markersize=9, markeredgewidth=2)
    for marker, name in RATES.values():
        axes.plot([], [], marker, color="0.35", markersize=8, markeredgewidth=2, label=name)
    axes.axvline(0.0, color="0.35", linestyle="--", linewidth=1.2)
    axes.set(title="Rate of decay", xlabel="change of ln ‖∂L/∂h_0‖ per step of T")
    axes.set_yticks(range(len(panel)), list(panel))
    axes.set_ylim(len(panel) - 0.5, -0.5)


def draw_inits(axes: np.ndarray, panels: dict[str, Panel]) -> None:
    """By how W_hh begins."""
    lines(
        axes[0, 0],
        panels["flow"],
        labelled=False,
        dashed=True,
        title="The way back",
        xlabel="steps back from the loss",
        ylabel="‖∂L/∂h_t‖",
        yscale="log",
    )
    axes[0, 0].set_ylim(1e-12, 1e8)
    bars(axes[0, 1], panels["mean"], title="Mean over t", xlabel="‖∂L/∂h_t‖", xscale="log")
    bars(
        axes[1, 0], panels["variance"], title="Variance over t", xlabel="of ‖∂L/∂h_t‖", xscale="log"
    )
    bars(axes[1, 1], panels["rate"], title="Decay rate", xlabel="−ln of the factor per step")
    axes[1, 1].axvspan(0.08, 0.1, color="0.6", alpha=0.4, linewidth=0)
    axes[0, 1].axvspan(0.01, 0.1, color="0.6", alpha=0.4, linewidth=0, label="said to be healthy")


def draw_lengths(axes: np.ndarray, panels: dict[str, Panel]) -> None:
    """Against T."""
    T: dict[str, Any] = {"xlabel": "T, characters", "xscale": "log"}
    lines(axes[0, 0], panels["loss"], title="Test loss", ylabel="bits per character", **T)
    unlabelled = partial(lines, labelled=False)
    unlabelled(
        axes[0, 1], panels["gradient norm"], title="Median gradient norm", ylabel="norm", **T
    )
    times = panels["time"]["milliseconds a step"]
    x, y = np.array(times["x"]), np.array(times["y"])
    exponent = panels["exponent"]["T"]["y"][0]
    axes[1, 0].plot(x, y, "o", color=figures.PALETTE[2])
    middle = np.exp(np.log(y / x**exponent).mean())
    fitted = f"time ∝ T^{exponent:.2f}"
    axes[1, 0].plot(x, middle * x**exponent, color=figures.PALETTE[2], label=fitted)
    axes[1, 0].plot(x, y[-1] * (x / x[-1]) ** 2, ":", color="0.35", label="time ∝ T²")
    axes[1, 0].set(title="Training time of a step", ylabel="milliseconds", yscale="log", **T)
    unlabelled(axes[1, 1], panels["perplexity"], title="Perplexity, exp(loss)", **T)
    for each in axes.flat:
        each.set_xticks(x[::2], [f"{length:g}" for length in x[::2]])
        each.minorticks_off()


def draw_clipping(axes: np.ndarray, panels: dict[str, Panel]) -> None:
    """SGD, by what its gradients are clipped to."""
    bits = "bits per character"
    lines(axes[0, 0], panels["loss"], title="Training loss", xlabel="epoch", ylabel=bits)
    lines(
        axes[0, 1],
        panels["gradient norm"],
        labelled=False,
        title="Largest gradient norm, unclipped",
        xlabel="epoch",
        ylabel="norm",
        yscale="log",
    )
    bars(axes[1, 0], panels["final loss"], title="Test loss at the end", xlabel=bits)
    ends = [points["y"][0] for points in panels["final loss"].values()]
    least = np.nanmin(ends) if np.isfinite(ends).any() else 0
    axes[0, 0].set_ylim(least - 0.3, least + SHOWN_BITS)
    axes[1, 0].set_xlim(least - 0.3, least + SHOWN_BITS)
    for row, end in enumerate(ends):
        if not end <= least + SHOWN_BITS:
            said = f"{end:.0f} bits" if np.isfinite(end) else "diverged"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            place: Any = {"ha": "right", "va": "center", "fontsize": 9, "bbox": box}
            axes[1, 0].text(least + SHOWN_BITS - 0.1, row, said, **place)
    title = "Steps with a gradient norm above 3 medians"
    bars(axes[1, 1], panels["stability"], title=title, xlabel="share of steps")


FIGURES: dict[str, Callable[[np.ndarray, dict[str, Panel]], None]] = {
    "rnn_training_analysis": draw_training,
    "gradient_flow_analysis": draw_flow,
    "weight_initialization_analysis": draw_inits,
    "sequence_length_analysis": draw_lengths,
    "gradient_clipping_analysis": draw_clipping,
}
TITLES = {
    "rnn_training_analysis": "A vanilla RNN learns text: {dataset}, N = {hidden}, T = {seq_len}",
    "gradient_flow_analysis": "Where the gradient of the last step goes: N = {hidden}",
    "weight_initialization_analysis": "Gradients by how W_hh begins: N = {hidden}, T = 50",
    "sequence_length_analysis": "Length of truncated BPTT: {dataset}, N = {hidden}",
    "gradient_clipping_analysis": f"Clipping, by SGD at {SGD_LR}: "
    + "{dataset}, N = {hidden}, T = {seq_len}",
}


if __name__ == "__main__":
    figures.redraw(draw)
