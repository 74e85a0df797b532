"""The figure: training steps beside cuDNN's by N, B and T, and projections by N.

It is drawn from results.json alone:

    python -m experiments.gpu.figure figures/gpu      redraws it without measuring
"""

from pathlib import Path

from matplotlib.axes import Axes

from experiments.gpu.summary import CELLS, Row, by_size, is_measured, of_jaxrnn, rows_of
from experiments.harness.records import figures

PROJECTIONS = ("qr", "householder", "polar", "torch.linalg.qr")


def draw(results: Row, out: Path) -> list[str]:
    """Write speed.png where steps or projections were timed; the names of what was written."""
    rows, projections = rows_of(results, "speed"), rows_of(results, "projection")
    if not any("times_torch" in row["final"] for row in (*rows, *projections)):
        return []
    where = "a CPU, at tiny sizes: not run on a GPU"
    if is_measured(results):
        where = results["environment"]["gpu"]
    figure, axes = figures.panels(2, 2, f"Training steps and projections on {where}")
    for panel, (name, cell) in zip(axes.flat, CELLS.items(), strict=False):
        _draw_cell(panel, [row for row in rows if row["settings"]["cell"] == name])
        panel.axhline(1.0, color="0.35", linestyle="--", linewidth=1.2)
        panel.set(
            title=cell.title,
            xlabel="hidden units N",
            ylabel=f"times as fast as torch.nn.{cell.torch_module}",
        )
    _draw_projections(axes[1, 1], projections)
    figures.legend_below(figure, *axes.flat[:-1])
    figures.save(figure, out / "speed.png")
    return ["speed.png"]


def _draw_cell(panel: Axes, rows: list[Row]) -> None:
    """A line for each B and T over N, at equal distances."""
    found = by_size(rows, "batch_size", "time_steps", "hidden")
    sizes = sorted({N for _, _, N in found})
    for color, (B, T) in zip(figures.PALETTE, sorted({(B, T) for B, T, _ in found}), strict=False):
        points = {}
        for N in sizes:
            final = of_jaxrnn(found.get((B, T, N), {}))
            if "times_torch" in final:
                points[sizes.index(N)] = final["times_torch"]
        label = f"B {B}, T {T:,}"
        panel.plot(list(points), list(points.values()), "o-", color=color, label=label)
    panel.set_xticks(range(len(sizes)), [str(N) for N in sizes])
    panel.set_ylim(bottom=0)


def _draw_projections(panel: Axes, rows: list[Row]) -> None:
    """Milliseconds of one matrix over N, by those retractions that are advised, and PyTorch's."""
    found = by_size([row for row in rows if row["settings"]["matrices"] == 1], "hidden")
    for color, method in zip(figures.PALETTE, PROJECTIONS, strict=False):
        points = {
            N: final[method]["ms"] for (N,), final in found.items() if "ms" in final.get(method, {})
        }
        panel.plot(list(points), list(points.values()), "o-", color=color, label=method)
    sizes = [N for (N,) in found]
    panel.set(
        title="A projection", xlabel="hidden units N", ylabel="ms", xscale="log", yscale="log"
    )
    panel.set_xticks(sizes, [f"{N:,}" for N in sizes])
    panel.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    panel.legend(fontsize=9)


if __name__ == "__main__":
    figures.redraw(draw)
