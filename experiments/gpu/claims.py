"""What the README says of GPUs, written from figures/gpu/results.json where that is from one."""

import json

from experiments.gpu.summary import CELLS, Row, by_size, compared, is_measured, of_jaxrnn, rows_of
from experiments.harness.records.evidence import table
from experiments.harness.records.results import ROOT

NOT_RUN = (
    "Not run on a GPU. On a machine with one, `make gpu` compares all of this there, times "
    "training steps beside cuDNN's and projections beside `torch.linalg.qr`, and writes "
    "figures/gpu, in eight minutes; it needs JAX, Flax, Optax and PyTorch, but no network and no "
    "`.venv`."
)


def gpu_section() -> str:
    """The section, from the committed results."""
    path = ROOT / "figures" / "gpu" / "results.json"
    return describe(json.loads(path.read_text())) if path.exists() else NOT_RUN


def describe(results: Row) -> str:
    """Parity in sentences, speed in a table; that nothing was run, where nothing was."""
    if not is_measured(results):
        return NOT_RUN
    machine = results["environment"]
    blocks = [
        f"On one {machine['gpu']} (driver {machine['driver']}, JAX {machine['jax']}, PyTorch "
        f"{machine['torch']}; `make gpu`): {parity_sentences(results)}"
    ]
    if rows_of(results, "speed"):
        blocks += [
            "Training steps there, forward, backward, clip and Adam on the adding problem: how "
            "many times as fast as torch.nn by cuDNN, without TF32, and milliseconds.",
            speed_table(results),
            "![Training steps beside cuDNN's](figures/gpu/speed.png)",
        ]
    return "\n\n".join(blocks)


def parity_sentences(results: Row) -> str:
    """How near the bounds the comparisons come, by precision, and what failed."""
    lines = compared(results)
    if not lines:
        return "no numbers were compared."
    said = []
    for dtype in ("float64", "float32"):
        found = [line for line in lines if line.name.endswith(dtype)]
        if found:
            worst = max(found, key=lambda line: line.share)
            said.append(
                f"{sum(line.numbers for line in found):,} comparisons in {dtype}, which reach "
                f"{worst.share:.0%} of their bounds at most ({worst.name.rpartition(',')[0]}: "
                f"{worst.difference:.1e} of {worst.bound:.1e})"
            )
    failed = sum(line.failed for line in lines)
    text = "; ".join(said) + f"; {failed or 'none'} failed."
    for row in rows_of(results, "parity"):
        if row["method"] == "gradients with TF32" and "difference" in row["final"]:
            final = row["final"]
            text += (
                f" With TF32 gradients differ by {final['difference']:.1e}, without it by "
                f"{final['without_tf32']:.1e}."
            )
    return text


def speed_table(results: Row) -> str:
    """A row for each size, a column for each cell."""
    found = by_size(rows_of(results, "speed"), "batch_size", "time_steps", "hidden", "cell")
    sizes = sorted({size[:3] for size in found})

    def cell_of(size: tuple, cell: str) -> str:
        final = of_jaxrnn(found.get((*size, cell), {}))
        if "times_torch" not in final:
            return "-"
        return f"{final['times_torch']:.2f}, {final['ms_per_step']:.3g} ms"

    rows = [
        [f"B {B}, T {T:,}, N {N}", *(cell_of((B, T, N), cell) for cell in CELLS)]
        for B, T, N in sizes
    ]
    return table(["", *(cell.title for cell in CELLS.values())], rows)
