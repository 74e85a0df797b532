"""The benchmark's figures, drawn from the contents of results.json.

python -m experiments.benchmark.figure figures/benchmark      redraws them without measuring
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from experiments.harness.records import figures

COLORS = {
    "PyTorch": figures.PALETTE[0],
    "Flax": figures.PALETTE[5],
    "jaxrnn": figures.PALETTE[2],
    "floor": figures.PALETTE[7],
}
SHARES = (-0.1, 0.0, 0.1, 1.0)  # ticks
AXES = {"T": "time steps T", "N": "hidden units N", "B": "batch size B"}


def draw(results: dict, out: Path) -> list[str]:
    """Write a figure for the steps and one for the scaling, where they were measured."""
    parts = figures.by_setting(results["runs"], "part")
    written = []
    if "steps" in parts or "projection" in parts:
        _draw_bars(parts.get("steps", []), parts.get("projection", []), out / "benchmark.png")
        written.append("benchmark.png")
    if "scaling" in parts:
        _draw_scaling(parts["scaling"], out / "scaling.png")
        written.append("scaling.png")
    return written


def _draw_bars(steps: list[dict], projection: list[dict], path: Path) -> None:
    figure, axes = figures.panels(2, 2, "A training step")
    for panel, group in zip(axes.flat, figures.by_setting(steps, "task").values(), strict=False):
        _bars(panel, group, "speed_up")
        panel.axvline(1.0, color="0.35", linestyle="--", linewidth=1.2)
        panel.set(title=title(group[0]), xlabel="times as fast as torch_ref")
    panel = axes[1, 1]
    if projection:
        _bars(panel, [run for run in projection if run["method"] != "never"], "cost")
        panel.axvline(0.0, color="0.35", linestyle="--", linewidth=1.2)
        panel.set(title="copy: what projecting adds", xlabel="share of a step without")
        panel.set_xscale("symlog", linthresh=0.1)  # quartiles may lie below zero
        panel.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
    handles = [Patch(color=color, label=name) for name, color in COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figures.save(figure, path)


def title(run: dict) -> str:
    """The task of a run and its sizes."""
    settings = run["settings"]
    sizes = (settings[name] for name in ("batch_size", "hidden", "time_steps"))
    return "{}: B {}, N {}, T {}".format(settings["task"], *sizes)


def _bars(panel: Axes, runs: list[dict], name: str) -> None:
    """A bar a run with its quartiles, the first on top."""
    values, low, high = (
        np.array([run["final"][f"{name}{end}"] for run in reversed(runs)])
        for end in ("", "_low", "_high")
    )
    whiskers = np.maximum(0, [values - low, high - values])
    colors = [_color(run) for run in reversed(runs)]
    labels = [run["method"] for run in reversed(runs)]
    panel.barh(labels, values, xerr=whiskers, color=colors, height=0.65)
    panel.tick_params(axis="y", labelsize=9)


def _color(run: dict) -> str:
    """That of whose loop it is."""
    if run["backend"] == "torch":
        return COLORS["PyTorch"]
    if run["method"] == "floor":
        return COLORS["floor"]
    return COLORS["Flax" if run["method"].startswith("flax") else "jaxrnn"]


def _draw_scaling(runs: list[dict], path: Path) -> None:
    found = figures.by_setting(runs, "axis")
    figure, axes = figures.panels(len(found), 2, "How time and memory grow")
    axes = axes.reshape(len(found), 2)
    methods = dict.fromkeys(run["method"] for run in runs)
    colors = dict(zip(methods, figures.PALETTE, strict=False))
    for (time_panel, memory_panel), (axis, group) in zip(axes, found.items(), strict=True):
        values = group[0]["history"][axis]
        for run in group:
            history, final = run["history"], run["final"]
            color = colors[run["method"]]
            time_panel.plot(
                values,
                history["ms_per_step"],
                "o-",
                color=color,
                label=f"{run['method']}: {axis}^{final['time_exponent']:.2f}",
            )
            if "memory_exponent" in final:
                memory_panel.plot(
                    values,
                    np.array(history["temporary_bytes"]) / 2**20,
                    "o-",
                    color=color,
                    label=f"{run['method']}: {axis}^{final['memory_exponent']:.2f}",
                )
        for panel, label in ((time_panel, "ms per step"), (memory_panel, "MiB, temporary")):
            panel.set(xscale="log", yscale="log", xlabel=AXES[axis], ylabel=label)
            panel.set_xticks(values, [f"{value:,}" for value in values])
            panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
            panel.legend(fontsize=9)
    figures.save(figure, path)


if __name__ == "__main__":
    figures.redraw(draw)
