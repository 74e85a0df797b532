"""Where do gradient norms spike? A search over length, rate, clipping and size.

    python -m experiments.gradient_spikes

Each setting changes one thing of the copy task's defaults and trains a few hundred steps; what
counts is the largest gradient norm before clipping, with and without projection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from experiments.common import cli, figures, report
from experiments.common.jobs import Job, train_jobs
from experiments.common.results import Run
from experiments.common.session import Session
from experiments.copy_task import PRESETS, CopyTaskConfig

METHODS = ("vanilla", "orthogonal_init", "qr")
SETTINGS: dict[str, dict] = {
    "default": {},
    "30 symbols": {"seq_len": 30},
    "100 symbols": {"seq_len": 100},
    "no clipping": {"clip_norm": 0.0},
    "rate 3e-3": {"lr": 3e-3},
    "rate 1e-2": {"lr": 1e-2},
    "rate 1e-2, no clipping": {"lr": 1e-2, "clip_norm": 0.0},
    "64 units": {"hidden": 64},
    "256 units": {"hidden": 256},
    "ReLU": {"activation": "relu"},
    "copy memory 100": PRESETS["copy_memory"],
}


@dataclass(frozen=True)
class GradientSpikesConfig:
    """Search for the settings at which gradient norms spike."""

    steps: int = 300
    """Training steps of each run, rounded up to tens."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 3
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/gradient_spikes."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_counts(self, "steps")
        cli.check_counts(self, "seeds", most=10)  # times eleven settings
        cli.check_counts(self, "seed", least=0)
        try:
            for name in SETTINGS:
                self.settings(name)
        except ValueError as error:
            raise ValueError(f"--steps {self.steps} --seeds {self.seeds}: {error}") from None

    def settings(self, name: str) -> CopyTaskConfig:
        """The copy task under one setting, in ten epochs."""
        samples = -(-self.steps // 10) * CopyTaskConfig().batch_size
        run = {"devices": self.devices, "seed": self.seed, "seeds": self.seeds}
        length = {"epochs": 10, "train_samples": samples, "val_samples": 500}
        return CopyTaskConfig(**{**SETTINGS[name], **length, **run})


def execute(config: GradientSpikesConfig) -> None:
    """Train every method under every setting, then write and print what was measured."""
    cli.require_backends(["jax"], config.devices)
    folder = cli.folder("gradient_spikes", config)
    out, session = cli.prepare("gradient_spikes", config, ["jax"], folder)
    report.measure_and_write(out, session, lambda: train(config, session), draw, print_table)


def jobs(config: GradientSpikesConfig) -> Iterator[Job]:
    """Every method under every setting."""
    for name in SETTINGS:
        copy_task = config.settings(name)
        changed = cli.changed_fields(copy_task, CopyTaskConfig(devices=config.devices))
        changed -= {"seed", "seeds"}
        settings = {field: getattr(copy_task, field) for field in sorted(changed)}
        settings["setting"] = name
        for method in METHODS:
            recipe = copy_task.recipe(method)
            yield Job(f"{name}: {method}", method, recipe, copy_task.schedule, settings)


def train(config: GradientSpikesConfig, session: Session) -> list[Run]:
    """Train every method under every setting; Interrupted carries what was measured."""
    seeds = range(config.seed, config.seed + config.seeds)
    return train_jobs(jobs(config), ["jax"], seeds, session)


def print_table(runs: list[Run]) -> None:
    """The largest gradient norm of each setting and method, over all seeds."""
    table = Table(title="Largest gradient norm before clipping", title_justify="left")
    table.add_column("setting", no_wrap=True)
    for method in METHODS:
        table.add_column(method, justify="right")
    for name in SETTINGS:
        cells = []
        for method in METHODS:
            found = [
                run.final.get("grad_norm_max", np.nan)
                for run in runs
                if run.method == method and run.settings.get("setting") == name
            ]
            cells.append(f"{np.fmax.reduce(found):.3g}" if found else "-")
        table.add_row(name, *cells)
    report.console.print(table)


def draw(results: dict, out: Path) -> list[str]:
    """One row a setting, one dot a run: the largest gradient norm of each."""
    seeds, steps = results["config"]["seeds"], results["config"]["steps"]
    figure, axes = figures.panels(1, 2, f"Where gradients spike: {steps} steps, {seeds} seeds")
    rows = {name: row for row, name in enumerate(reversed(SETTINGS))}
    quantities = {
        "grad_norm_max": "Largest gradient norm, unclipped",
        "spectral_norm_max": "Largest spectral norm of W_hh",
    }
    for panel, (quantity, title) in zip(axes, quantities.items(), strict=True):
        for offset, (method, color) in enumerate(zip(METHODS, figures.PALETTE, strict=False)):
            group = figures.select(results["runs"], method=method)
            points = [
                (run["final"][quantity], rows[run["settings"]["setting"]] + 0.25 * (1 - offset))
                for run in group
                if run["final"].get(quantity)
            ]
            if points:
                panel.scatter(*zip(*points, strict=True), color=color, label=method, s=28)
        panel.set(title=title, xscale="log", yticks=list(rows.values()))
        panel.set_yticklabels(rows if panel is axes[0] else [])
    figures.legend_below(figure, axes[0])
    figures.save(figure, out / "gradient_spikes.png")
    return ["gradient_spikes.png"]


if __name__ == "__main__":
    cli.run(GradientSpikesConfig, execute)
