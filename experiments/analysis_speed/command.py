"""Measure, then write and print."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.analysis_speed.config import AnalysisSpeedConfig
from experiments.benchmark.contenders import Work, backend_of, jaxrnn_chunk, torch_ref_chunk
from experiments.harness.backends.cores import available_cores
from experiments.harness.command import cli
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.timing import Chunk, race, spread
from experiments.harness.text import texts
from experiments.harness.training.runner import interruptible
from jaxrnn import SequenceModel, VanillaCell, diagnostics
from jaxrnn.text import CharacterTask, Text

BATCH, LENGTH, HIDDEN, STEPS = 32, 35, 100, 200
INPUTS_A_TURN = 20_000  # of the diagnostics: a tenth of a second or more
# Networks to look inside: the cell, B and T.
NETWORKS: dict[str, tuple[Callable[[int], nn.RNNCellBase], int, int]] = {
    "vanilla, B 32, T 35": (VanillaCell, 32, 35),
    "vanilla, B 16, T 150": (VanillaCell, 16, 150),
    "vanilla, B 64, T 400": (VanillaCell, 64, 400),
    "GRU, B 32, T 35": (nn.GRUCell, 32, 35),
    "LSTM, B 32, T 35": (nn.OptimizedLSTMCell, 32, 35),
}


def training_contenders() -> dict[str, Chunk]:
    """A chunk of steps by each."""
    task = CharacterTask(Text(texts.english()), LENGTH, BATCH)
    work, cores = Work(task, BATCH, HIDDEN, STEPS), len(available_cores())
    torch = {f"torch_ref, {n} threads": torch_ref_chunk(work, n) for n in sorted({1, cores})}
    return {
        **torch,
        "jaxrnn, one device": jaxrnn_chunk(work, devices=1),
        "jaxrnn": jaxrnn_chunk(work),
    }


def diagnosing(cell: nn.RNNCellBase, B: int, T: int) -> dict[str, Chunk]:
    """The gradient of a cross-entropy, and everything that one backward pass can show."""
    model = SequenceModel(cell, HIDDEN)
    inputs = jax.random.normal(jax.random.key(0), (B, T, HIDDEN))
    classes = jax.random.randint(jax.random.key(1), (B, T), 0, HIDDEN)
    variables = model.init(jax.random.key(2), inputs)

    def loss(outputs: jax.Array, classes: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, classes).mean()

    @jax.jit
    def gradient(variables: Any) -> Any:
        def of_variables(variables: Any) -> jax.Array:
            outputs: Any = model.apply(variables, inputs)
            return loss(outputs, classes)

        return jax.value_and_grad(of_variables)(variables)

    @jax.jit
    def diagnosed(variables: Any) -> Any:
        seen = diagnostics.observe(model, variables, (inputs, classes), loss)
        layer = seen.layers["cell"]
        dead = jax.tree.map(diagnostics.dead_share, layer.states)
        saturation = diagnostics.layer_saturation(layer)
        return seen.gradients, diagnostics.gradient_profile(layer), saturation, dead

    times = max(1, INPUTS_A_TURN // (B * T))
    return {
        "gradient": lambda: repeated(gradient, variables, times),
        "diagnosed": lambda: repeated(diagnosed, variables, times),
    }


def repeated(function: Callable[[Any], Any], variables: Any, times: int) -> object:
    """The last of several results."""
    for _ in range(times):
        result = jax.block_until_ready(function(variables))
    return result


def measure(config: AnalysisSpeedConfig) -> list[Run]:
    """Ratios of both parts; Interrupted carries what was measured."""
    runs: list[Run] = []
    with interruptible(runs):
        if "training" in config.parts:
            times = race(training_contenders(), config.rounds, "training")
            rivals = [row for name, row in times.items() if name.startswith("torch_ref")]
            fastest = min(rivals, key=np.median)
            for name, row in times.items():
                rate = STEPS * BATCH * LENGTH / float(np.median(row))
                final = {**spread("ratio", fastest / row), "characters_per_second": rate}
                runs.append(Run(name, backend_of(name), 0, {"part": "training"}, final=final))
        if "diagnostics" in config.parts:
            for name, (make_cell, B, T) in NETWORKS.items():
                times = race(diagnosing(make_cell(HIDDEN), B, T), config.rounds, name)
                final = spread("ratio", times["diagnosed"] / times["gradient"])
                runs.append(Run(name, "jax", 0, {"part": "diagnostics"}, final=final))
    return runs


def print_ratios(runs: list[Run]) -> None:
    """One line each."""
    for run in runs:
        final = run.final
        ratio = f"{final['ratio']:.2f} ({final['ratio_low']:.2f} to {final['ratio_high']:.2f})"
        if run.settings["part"] == "training":
            speed = f"{final['characters_per_second']:,.0f} characters a second"
            report.console.print(f"{run.method}: {ratio} times as fast as torch_ref, {speed}")
        else:
            report.console.print(f"diagnosing {run.method}: {ratio} times the gradient alone")


def execute(config: AnalysisSpeedConfig) -> None:
    """Measure, then write and print."""
    backends = ["jax", "torch"] if "training" in config.parts else ["jax"]
    cli.require_backends(backends)
    out, session = cli.prepare(config, backends)
    report.measure_and_write(
        out, session, lambda: measure(config), lambda results, out: [], print_ratios
    )
