"""What a run says: a live bar on a terminal, plain lines elsewhere, and a table at the end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run, environment, write_results
from experiments.harness.records.run_record import Progress
from experiments.harness.saving.session import Session
from experiments.harness.saving.signals import SIGNALS
from experiments.harness.training.runner import Interrupted

# A pipe or a log file has no width, and the table needs this one, unless COLUMNS says another.
WIDTH = 130
HAS_TERMINAL = sys.stdout is not None and sys.stdout.isatty()
console = Console(highlight=False, width=None if HAS_TERMINAL or "COLUMNS" in os.environ else WIDTH)

COLUMNS = {
    "val loss": "val_loss",
    "accuracy": "val_accuracy",
    "grad norm max": "grad_norm_max",
    "spectral norm": "spectral_norm",
}


def measure_and_write(
    out: Path,
    session: Session,
    measure: Callable[[], list[Run]],
    draw: Callable[[dict, Path], list[str]],
    print_runs: Callable[[list[Run]], None],
) -> None:
    """Measure, then write results.json and figures and print them, also after Ctrl-C or SIGTERM.

    Where that came before anything was measured, the files of an earlier run stay as they are.

    Args:
      out: the folder to write to.
      session: of the command.
      measure: what takes long; may raise Interrupted.
      draw: writes figures into the folder from the contents of results.json; returns their names.
      print_runs: prints the tables.

    Raises:
      Interrupted: after everything was written.
    """
    interrupted = None
    with session:
        try:
            runs = measure()
        except Interrupted as caught:
            runs, interrupted = caught.runs, caught
            if not any(run.final or any(run.history.values()) for run in runs):
                raise
        with uninterrupted():
            try:
                results = write_results(
                    out, session.experiment, session.config, runs, environment(session.backends)
                )
                names = draw(results, out)
            finally:  # shown even where it cannot be written
                print_runs(runs)
    print_written(out, ["results.json", *names])
    if interrupted:
        raise interrupted


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM are ignored while what was measured is written."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def progress(label: str, schedule: Schedule) -> Iterator[Callable[[Sequence[Progress]], None]]:
    """A function to be called after each chunk of steps, while a bar or lines show how it goes."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[latest]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        steps = schedule.epochs * schedule.steps_per_epoch
        task = bar.add_task(label, total=steps, latest="compiling")

        def show(progress: Sequence[Progress]) -> None:
            live = next((one for one in progress if one.run.status != "diverged"), progress[0])
            restarts = live.run.final.get("restarts", 0)
            epoch = f"epoch {-(-live.step // schedule.steps_per_epoch)}/{schedule.epochs}"
            if live.run.status == "diverged":
                latest = f"{epoch}  diverged"
            else:
                latest = (
                    f"{epoch}  loss {live.loss:.4f}  grad norm {live.grad_norm:.3g}  "
                    f"{_rate(live.steps_per_second)}{_restarts(restarts)}"
                )
            bar.update(task, completed=live.step, latest=latest)
            if not console.is_terminal and (live.epoch_ended or live.run.status == "diverged"):
                console.print(f"{label}  {_last_epoch(live, epoch)}")

        yield show


def _last_epoch(live: Progress, epoch: str) -> str:
    """What a line says at the end of an epoch."""
    history, restarts = live.run.history, live.run.final.get("restarts", 0)
    if live.run.status == "diverged" or not history["epoch"]:
        return f"{epoch}  {live.run.status}{_restarts(restarts)}"
    accuracy = history["val_accuracy"][-1]
    parts = [
        epoch,
        f"val loss {history['val_loss'][-1]:.4f}",
        "" if np.isnan(accuracy) else f"accuracy {accuracy:.3f}",
        f"grad norm {history['grad_norm_max'][-1]:.3g}",
        _rate(live.steps_per_second),
    ]
    return "  ".join(part for part in parts if part) + _restarts(restarts)


def _rate(steps_per_second: float) -> str:
    return "" if np.isnan(steps_per_second) else f"{steps_per_second:.0f} steps/s"


def _restarts(count: int) -> str:
    return f"  {count} restart{'s' if count > 1 else ''}" if count else ""


def print_table(
    title: str,
    runs: Sequence[Run],
    baseline: float | None,
    columns: Mapping[str, str] = COLUMNS,
    label: Callable[[Run], str] = lambda run: run.method,
) -> None:
    """Each method's final figures, mean ± standard deviation over its seeds.

    Args:
      title: above the table.
      runs: what to show; those of one label and backend are seeds of one another.
      baseline: the loss of the best answer that remembers nothing, if it should be shown.
      columns: heading → quantity in ``run.final``.
      label: what a run is called.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    for heading in (*columns, "steps/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(f"{label(run)} ({run.backend})", []).append(run)
    for name, group in groups.items():
        cells = [
            _mean_and_spread([run.final.get(quantity, np.nan) for run in group])
            for quantity in columns.values()
        ]
        rate = group[0].steps_per_second
        speed = "too short" if np.isnan(rate) else f"{rate:.0f}"
        table.add_row(name, *cells, speed, _status(group))
    if baseline is not None:
        table.add_row("memoryless baseline", f"{baseline:.4f}")
    console.print(table)


def print_written(out: Path, names: Sequence[str]) -> None:
    """The paths written."""
    for name in names:
        path = out / name
        shown = path.relative_to(Path.cwd()) if _is_below_cwd(path) else path
        console.print(f"wrote {shown}", soft_wrap=True, markup=False)  # to be copied whole


def _mean_and_spread(values: Sequence[float]) -> str:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return "-"
    spread = f" ± {finite.std():.1g}" if len(values) > 1 else ""
    return f"{finite.mean():.3g}{spread}"


def _status(group: Sequence[Run]) -> str:
    restarts = sum(run.final.get("restarts", 0) for run in group)
    counts: dict[str, int] = {}
    for run in group:
        counts[run.status] = counts.get(run.status, 0) + 1
    status = ", ".join(f"{count} {status}" for status, count in counts.items())
    if len(group) == 1:
        step = group[0].final.get("diverged_at_step")
        is_diverged = group[0].status == "diverged"
        status = f"diverged at step {step}" if is_diverged else group[0].status
    return status + _restarts(restarts)


def _is_below_cwd(path: Path) -> bool:
    return path.is_absolute() and path.is_relative_to(Path.cwd())
