"""Measure, then write and print."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.table import Table

from experiments.benchmark.config import BenchmarkConfig
from experiments.benchmark.contenders import (
    Work,
    backend_of,
    bare_torch_chunk,
    flax_chunk,
    flax_gradient_bytes,
    floor_chunk,
    gradient_bytes,
    jaxrnn_chunk,
    peak_gflops,
    torch_ref_chunk,
)
from experiments.benchmark.figure import draw
from experiments.harness.backends.cores import available_cores
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.timing import Chunk, race, spread
from experiments.harness.training.runner import interruptible
from jaxrnn.orthogonal import RETRACTIONS
from jaxrnn.tasks import AddingTask, CopyMemoryTask, CopyTask

WORKS = {
    "copy": Work(CopyTask(10), batch_size=128, hidden=128, steps=40),
    "adding": Work(AddingTask(150), batch_size=16, hidden=100, steps=40),
    "copy memory": Work(CopyMemoryTask(1000), batch_size=128, hidden=190, steps=2),
}
SCALING = {
    "T": [100, 300, 1000, 3000, 10_000],
    "N": [32, 64, 128, 256, 512],
    "B": [4, 16, 64, 256, 1024],
}
CORES = len(available_cores())


def new_run(contender: str, work: Work, part: str, **settings: Any) -> Run:
    """A run without results so far; ``settings`` in addition to the sizes of the work."""
    sizes = {"batch_size": work.batch_size, "hidden": work.hidden, "time_steps": work.time_steps}
    return Run(contender, backend_of(contender), 0, {"part": part, **sizes, **settings})


def use_all_cores() -> None:
    """Let PyTorch run a thread on each."""
    import torch  # an extra; the command has made sure of it

    torch.set_num_threads(CORES)


def step_contenders(work: Work) -> dict[str, Chunk]:
    """Both frameworks, Flax alone, and the floor."""
    return {
        "torch.nn.RNN, bare loop": bare_torch_chunk(work, use_all_cores),
        "torch_ref, 1 thread": torch_ref_chunk(work, 1),
        f"torch_ref, {CORES} threads": torch_ref_chunk(work, CORES),
        **compiled_torch_ref(work),
        "flax nn.RNN": flax_chunk(work),
        "flax nn.RNN, all devices": flax_chunk(work, devices=None),
        "jaxrnn, scan": jaxrnn_chunk(work, recurrence="scan"),
        "jaxrnn, one device": jaxrnn_chunk(work, devices=1),
        "jaxrnn": jaxrnn_chunk(work),
        "jaxrnn, QR every step": jaxrnn_chunk(work, retraction="qr"),
        "floor": floor_chunk(work),
    }


def compiled_torch_ref(work: Work) -> dict[str, Chunk]:
    """torch_ref by torch.compile, or nothing where that does not run."""
    try:
        chunk = torch_ref_chunk(work, CORES, compiled=True)
        chunk()
    except Exception as error:  # whatever a missing or unfit compiler raises
        report.console.print(f"torch.compile left out: {type(error).__name__}: {error}")
        return {}
    return {"torch_ref, compiled": chunk}


def measure_steps(label: str, rounds: int) -> list[Run]:
    """Every contender on one work: speed-up over the fastest torch_ref, Flax and the floor."""
    work, peak = WORKS[label], peak_gflops()
    times = race(step_contenders(work), rounds, label)
    torch_ref = [name for name in times if name.startswith("torch_ref")]
    fastest = min(torch_ref, key=lambda name: float(np.median(times[name])))
    runs = []
    for name, column in times.items():
        run = new_run(name, work, "steps", task=label, fastest_torch_ref=fastest)
        per_step = np.median(column) / work.steps
        run.final = {
            "ms_per_step": 1e3 * per_step,
            **spread("speed_up", times[fastest] / column),
            **spread("speed_up_over_flax", times["flax nn.RNN"] / column),
            "over_floor": np.median(column / times["floor"]),
            "gflops": 1e-9 * work.flops / per_step,
            "peak_gflops": peak,
        }
        run.seconds, run.steps_per_second = float(column.sum()), float(1 / per_step)
        runs.append(run)
    return runs


def measure_projection(rounds: int) -> list[Run]:
    """What projecting adds to a step of the copy task, as a share of it."""
    work = WORKS["copy"]
    contenders = {
        "never": jaxrnn_chunk(work),
        "qr, every 5": jaxrnn_chunk(work, retraction="qr", project_every=5),
    }
    contenders |= {name: jaxrnn_chunk(work, retraction=name) for name in RETRACTIONS}
    times = race(contenders, rounds, "projection")
    runs = []
    for name, column in times.items():
        run = new_run(name, work, "projection")
        run.final = {
            "ms_per_step": 1e3 * np.median(column) / work.steps,
            **spread("cost", column / times["never"] - 1),
        }
        run.seconds = float(column.sum())
        run.steps_per_second = float(work.steps * len(column) / column.sum())
        runs.append(run)
    return runs


def scaled_work(axis: str, value: int) -> Work:
    """The adding problem with T, N or B as given; chunks of about a fifth of a second."""
    sizes = {"T": 100, "N": 100, "B": 16} | {axis: value}
    steps = max(1, int(1e9 // (sizes["T"] * sizes["B"] * sizes["N"] ** 2)))
    return Work(AddingTask(sizes["T"]), sizes["B"], sizes["N"], min(steps, 50))


def measure_scaling(axis: str, rounds: int) -> list[Run]:
    """Time and memory along one axis, and the exponents of their growth."""
    memory: dict[str, Callable[[Work], int]] = {
        "flax nn.RNN": flax_gradient_bytes,
        "jaxrnn": gradient_bytes,
        "jaxrnn, recomputing": lambda work: gradient_bytes(work, recompute=True),
    }
    values = SCALING[axis]
    rows: dict[str, list[dict[str, float]]] = {}
    for value in values:
        work = scaled_work(axis, value)
        contenders = {
            "torch_ref": torch_ref_chunk(work, CORES),
            "flax nn.RNN": flax_chunk(work),
            "jaxrnn": jaxrnn_chunk(work),
            "jaxrnn, recomputing": jaxrnn_chunk(work, recompute=True),
        }
        times = race(contenders, max(3, rounds // 3), f"{axis} = {value}")
        for name, column in times.items():
            row = {
                "ms_per_step": 1e3 * np.median(column) / work.steps,
                "speed_up_over_flax": np.median(times["flax nn.RNN"] / column),
                "temporary_bytes": memory[name](work) if name in memory else np.nan,
            }
            rows.setdefault(name, []).append(row)
    runs = []
    for name, found in rows.items():
        columns = {key: [row[key] for row in found] for key in found[0]}
        run = new_run(name, scaled_work(axis, values[0]), "scaling", axis=axis)
        run.history = {axis: list(values), **columns}
        run.final = {"time_exponent": exponent(values, columns["ms_per_step"])}
        if name in memory:
            run.final["memory_exponent"] = exponent(values, columns["temporary_bytes"])
        runs.append(run)
    return runs


def exponent(x: list[int], y: list[float]) -> float:
    """p of the power law y ∝ x^p, fitted to the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def measure(config: BenchmarkConfig) -> list[Run]:
    """All parts asked for; Interrupted carries the finished ones."""
    runs: list[Run] = []
    with interruptible(runs):
        if "steps" in config.parts:
            for label in WORKS:
                runs += measure_steps(label, config.rounds)
        if "projection" in config.parts:
            runs += measure_projection(config.rounds)
        if "scaling" in config.parts:
            for axis in SCALING:
                runs += measure_scaling(axis, config.rounds)
    return runs


def execute(config: BenchmarkConfig) -> None:
    """Measure, then write and print."""
    cli.require_backends(["jax", "torch"])
    out, session = cli.prepare(config, ["jax", "torch"])
    report.measure_and_write(out, session, lambda: measure(config), draw, print_tables)


def print_tables(runs: list[Run]) -> None:
    """One table for each part."""
    for part, columns in COLUMNS.items():
        found = [run for run in runs if run.settings["part"] == part]
        if not found:
            continue
        table = Table(title=part, title_justify="left")
        for heading in ("", "contender", *columns):
            table.add_column(
                heading, no_wrap=True, justify="left" if heading in "contender" else "right"
            )
        for run in found:
            setting = run.settings.get("task") or run.settings.get("axis") or ""
            cells = (write(run.final) for write in columns.values())
            table.add_row(setting, run.method, *cells)
        report.console.print(table)


def _number(name: str, form: str = ".2f") -> Callable[[dict], str]:
    return lambda final: format(final[name], form) if name in final else "-"


COLUMNS: dict[str, dict[str, Callable[[dict], str]]] = {
    "steps": {
        "ms per step": _number("ms_per_step"),
        "times torch_ref": _number("speed_up"),
        "quartiles": lambda final: f"{final['speed_up_low']:.2f} to {final['speed_up_high']:.2f}",
        "times flax": _number("speed_up_over_flax"),
        "of the floor": _number("over_floor"),
        "GFLOP/s": _number("gflops", ".0f"),
    },
    "projection": {
        "ms per step": _number("ms_per_step"),
        "cost": _number("cost", ".1%"),
        "quartiles": lambda final: f"{final['cost_low']:.1%} to {final['cost_high']:.1%}",
    },
    "scaling": {
        "time exponent": _number("time_exponent"),
        "memory exponent": _number("memory_exponent"),
    },
}
