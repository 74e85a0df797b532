"""Why recurrent networks break, in five figures: where gradients go, and what training makes of it.

    python -m experiments.gradient_analysis [--quick]

    rnn_training_analysis             a vanilla network learns text
    gradient_flow_analysis            the gradient on its way back: lengths, networks, rates
    weight_initialization_analysis    the same by how W_hh begins
    sequence_length_analysis          loss, gradient norm and time against T
    gradient_clipping_analysis        SGD with and without clipping

results.json has every panel's points by figure, panel and name.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from experiments.common import cli, report
from experiments.common.language import Corpus, corpus
from experiments.common.panels import Series
from experiments.common.recipe import Recipe
from experiments.common.results import Run
from experiments.common.runner import interruptible
from experiments.common.session import Session
from experiments.gradient_analysis_figures import SGD_LR, draw
from experiments.gradient_flow import FLOW_LENGTHS, flow_series, init_series, initial_params
from experiments.gradient_training import (
    Trainer,
    clipping_series,
    length_series,
    trained_networks,
    training_series,
)
from jaxrnn import convert
from jaxrnn.text import CharacterTask

ADAM_LR = 3e-3  # as in char_lm
CLIPPINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "norm 10": {"clip_norm": 10.0},
    "norm 5": {"clip_norm": 5.0},
    "norm 1": {"clip_norm": 1.0},
    "norm 0.5": {"clip_norm": 0.5},
    "norm 0.1": {"clip_norm": 0.1},
    "value 0.1": {"clip_value": 0.1},
    "value 0.01": {"clip_value": 0.01},
}


@dataclass(frozen=True)
class Size:
    """How much of everything: the whole analysis, or enough to see that it works."""

    steps: int
    epochs: int
    lengths: tuple[int, ...]
    length_characters: int
    clippings: tuple[str, ...]
    flow_lengths: tuple[int, ...]
    sequences: int


WHOLE = Size(
    steps=3_000,
    epochs=20,
    lengths=(5, 10, 15, 20, 25, 30, 40, 60, 100),
    length_characters=1_000_000,
    clippings=tuple(CLIPPINGS),
    flow_lengths=FLOW_LENGTHS,
    sequences=256,
)
QUICK = Size(
    steps=60,
    epochs=3,
    lengths=(5, 20),
    length_characters=20_000,
    clippings=("none", "norm 1"),
    flow_lengths=(5, 25),
    sequences=16,
)


@dataclass(frozen=True)
class GradientAnalysisConfig:
    """Draw where the gradients of recurrent networks go, on text."""

    dataset: Literal["simple", "numbers", "code", "english", "shakespeare"] = "shakespeare"
    """Text; see experiments.char_lm."""
    quick: bool = False
    """A minute instead of ten: fewer lengths, steps and settings."""
    seq_len: int = 35
    """T, characters that a gradient reaches back, where it is not what is varied."""
    hidden: int = 100
    """N, hidden units."""
    batch_size: int = 32
    """B, streams."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 3
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/gradient_analysis."""

    def __post_init__(self) -> None:
        cli.check_counts(self, "seq_len", "hidden", "batch_size")
        cli.check_counts(self, "seeds", most=10)
        cli.check_counts(self, "seed", least=0)
        cli.check_devices(self)
        numbers = self.batch_size * max(self.size.lengths) * self.hidden + 4 * self.hidden**2
        cli.check_memory(self, self.seeds * numbers, "batch_size", "hidden", "seeds")

    @property
    def size(self) -> Size:
        """How much of everything."""
        return QUICK if self.quick else WHOLE

    @property
    def corpus(self) -> Corpus:
        """The text."""
        return corpus(self.dataset)

    @property
    def recipe(self) -> Recipe:
        """A vanilla network on the text.

        Raises:
          ValueError: a text that is too short.
        """
        longest = CharacterTask(self.corpus.text, max(self.size.lengths), self.batch_size)
        return Recipe(
            task=CharacterTask(longest.text, self.seq_len, self.batch_size),
            hidden=self.hidden,
            lr=ADAM_LR,
            clip_norm=1.0,
            track_every=100,
            devices=None if self.devices == "auto" else self.devices,
        )


def measure(config: GradientAnalysisConfig, session: Session) -> list[Run]:
    """All series of the five figures; Interrupted carries those that are finished."""
    runs: list[Run] = []
    with interruptible(runs):
        for series in analyses(config, session):
            runs += [each.as_run() for each in series]
    return runs


def analyses(config: GradientAnalysisConfig, session: Session) -> Iterable[list[Series]]:
    """The series of one figure after the other."""
    size, recipe, source = config.size, config.recipe, config.corpus
    task = recipe.task
    assert isinstance(task, CharacterTask)
    seeds = range(config.seed, config.seed + config.seeds)
    train = Trainer(session, seeds, size.epochs)
    series, vanilla = training_series(train, "vanilla", recipe, source, size.steps)
    yield series
    yield init_series(task, config.hidden, size.sequences, seeds)
    networks = {
        name: initial_params(task, config.hidden, init, config.seed)
        for name, init in (
            ("vanilla", "uniform ±1/√N"),
            ("identity", "identity"),
            ("orthogonal", "orthogonal"),
        )
    }
    projected = replace(recipe, recurrent_init="orthogonal", retraction="qr")
    qr = trained_networks(train, "QR", projected, size.steps)
    for name, trained in (("vanilla, trained", vanilla), ("QR, trained", qr)):
        if trained:
            networks[name] = convert.from_weights(trained[0])
    yield flow_series(task, networks, size.sequences, size.flow_lengths)
    yield length_series(train, recipe, size.lengths, size.length_characters)
    sgd = replace(recipe, optimizer="sgd", lr=SGD_LR, clip_norm=0.0)
    settings = {name: CLIPPINGS[name] for name in size.clippings}
    yield clipping_series(train, sgd, settings, size.steps // 2)


def print_table(runs: list[Run]) -> None:
    """How gradients decay, by network."""
    table = Table(title="Change of ln ‖∂L/∂h_0‖ per step", title_justify="left")
    rows = [run for run in runs if run.settings.get("panel") == "rates"]
    for heading in ("network", *(rows[0].final["x"] if rows else ())):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for run in rows:
        cells = [f"{value:.3g}" if np.isfinite(value) else "-" for value in run.final["y"]]
        table.add_row(run.settings["series"], *cells)
    report.console.print(table)


def execute(config: GradientAnalysisConfig) -> None:
    """Measure and train, then write and print what was found."""
    cli.require_backends(["jax"], config.devices)
    try:
        config.recipe  # noqa: B018 — a text that is too short, or not there
    except ValueError as error:
        cli.fail(str(error))
    folder = cli.folder("gradient_analysis", config, apart_from=["devices"])
    out, session = cli.prepare("gradient_analysis", config, ["jax"], folder)
    report.measure_and_write(out, session, lambda: measure(config, session), draw, print_table)


if __name__ == "__main__":
    cli.run(GradientAnalysisConfig, execute)
