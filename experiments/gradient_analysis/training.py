"""How training depends on length and on clipping: panels of the gradient analysis.

Every run is an ordinary one of the character language model; several seeds train at once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.gradient_analysis.flow import slope, spread
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.panels import Series
from experiments.harness.records.results import Run
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.text.language import Corpus, measure
from experiments.harness.training.runner import Job
from jaxrnn.text import CharacterTask

TRAINING, LENGTHS = "rnn_training_analysis", "sequence_length_analysis"
CLIPPING = "gradient_clipping_analysis"
EVALUATED = 20  # sequences of 2000 characters
SPIKE = 3.0  # times the median gradient norm of a run


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains recipes of one text for one command.

    Attributes:
      session: of the command.
      seeds: one run each.
      epochs: of each run.
    """

    session: Session
    seeds: Sequence[int]
    epochs: int

    def __call__(
        self,
        name: str,
        recipe: Recipe,
        steps: int,
        measure: Callable[[Run, Weights], dict[str, Any]] | None = None,
        epochs: int | None = None,
    ) -> list[Run]:
        """The runs of a recipe over ``steps`` steps, rounded up to whole epochs."""
        epochs = epochs or self.epochs
        per_epoch = -(-steps // epochs)
        assert recipe.streams is not None
        schedule = Schedule(
            epochs, per_epoch, recipe.streams, val_samples=EVALUATED, test_samples=EVALUATED
        )
        job = Job(name, name, recipe, schedule, measure=measure)
        return train_jobs([job], ["jax"], self.seeds, self.session)


def training_series(
    train: Trainer, name: str, recipe: Recipe, source: Corpus, steps: int
) -> tuple[list[Series], list[Weights]]:
    """The panels of rnn_training_analysis.png, and the networks."""
    networks: list[Weights] = []

    def keep_and_measure(run: Run, weights: Weights) -> dict[str, Any]:
        networks.append(weights)
        return measure(source, recipe, run, weights, prompt="", temperature=1.0, length=0)

    runs = train(name, recipe, steps, keep_and_measure)
    make = partial(Series, TRAINING)
    epochs = runs[0].history["epoch"]
    found = []
    for name, column in (("training", "train_loss"), ("validation", "val_loss")):
        losses = np.array([run.history[column] for run in runs])
        found.append(make("loss", name, epochs, *spread(losses)))
        found.append(make("perplexity", name, epochs, *spread(np.exp(losses))))
    norms = np.array([run.steps["grad_norm"] for run in runs])
    buckets = np.array_split(np.arange(norms.shape[1]), min(100, norms.shape[1]))
    places = [int(bucket[0]) for bucket in buckets]
    middle = np.array([[np.median(row[bucket]) for bucket in buckets] for row in norms])
    largest = np.array([[row[bucket].max() for bucket in buckets] for row in norms])
    found.append(make("gradient norm", "median", places, *spread(middle)))
    found.append(make("gradient norm", "largest", places, *spread(largest)))
    final = runs[0].final
    if "shown_characters" in final:
        shown = list(final["shown_characters"])
        found.append(make("characters", "text", shown, final["text_frequencies"]))
        found.append(make("characters", "sample", shown, final["sample_frequencies"]))
    for name, entropy in (
        ("unigram baseline", source.text.unigram_entropy("validation")),
        ("bigram baseline", source.text.bigram_entropy("validation")),
    ):
        found.append(make("loss", name, [epochs[0], epochs[-1]], [entropy] * 2))
    return found, networks


def trained_networks(train: Trainer, name: str, recipe: Recipe, steps: int) -> list[Weights]:
    """The networks alone, of each seed that was trained to its end."""
    networks: list[Weights] = []

    def keep(run: Run, weights: Weights) -> dict[str, Any]:
        networks.append(weights)
        return {}

    train(name, recipe, steps, keep)
    return networks


def length_series(
    train: Trainer, recipe: Recipe, lengths: Sequence[int], characters: int
) -> list[Series]:
    """The panels of sequence_length_analysis.png: as much text for every T, or as many steps."""
    task, make = recipe.task, partial(Series, LENGTHS)
    assert isinstance(task, CharacterTask)
    middle = sorted(lengths)[len(lengths) // 2]
    columns: dict[tuple[str, str], list[np.ndarray]] = {}
    trained: dict[tuple[int, int], list[Run]] = {}  # both budgets meet in the middle
    for budget in ("as much text", "as many steps"):
        for T in lengths:
            steps = characters // (task.streams * (T if budget == "as much text" else middle))
            changed = dataclasses.replace(recipe, task=dataclasses.replace(task, seq_len=T))
            name = f"T = {T}, {budget}"
            if (T, steps) not in trained:
                # Only how they end is shown. (The first of the epochs compiles, and is not timed.)
                trained[T, steps] = train(name, changed, steps, epochs=min(4, train.epochs))
            runs = trained[T, steps]
            losses = np.array([run.final.get("test_loss", np.nan) for run in runs])
            norms = np.array([np.median(run.steps["grad_norm"]) for run in runs])
            milliseconds = np.array([1e3 / run.steps_per_second for run in runs])
            for panel, values in (
                ("loss", losses / np.log(2)),
                ("perplexity", np.exp(losses)),
                ("gradient norm", norms),
                ("time", milliseconds),
            ):
                columns.setdefault((panel, budget), []).append(values)
    found = [
        make(panel, budget, lengths, *spread(np.array(values).T))
        for (panel, budget), values in columns.items()
        if panel != "time"
    ]
    rows = [columns["time", budget] for budget in ("as much text", "as many steps")]
    times = np.median(np.concatenate(rows, axis=1), axis=1)
    exponent = slope(np.log(lengths), np.log(times))
    found.append(make("time", "milliseconds a step", lengths, times))
    found.append(make("exponent", "T", ["exponent"], [exponent]))
    return found


def clipping_series(
    train: Trainer, recipe: Recipe, settings: dict[str, dict[str, Any]], steps: int
) -> list[Series]:
    """The panels of gradient_clipping_analysis.png."""
    make, found = partial(Series, CLIPPING), []
    for name, changes in settings.items():
        runs = train(name, dataclasses.replace(recipe, **changes), steps)
        length = min(len(run.history["epoch"]) for run in runs)
        losses = np.array([run.history["train_loss"][:length] for run in runs])
        norms = np.array([run.history["grad_norm_max"][:length] for run in runs])
        epochs = runs[0].history["epoch"][:length]
        if length:
            found.append(make("loss", name, epochs, *spread(losses / np.log(2))))
            found.append(make("gradient norm", name, epochs, *spread(norms)))
        final = np.array([run.final.get("test_loss", np.nan) for run in runs]) / np.log(2)
        spikes = np.array([share_of_spikes(run) for run in runs])
        found.append(make("final loss", name, [name], *spread(final[:, None])))
        found.append(make("stability", name, [name], *spread(spikes[:, None])))
    return found


def share_of_spikes(run: Run) -> float:
    """The share of steps whose gradient norm is above SPIKE times the run's median; 1: diverged."""
    norms = np.asarray(run.steps["grad_norm"])
    return 1.0 if run.status == "diverged" else float((norms > SPIKE * np.median(norms)).mean())
