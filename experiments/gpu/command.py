"""The command: which parts to run, and where what they measure is written."""

import argparse
import shutil
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from experiments.gpu.machine import REQUIRED, ask, missing
from experiments.gpu.parts import PARTS
from experiments.harness.command.printed import what_is_printed
from experiments.harness.command.statuses import ended, fail
from experiments.harness.records.results import ROOT, NotWritten, Run, new_folder, write_results
from experiments.harness.saving.signals import stop

FOLDER = ROOT / "figures" / "gpu"
NOT_MEASURED = "nothing was measured on a GPU"


@dataclass(frozen=True)
class GpuConfig:
    """What to measure, and where else to write it.

    Attributes:
      parts: names of parts.
      out: a folder to write to besides figures/gpu; None: no other.
    """

    parts: tuple[str, ...] = tuple(part.name for part in PARTS)
    out: Path | None = None


class Parser(argparse.ArgumentParser):
    """One line and exit status 2 for a wrong option."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        fail(message)


def parse(arguments: Sequence[str]) -> GpuConfig:
    """The options; exit status 2 for wrong ones."""
    names = GpuConfig().parts
    parser = Parser(
        prog="python -m experiments.gpu",
        description="Measure on a GPU what is to be measured there; without one, tiny sizes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=names,
        default=names,
        metavar="PART",
        help=f"which, of {', '.join(names)}; default: all. They run in this order",
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write to besides figures/gpu, or figures/gpu/cpu"
    )
    given = parser.parse_args(arguments)
    parts = tuple(given.parts)
    if len(set(parts)) < len(parts):
        parser.error(f"--parts must not repeat itself, got {' '.join(parts)}")
    return GpuConfig(tuple(name for name in names if name in parts), given.out)


def run(arguments: Sequence[str]) -> int:
    """Measure, write and print; the exit status."""
    config = parse(arguments)
    lacking = missing(REQUIRED)
    if lacking:
        fail(f"needs {', '.join(lacking)}: name another Python, or make copy first")
    signal.signal(signal.SIGTERM, stop)
    with what_is_printed() as printed:
        try:
            status = execute(config)
        except (KeyboardInterrupt, NotWritten) as cause:
            return ended(cause)
    return ended(printed.error) if printed.error else status


def execute(config: GpuConfig) -> int:
    """Measure, write and print; 0 if everything came to its end and nothing failed."""
    # What these need is known to be there only now.
    from experiments.gpu.conductor import Conductor, is_well
    from experiments.gpu.figure import draw
    from experiments.gpu.tables import print_tables
    from experiments.harness.running.report import console, print_written

    machine = ask()
    on_gpu = machine["gpu"] is not None
    folders = [*([config.out] if config.out else []), FOLDER if on_gpu else FOLDER / "cpu"]
    try:
        with ExitStack() as made:
            for folder in folders:
                made.enter_context(new_folder(folder))
    except ValueError as error:
        fail(str(error))
    console.print(_said_of(machine))

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:

        def renew(runs: list[Run]) -> None:
            for folder in folders:
                results.update(write_results(folder, "gpu", config, runs, machine))
                log = Path(temporary, "log.txt")
                if log.exists():
                    shutil.copy(log, folder)

        conductor = Conductor(machine, Path(temporary), renew, partial(console.print, markup=False))
        try:
            conductor.conduct([part for part in PARTS if part.name in config.parts])
        finally:
            print_tables(conductor.runs)
    for folder in folders:
        print_written(folder, ["results.json", "log.txt", *draw(results, folder)])
    console.print(_said_of(machine))
    return 0 if is_well(conductor.runs) else 1


def _said_of(machine: dict[str, Any]) -> str:
    lacking = ", ".join(machine.get("missing", [])) or "nothing"
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("jax", "torch", "python") if machine.get(name)
    )
    where = f"{machine['gpu']}, driver {machine.get('driver')}" if machine["gpu"] else NOT_MEASURED
    problem = f"; {machine['problem']}" if "problem" in machine else ""
    return f"{where} ({versions}; missing: {lacking}){problem}"
