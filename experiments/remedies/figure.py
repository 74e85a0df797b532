"""Figures of the remedies: the matrix, and every seed of every case's best remedies.

python -m experiments.remedies.figure figures/remedies      redraws them without training
"""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from experiments.harness.records import figures
from experiments.remedies.outcomes import UNTREATED, VERDICTS, Outcome, best_first, outcomes

COLORS = dict(zip(VERDICTS, ("#009E73", "#56B4E9", "#EEEEEE", "#D55E00"), strict=True))
LARGEST = 9.99  # baselines; what is above is written as more
BEYOND = "ten baselines, more, or diverged"
SHOWN = 8  # remedies of each symptom in the second figure


def cell_text(outcome: Outcome | None) -> str:
    """Seeds cured and the median loss; empty where a remedy changes nothing."""
    if outcome is None:
        return ""
    if not np.isfinite(outcome.median):
        return f"{outcome.cured}/{len(outcome.losses)} ∞"
    value = f"{outcome.median:.2f}" if outcome.median <= LARGEST else f">{LARGEST:.0f}"
    return f"{outcome.cured}/{len(outcome.losses)} {value}"


def draw(results: dict, out: Path) -> list[str]:
    """remedies.png and cases.png."""
    found = outcomes(results)
    draw_matrix(found, out / "remedies.png")
    draw_cases(found, out / "cases.png")
    return ["remedies.png", "cases.png"]


def draw_matrix(found: dict[str, dict[str, Outcome]], path: Path) -> None:
    """A row a remedy, a column a symptom, coloured by verdict."""
    names = dict.fromkeys(name for by_remedy in found.values() for name in by_remedy)
    figure, axes = plt.subplots(figsize=(2.4 + 1.35 * len(found), 1.6 + 0.33 * len(names)))
    title = "Seeds cured, and the median loss in baselines"
    figure.suptitle(f"{title} (∞: diverged; blank: changes nothing)", fontweight="bold")
    for column, by_remedy in enumerate(found.values()):
        for row, name in enumerate(names):
            outcome = by_remedy.get(name)
            color = "white" if outcome is None else COLORS[outcome.verdict]
            axes.add_patch(plt.Rectangle((column, row), 0.96, 0.92, color=color))
            is_dark = outcome is not None and outcome.verdict in ("cured", "harmed")
            axes.text(
                column + 0.48,
                row + 0.46,
                cell_text(outcome),
                ha="center",
                va="center",
                fontsize=9.5,
                color="white" if is_dark else "black",
            )
    axes.set(xlim=(0, len(found)), ylim=(len(names), 0))
    axes.set_xticks(np.arange(len(found)) + 0.48, [s.replace("_", "\n") for s in found])
    axes.set_yticks(np.arange(len(names)) + 0.46, [n.replace("_", " ") for n in names])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=10)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    handles = [Patch(color=color, label=verdict) for verdict, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figures.save(figure, path)


def draw_cases(found: dict[str, dict[str, Outcome]], path: Path) -> None:
    """Every seed, untreated and with the most promising remedies."""
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    figure, axes = figures.panels(rows, columns, "Every seed: untreated, and the best remedies")
    for panel in axes.flat[len(found) :]:
        panel.set_axis_off()
    for panel, (symptom, by_remedy) in zip(axes.flat, found.items(), strict=False):
        names = [UNTREATED, *best_first(by_remedy)[:SHOWN]]
        for row, name in enumerate(names):
            outcome = by_remedy[name]
            losses = np.where(outcome.losses <= LARGEST, outcome.losses, LARGEST)
            color = "black" if name == UNTREATED else figures.PALETTE[2]
            panel.scatter(losses, np.full(len(losses), row), color=color, s=26, zorder=3)
        panel.axvline(1, color="0.35", linestyle="--", linewidth=1.2, label="baseline")
        panel.axvline(
            by_remedy[UNTREATED].solved,
            color=figures.PALETTE[3],
            linewidth=1.2,
            label="cured below",
        )
        panel.set(title=symptom.replace("_", " "), xlabel="loss / baseline")
        low, high = panel.get_xlim()
        panel.set_xscale("log" if low < 0.1 * high else "linear")
        if any(np.any(~(by_remedy[name].losses <= LARGEST)) for name in names):
            panel.axvline(LARGEST, color="#D55E00", linewidth=1.2, linestyle=":", label=BEYOND)
        panel.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        panel.tick_params(axis="y", labelsize=9)
        panel.invert_yaxis()
    figures.legend_below(figure, *axes.flat)
    figures.save(figure, path)


if __name__ == "__main__":
    figures.redraw(draw)
