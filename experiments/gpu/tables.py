"""What the command prints at its end: a table for each part."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from experiments.gpu.conductor import how
from experiments.gpu.summary import PART, Row, by_size, compared, rows_of
from experiments.harness.records.results import Run
from experiments.harness.running.report import console

SIZES = {
    "speed": ("cell", "hidden", "batch_size", "time_steps"),
    "projection": ("hidden", "matrices"),
    "variants": ("hidden", "batch_size", "time_steps"),
    "command_buffers": ("hidden", "batch_size", "time_steps"),
}


def print_tables(runs: Sequence[Run]) -> None:
    """All parts, then how they went, and what failed."""
    results = {"runs": [vars(run) for run in runs]}
    lines = compared(results)
    if lines:
        parity = _table("parity", "compared", "numbers", "difference", "allowed", "failed")
        for line in lines:
            parity.add_row(
                escape(line.name),
                str(line.numbers),
                f"{line.difference:.1e}",
                f"{line.bound:.1e}",
                str(line.failed or ""),
            )
        console.print(parity)
    for part, names in SIZES.items():
        rows = rows_of(results, part)
        if rows:
            table = _table(part, *names, "who", "ms", "times torch or the plain step")
            for size, found in by_size(rows, *names).items():
                for method, final in found.items():
                    table.add_row(*map(str, size), escape(method), *_cells(final))
            console.print(table)
    outcomes = _table("parts", "part", "rows", "seconds", "limit", "outcome")
    for run in runs:
        if run.method == PART:
            outcomes.add_row(
                run.settings["part"],
                str(run.final["rows"]),
                f"{run.seconds:.0f}",
                f"{run.final['limit_seconds']:.0f}",
                escape(how(run)),
            )
    console.print(outcomes)
    for run in runs:
        if "failed" in run.final:
            failure = f"{run.settings['part']}, {run.method}: {run.final['failed']}"
            console.print(f"failed: {failure}", markup=False)  # a test's name has brackets


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _cells(final: Row) -> tuple[str, str]:
    milliseconds = final.get("ms_per_step", final.get("ms"))
    ratio = final.get("times_torch", final.get("times_plain"))
    return (
        "-" if milliseconds is None else f"{milliseconds:.3g}",
        "" if ratio is None else f"{ratio:.2f}",
    )
