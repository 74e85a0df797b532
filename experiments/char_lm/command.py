"""Measure, then write and print."""

import dataclasses
import itertools
from collections.abc import Iterator

from experiments.char_lm.config import CharLMConfig
from experiments.char_lm.figure import draw, label
from experiments.harness.backends.backend import load_backend
from experiments.harness.command import cli
from experiments.harness.records.input_files import harmless
from experiments.harness.records.results import Run
from experiments.harness.running import report
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session, saved_job
from experiments.harness.text.language import first_prompt, named
from experiments.harness.training.runner import Job

COLUMNS = {
    "test loss": "test_loss",
    "perplexity": "perplexity",
    "bits/char": "bits_per_character",
    "unigram": "unigram_bits",
    "bigram": "bigram_bits",
    "entropy": "entropy_bits",
    "vocabulary": "vocabulary",
}


def jobs(config: CharLMConfig) -> Iterator[Job]:
    """The networks to train, with the settings that each run changes."""
    for settings, method in itertools.product(config.swept, config.methods):
        recipe, schedule = config.recipe(method, settings), config.schedule(settings)
        name, measure = label(method, settings), config.measure(recipe, settings)
        yield Job(name, method, recipe, schedule, settings, measure)


def train(config: CharLMConfig, session: Session) -> list[Run]:
    """Train everything that was asked for; Interrupted carries what was measured."""
    return train_jobs(jobs(config), config.backends, config.all_seeds, session)


def execute(config: CharLMConfig) -> None:
    """Train, then write and print what was measured, also after Ctrl-C."""
    if config.load is not None:
        return generate(config)
    cli.require_backends(config.backends, config.devices)
    try:
        for settings in config.swept:
            config.recipe(config.methods[0], settings)  # a text that is too short
            first_prompt(config.corpus(settings).text, config.prompt)
    except ValueError as error:
        cli.fail(str(error))
    hashes = dict.fromkeys(config.corpus(settings).hash for settings in config.swept)
    config = dataclasses.replace(config, text_hash=" ".join(hashes))
    out, session = cli.prepare(config, config.backends)

    def print_runs(runs: list[Run]) -> None:
        name = lambda run: label(run.method, run.settings)  # noqa: E731
        title = f"Character language model: {named(vars(config))}"
        report.print_table(title, runs, None, COLUMNS, name)
        if config.sample:
            for run in runs:
                print_sample(name(run), run.final.get("sample", ""))

    report.measure_and_write(out, session, lambda: train(config, session), draw, print_runs)


def print_sample(name: str, text: str) -> None:
    """A sample under its network's name."""
    report.console.rule(name, align="left")
    report.console.print(harmless(text, keep="\n\t"), markup=False)


def generate(config: CharLMConfig) -> None:
    """Print text of the networks in a folder of checkpoints."""
    assert config.load is not None
    try:
        experiment, saved, job, snapshots = saved_job(config.load)
        if experiment != "char_lm":
            raise ValueError(f"{config.load} is of {experiment}, not of char_lm")
        trained = CharLMConfig.from_json(saved)
        config.check_trained_as(trained)
        source = trained.corpus(job["settings"])
        trained.check_text(job["settings"])
        first = first_prompt(source.text, config.prompt)
        recipe = trained.recipe(job["method"], job["settings"])
    except ValueError as error:
        cli.fail(str(error).replace("--checkpoint-dir", "--load"))  # as the user calls it
    cli.require_backends([job["backend"]])
    library = load_backend(job["backend"])
    for seed, snapshot in zip(job["seeds"], snapshots, strict=True):
        weights = library.weights_of(recipe, snapshot.state)
        drawn = library.sample(
            recipe, weights, first, config.sample, config.temperature, config.seed
        )
        name = label(job["method"], job["settings"])
        print_sample(f"{name}, seed {seed}", config.prompt + source.text.decode(drawn))
