"""The character language model's figures, drawn from the contents of results.json.

python -m experiments.char_lm.figure figures/char_lm      redraws them without training
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator

from experiments.char_lm.config import METHODS
from experiments.harness.records import figures
from experiments.harness.text.language import bits, named


def label(method: str, settings: Mapping[str, Any]) -> str:
    """What a run's line is called: its method and what a comparison changes."""
    words = [METHODS[method].label]
    if "hidden" in settings:
        words = [f"N = {settings['hidden']}"]
    if "seq_len" in settings:
        words.append(f"T = {settings['seq_len']}")
    return settings.get("dataset") or ", ".join(words)


def draw(results: dict, out: Path) -> list[str]:
    """Write the figure into ``out``; return its name."""
    config, runs = results["config"], results["runs"]
    by_length = config["compare"] == "projection"
    (_draw_lengths if by_length else _draw_training)(config, runs, out)
    return ["char_lm.png"]


def _draw_training(config: Mapping[str, Any], runs: list[dict], out: Path) -> None:
    """Bits per character, gradient norms, the two splits, and what is written how often."""
    figure, axes = figures.panels(2, 2, _title(config))
    (loss, final), (grad_norm, characters) = axes
    looks = figures.looks(runs)
    groups = grouped(runs)
    for (name, group), color in zip(groups.items(), figures.PALETTE * 3, strict=False):
        for backend, look in looks.items():
            found = [in_bits(run) for run in figures.select(group, backend=backend)]
            text = f"{name} ({backend})" if len(looks) > 1 else name
            line = {"color": color, "label": text, **look}
            figures.draw_lines(loss, found, "history", "epoch", "val_loss", **line)
            figures.draw_lines(grad_norm, found, "steps", "step", "grad_norm", **line)
    draw_bars(final, groups)
    if config["compare"] != "datasets":
        draw_baselines(loss, runs)
    loss.set(title="Validation loss", xlabel="epoch", ylabel="bits per character")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    grad_norm.set(title="Gradient norm, unclipped", xlabel="training step", ylabel="norm")
    grad_norm.set_yscale("log")
    draw_characters(characters, runs[-1])
    figures.legend_below(figure, loss)
    figures.save(figure, out / "char_lm.png")


def draw_baselines(axes: Axes, runs: Sequence[dict]) -> None:
    """What the two baselines lose on the test split, in bits."""
    known = [run["final"] for run in runs if "unigram_bits" in run["final"]]
    if known:
        figures.draw_baseline(axes, known[0]["unigram_bits"], "unigram baseline")
        axes.axhline(
            known[0]["bigram_bits"], color="0.35", linestyle=":", label="bigram baseline", zorder=1
        )


def draw_bars(axes: Axes, groups: Mapping[str, list[dict]]) -> None:
    """Bits per character of the test split, beside those of the training and of the baselines."""
    parts = {
        "train": ("train_bits_per_character", "0.75"),
        "test": ("bits_per_character", figures.PALETTE[2]),
        "bigram": ("bigram_bits", "0.45"),
        "unigram": ("unigram_bits", "0.2"),
    }
    for offset, (name, (quantity, color)) in enumerate(parts.items()):
        heights = [
            np.mean([run["final"].get(quantity) or np.nan for run in runs])
            for runs in groups.values()
        ]
        places = np.arange(len(groups)) + 0.2 * (offset - 1.5)
        axes.bar(places, heights, 0.18, color=color, label=name)
    short = ["\n".join(textwrap.fill(part, 11) for part in name.split(", ")) for name in groups]
    axes.set(title="At the end", ylabel="bits per character", xticks=range(len(groups)))
    axes.set_xticklabels(short, fontsize=9 if len(groups) < 6 else 7)
    axes.margins(y=0.25)  # room for the legend
    axes.legend(ncols=4, fontsize=9, loc="upper center", columnspacing=0.8, handlelength=1.0)


def draw_characters(axes: Axes, run: dict) -> None:
    """How often the text and a sample of the network have the most frequent characters."""
    final = run["final"]
    if "shown_characters" not in final:
        axes.set_axis_off()
        return
    parts = {"text": final["text_frequencies"], "sample": final["sample_frequencies"]}
    draw_frequencies(axes, final["shown_characters"], parts)
    axes.set_title(f"Characters of text and sample: {label(run['method'], run['settings'])}")
    axes.legend()


def draw_frequencies(
    axes: Axes, characters: Sequence[str], parts: Mapping[str, Sequence[float]]
) -> None:
    """Two bars a character: the text's frequency and the sample's, under the names in ``parts``."""
    visible = {" ": "␣", "\n": "↵", "\t": "⇥"}
    places = np.arange(len(characters))
    colors = ("0.65", figures.PALETTE[0])
    for (name, heights), color, shift in zip(parts.items(), colors, (-0.2, 0.2), strict=True):
        axes.bar(places + shift, heights, 0.4, color=color, label=name)
    axes.set_xticks(places, [visible.get(x, x) for x in characters], fontsize=9)
    axes.set(title="Characters of text and sample", ylabel="frequency")
    axes.grid(visible=False, axis="x")


def _draw_lengths(config: Mapping[str, Any], runs: list[dict], out: Path) -> None:
    """Each method against T: bits per character, gradient norm, spectral norm, quality."""
    figure, axes = figures.panels(2, 2, _title(config))
    panels = {
        "bits_per_character": ("Test loss", "bits per character"),
        "grad_norm_max": ("Largest gradient norm, unclipped", "norm"),
        "spectral_norm": ("Spectral norm of W_hh at the end", "norm"),
        "bigram_distance": ("Distance of the sample's bigrams", "total variation"),
    }
    methods = list(dict.fromkeys(run["method"] for run in runs))
    for panel, (quantity, (title, unit)) in zip(axes.flat, panels.items(), strict=True):
        for method, color in zip(methods, figures.PALETTE, strict=False):
            points = figures.select(runs, method=method)
            draw_against(panel, points, "seq_len", quantity, color, METHODS[method].label)
        lengths = sorted({run["settings"]["seq_len"] for run in runs})
        panel.set(title=title, ylabel=unit, xlabel="T, characters", xscale="log", xticks=lengths)
        panel.set_xticklabels(lengths)
        panel.minorticks_off()
    axes[0, 1].set_yscale("log")
    # 20, not 2 × 10¹: less than two decades have labels between their powers.
    axes[0, 1].yaxis.set_major_formatter(LogFormatter())
    axes[0, 1].yaxis.set_minor_formatter(LogFormatter())
    figures.legend_below(figure, axes[0, 0])
    figures.save(figure, out / "char_lm.png")


def draw_against(
    axes: Axes, runs: Sequence[dict], setting: str, quantity: str, color: str, text: str
) -> None:
    """Mean of a final quantity against a setting, and the spread from lowest to highest."""
    groups = figures.by_setting([r for r in runs if r["final"].get(quantity) is not None], setting)
    if not groups:
        return
    xs = list(groups)
    values = [[run["final"][quantity] for run in group] for group in groups.values()]
    axes.plot(xs, [np.mean(v) for v in values], "o-", color=color, label=text)
    low, high = [min(v) for v in values], [max(v) for v in values]
    axes.fill_between(xs, low, high, color=color, alpha=0.2, linewidth=0)


def grouped(runs: Sequence[dict]) -> dict[str, list[dict]]:
    """The seeds of each line."""
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(label(run["method"], run["settings"]), []).append(run)
    return groups


def in_bits(run: dict) -> dict:
    """A run whose losses are in bits per character."""
    history = dict(run["history"])
    for name in ("train_loss", "val_loss", "training_set_loss"):
        history[name] = [None if x is None else bits(x) for x in history[name]]
    return {**run, "history": history}


def _title(config: Mapping[str, Any]) -> str:
    compared = config["compare"]
    words = ["Character language model"]
    if compared != "datasets":
        words[0] += f": {named(config)}"
    if compared != "sizes":
        words.append(f"N = {config['hidden']}")
    if compared not in ("sizes", "projection"):
        words.append(f"T = {config['seq_len']}")
    if config["seeds"] > 1:
        words.append(f"{config['seeds']} seeds")
    return ", ".join(words)


if __name__ == "__main__":
    figures.redraw(draw)
