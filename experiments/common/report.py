"""What a run says: a live bar on a terminal, plain lines elsewhere, and a table at the end."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.common.results import Run, write_results
from experiments.common.runner import Interrupted

# A pipe or a log file has no width of its own; the table needs this one.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)


def measure_and_write(
    out: Path,
    experiment: str,
    config: Any,
    backends: Sequence[str],
    measure: Callable[[], list[Run]],
    draw: Callable[[dict, Path], list[str]],
    print_runs: Callable[[list[Run]], None],
) -> None:
    """Measure, then write results.json and figures and print them, also after Ctrl-C.

    Where Ctrl-C came before anything was measured, the files of an earlier run stay as they are.

    Args:
      out: the folder to write to.
      experiment: its name, for results.json.
      config: its dataclass.
      backends: the frameworks used.
      measure: what takes long; may raise Interrupted.
      draw: writes figures into the folder from the contents of results.json; returns their names.
      print_runs: prints the tables.

    Raises:
      Interrupted: after everything was written.
    """
    interrupted = None
    try:
        runs = measure()
    except Interrupted as caught:
        runs, interrupted = caught.runs, caught
        if not any(run.final or any(run.history.values()) for run in runs):
            raise
    with uninterrupted():
        try:
            results = write_results(out, experiment, config, runs, backends)
            names = draw(results, out)
        finally:  # shown even where it cannot be written
            print_runs(runs)
    print_written(out, ["results.json", *names])
    if interrupted:
        raise interrupted


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C is ignored while what was measured is written."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def progress(label: str, epochs: int) -> Iterator[Callable[[Run], None]]:
    """A function to be called with the run after each epoch, while a bar or lines show it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[latest]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=epochs, latest="compiling")

        def show(run: Run) -> None:
            history = run.history
            latest = run.status
            if run.status != "diverged":
                latest = (
                    f"val loss {history['val_loss'][-1]:.4f}  "
                    f"accuracy {history['val_accuracy'][-1]:.3f}  "
                    f"grad norm {history['grad_norm_max'][-1]:.3g}"
                )
            bar.update(task, advance=1, latest=latest)
            if not console.is_terminal:
                console.print(f"{label}  epoch {bar.tasks[0].completed:.0f}/{epochs}  {latest}")

        yield show


def print_table(title: str, runs: Sequence[Run], baseline: float) -> None:
    """Each method's final figures, mean ± standard deviation over its seeds."""
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    headings = ("val loss", "accuracy", "grad norm max", "spectral norm", "steps/s")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    names = ("val_loss", "val_accuracy", "grad_norm_max", "spectral_norm")
    for (method, backend), group in by_method(runs).items():
        cells = [_mean_and_spread([run.final.get(name, np.nan) for run in group]) for name in names]
        speed = f"{group[0].steps_per_second:.0f}"
        table.add_row(f"{method} ({backend})", *cells, speed, _status(group))
    table.add_row("memoryless baseline", f"{baseline:.4f}")
    console.print(table)


def print_written(out: Path, names: Sequence[str]) -> None:
    """The paths written."""
    for name in names:
        path = out / name
        console.print(f"wrote {path.relative_to(Path.cwd()) if _is_below_cwd(path) else path}")


def by_method(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each (method, backend), in the order in which they ran."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, run.backend), []).append(run)
    return groups


def _mean_and_spread(values: Sequence[float]) -> str:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return "-"
    spread = f" ± {finite.std():.1g}" if len(values) > 1 else ""
    return f"{finite.mean():.3g}{spread}"


def _status(group: Sequence[Run]) -> str:
    counts: dict[str, int] = {}
    for run in group:
        counts[run.status] = counts.get(run.status, 0) + 1
    if len(group) > 1:
        return ", ".join(f"{count} {status}" for status, count in counts.items())
    run = group[0]
    step = run.final.get("diverged_at_step")
    return f"diverged at step {step}" if run.status == "diverged" else run.status


def _is_below_cwd(path: Path) -> bool:
    return path.is_absolute() and path.is_relative_to(Path.cwd())
