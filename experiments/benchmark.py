"""How fast is a training step, and what does projecting cost?

    python -m experiments.benchmark

A full step of the copy task (forward, backward, clip, Adam) by each contender, warm, the
contenders in turn within every round, so that a slow moment of the machine meets all of them. What
counts is the ratio to the bare torch.nn.RNN loop in the same round: its median and quartiles.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from rich.table import Table

from experiments.common import cli, figures, report
from experiments.common.recipe import Recipe, load_backend
from experiments.common.results import Run
from experiments.common.runner import Interrupted
from jaxrnn.tasks import Batch, CopyTask

BARE = "torch.nn.RNN, bare loop"


@dataclass(frozen=True)
class BenchmarkConfig:
    """Time training steps of both frameworks in turn."""

    hidden: int = 128
    """N, hidden units."""
    seq_len: int = 10
    """Symbols of the copy task."""
    batch_size: int = 128
    """B, sequences per step."""
    steps: int = 40
    """Steps of each contender in a round."""
    rounds: int = 25
    """Rounds; every contender runs once in each."""
    out: Path | None = None
    """Folder to write to; default: figures/benchmark."""

    def __post_init__(self) -> None:
        cli.check_counts(self, "hidden", "seq_len", "batch_size", "steps", "rounds")
        predictions = self.batch_size * (2 * self.seq_len + 1)
        numbers = predictions * (2 * self.steps + self.hidden) + 4 * self.hidden**2
        cli.check_memory(self, numbers, "batch_size", "seq_len", "steps", "hidden")

    def recipe(self, **changes: Any) -> Recipe:
        """The copy task as the copy experiment trains it, spectral norms not measured."""
        unprojected = Recipe(
            task=CopyTask(self.seq_len),
            hidden=self.hidden,
            recurrent_init="orthogonal",
            clip_norm=1.0,
            track_every=self.steps,
        )
        return dataclasses.replace(unprojected, **changes)


def bare_torch_loop(config: BenchmarkConfig) -> Callable[[Batch], object]:
    """The loop that a PyTorch user would write: nothing measured but the loss."""
    import torch  # an extra; execute has made sure of it

    task = CopyTask(config.seq_len)
    rnn = torch.nn.RNN(task.num_inputs, config.hidden, batch_first=True)
    readout = torch.nn.Linear(config.hidden, task.num_outputs)
    params = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(params, 1e-3, fused=True)

    def chunk(batch: Batch) -> float:
        inputs, targets = (torch.as_tensor(array) for array in batch)
        for tokens, classes in zip(inputs, targets, strict=True):
            optimizer.zero_grad()
            one_hot = torch.nn.functional.one_hot(tokens.long(), task.num_inputs).float()
            logits = readout(rnn(one_hot)[0])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), classes.flatten().long())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            value = loss.item()
        return value

    return chunk


def contenders(config: BenchmarkConfig) -> dict[str, Callable[[Batch], object]]:
    """Functions that train one chunk of steps and return when it is done."""
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "torch_ref": ("torch", {}),
        "torch_ref, QR every step": ("torch", {"retraction": "qr"}),
        "jaxrnn": ("jax", {}),
        "jaxrnn, QR every step": ("jax", {"retraction": "qr"}),
        "jaxrnn, QR every 5": ("jax", {"retraction": "qr", "project_every": 5}),
        "jaxrnn, polar every step": ("jax", {"retraction": "polar"}),
        "jaxrnn, fused recurrence": ("jax", {"recurrence": "fused"}),
    }
    return {BARE: bare_torch_loop(config)} | {
        name: trained_chunk(backend, config.recipe(**changes))
        for name, (backend, changes) in variants.items()
    }


def trained_chunk(backend: str, recipe: Recipe) -> Callable[[Batch], object]:
    """A chunk of a recipe's training, by the backend's own trainer."""
    library = load_backend(backend)
    trainer = library.make_trainer(recipe, [library.initial_weights(recipe, 0)])
    return lambda batch: trainer.train([batch])


def measure(config: BenchmarkConfig) -> dict[str, np.ndarray]:
    """Milliseconds per step of each contender in each round, after two rounds of warming up.

    After Ctrl-C the rounds are fewer; before the first of them it is raised.
    """
    rng = np.random.default_rng(0)
    batch = CopyTask(config.seq_len).sample(rng, config.steps, config.batch_size)
    found = contenders(config)
    times: dict[str, list[float]] = {name: [] for name in found}
    try:
        for _ in track(range(config.rounds + 2), "rounds", console=report.console):
            for name, chunk in found.items():
                start = time.perf_counter()
                chunk(batch)
                times[name].append(1e3 * (time.perf_counter() - start) / config.steps)
    except KeyboardInterrupt:
        if min(map(len, times.values())) < 3:
            raise
    whole = min(map(len, times.values()))
    return {name: np.array(column[2:whole]) for name, column in times.items()}


def summarize(config: BenchmarkConfig) -> list[Run]:
    """A run for each contender; Interrupted carries those of the rounds before Ctrl-C."""
    times = measure(config)
    interrupted = len(times[BARE]) < config.rounds
    runs = []
    for name, column in times.items():
        ratios = column / times[BARE]
        final = {
            "ms_per_step": np.median(column),
            "ratio": np.median(ratios),
            "ratio_low": np.quantile(ratios, 0.25),
            "ratio_high": np.quantile(ratios, 0.75),
        }
        backend = "jax" if name.startswith("jaxrnn") else "torch"
        run = Run(name, backend, 0, final=final, seconds=1e-3 * column.sum() * config.steps)
        run.steps_per_second = 1e3 / float(final["ms_per_step"])
        run.status = "interrupted" if interrupted else "completed"
        runs.append(run)
    if interrupted:
        raise Interrupted(runs)
    return runs


def execute(config: BenchmarkConfig) -> None:
    """Measure, then write and print."""
    cli.require_backends(["jax", "torch"])
    out = cli.prepare_out(config.out, cli.folder("benchmark", config))
    backends = ["jax", "torch"]
    report.measure_and_write(
        out, "benchmark", config, backends, lambda: summarize(config), draw, print_table
    )


def print_table(runs: list[Run]) -> None:
    """Time and ratio of every contender."""
    table = Table(title="A training step of the copy task", title_justify="left")
    table.add_column("contender", no_wrap=True)
    for heading in ("ms per step", "ratio", "quartiles"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in runs:
        final = run.final
        quartiles = f"{final['ratio_low']:.2f} to {final['ratio_high']:.2f}"
        table.add_row(run.method, f"{final['ms_per_step']:.2f}", f"{final['ratio']:.2f}", quartiles)
    report.console.print(table)


def draw(results: dict, out: Path) -> list[str]:
    """A bar for each contender: its time relative to the bare torch loop."""
    figure, axes = figures.panels(1, 1, "A step of the copy task")
    runs = results["runs"][::-1]
    final = {key: np.array([run["final"][key] for run in runs]) for key in runs[0]["final"]}
    ratio = final["ratio"]
    spread = np.stack([ratio - final["ratio_low"], final["ratio_high"] - ratio])
    colors = [figures.PALETTE[2 if run["backend"] == "jax" else 0] for run in runs]
    axes[0].barh([run["method"] for run in runs], ratio, xerr=spread, color=colors, height=0.6)
    axes[0].axvline(1.0, color="0.35", linestyle="--", linewidth=1.2)
    axes[0].set_xlabel("time relative to torch.nn.RNN", loc="left")
    figures.save(figure, out / "benchmark.png")
    return ["benchmark.png"]


if __name__ == "__main__":
    cli.run(BenchmarkConfig, execute)
