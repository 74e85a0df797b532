"""A character language model: an RNN that learns text by truncated BPTT.

    python -m experiments.char_lm [--dataset english | --text-file PATH] [--methods vanilla lstm]
    python -m experiments.char_lm --sample 500 --prompt "ROMEO" --temperature 0.8

One-hot characters in, softmax out; streams run through the training split and hand their carry from
one batch to the next. Cross-entropy in nats a character; perplexity is its exponential, and bits
per character are loss / ln 2.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.char_lm_figures import draw, label
from experiments.common import cli, report, texts
from experiments.common.language import Corpus, corpus, first_prompt, measure, named
from experiments.common.recipe import Recipe, Weights, load_backend
from experiments.common.results import Run
from experiments.common.runner import interruptible, train_runs
from experiments.common.schedule import Schedule
from experiments.common.session import Session, saved_states
from jaxrnn.text import CharacterTask

METHODS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "orthogonal": {"recurrent_init": "orthogonal"},
    "qr": {"recurrent_init": "orthogonal", "retraction": "qr"},
    "irnn": {"recurrent_init": "identity", "activation": "relu"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
}
COMPARISONS: dict[str, list[dict[str, Any]]] = {
    "sizes": [
        {"hidden": hidden, "seq_len": seq_len}
        for hidden, seq_len in ((25, 15), (50, 25), (100, 35))
    ],
    "datasets": [{"dataset": name} for name in texts.DATASETS],
    "projection": [{"seq_len": seq_len} for seq_len in (10, 25, 50, 100, 200)],
}
PRESETS: dict[str, dict] = {
    # The best cell, larger, for longer.
    "long": {
        "preset": "long",
        "methods": ("lstm",),
        "hidden": 256,
        "seq_len": 100,
        "epochs": 30,
    },
    "sizes": {"compare": "sizes", "seeds": 3},
    "datasets": {"compare": "datasets", "seeds": 3},
    "projection": {
        "compare": "projection",
        "methods": ("vanilla", "orthogonal", "qr"),
        "seeds": 2,
    },
}
COLUMNS = {
    "test loss": "test_loss",
    "perplexity": "perplexity",
    "bits/char": "bits_per_character",
    "unigram": "unigram_bits",
    "bigram": "bigram_bits",
    "entropy": "entropy_bits",
    "vocabulary": "vocabulary",
}
EVALUATED = 50  # sequences of a split to measure a loss on: 100,000 characters


@dataclass(frozen=True)
class CharLMConfig:
    """Train recurrent networks to foretell the next character of a text."""

    dataset: Literal["simple", "numbers", "code", "english", "shakespeare"] = "shakespeare"
    """Text: generated sentences or counts, Python's sources or reference, or 38 plays."""
    text_file: Path | None = None
    """A file to learn instead, in UTF-8."""
    backend: Literal["jax", "torch", "numpy", "both"] = "jax"
    """Framework; numpy: from scratch; both: JAX and PyTorch from the same weights."""
    methods: tuple[Literal["vanilla", "orthogonal", "qr", "irnn", "gru", "lstm"], ...] = (
        "vanilla",
    )
    """Which networks to train."""
    compare: Literal["sizes", "datasets", "projection"] | None = None
    """A ready-made comparison: of N and T, of texts, or of projection and T."""
    preset: Literal["long"] | None = None
    """Other defaults: a larger LSTM, for longer."""
    seq_len: int = 35
    """T, characters that a gradient reaches back."""
    hidden: int = 100
    """N, hidden units."""
    batch_size: int = 32
    """B, streams."""
    epochs: int = 20
    """Epochs, each ended by a validation."""
    train_characters: int = 1_000_000
    """Characters that an epoch reads, rounded down to whole batches."""
    lr: float = 2e-3
    """Adam's learning rate."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0: no clipping."""
    project_every: int = 1
    """Steps between projections of the method qr; 0: never."""
    track_every: int = 100
    """Steps between measurements of the spectral norm."""
    sample: int = 0
    """Characters of generated text to print."""
    prompt: str = ""
    """What generated text goes on from; empty: a new line."""
    temperature: float = 1.0
    """Of generated text; below 1, likely characters are favoured."""
    load: Path | None = None
    """A folder of checkpoints (--checkpoint-dir) to generate text from, without training."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 1
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/char_lm, or a folder in it for other settings."""
    text_hash: Annotated[str, tyro.conf.Suppress] = ""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_distinct(self, "methods")
        cli.check_counts(self, "seq_len", "hidden", "batch_size", "epochs", "train_characters")
        cli.check_counts(self, "track_every")
        cli.check_counts(self, "seeds", most=cli.MAX_SEEDS)
        cli.check_counts(self, "project_every", "seed", "sample", least=0)
        cli.check_rates(self, "lr", "temperature")
        cli.check_rates(self, "clip_norm", zero=True)
        cli.check_devices(self)
        if self.devices != "auto" and "jax" not in self.backends:
            raise ValueError(f"--devices is for --backend jax or both, not {self.backend}")
        if self.backend == "numpy" and {"gru", "lstm"} & set(self.methods):
            raise ValueError("--backend numpy has no --methods gru or lstm")
        self._check_modes()
        states = self.batch_size * self.seq_len * self.hidden
        sizes = ("batch_size", "seq_len", "hidden", "seeds")
        cli.check_memory(self, states + 4 * self.seeds * self.hidden**2, *sizes)

    def _check_modes(self) -> None:
        """ValueError where options would have no effect."""
        if self.text_file and self.compare == "datasets":
            raise ValueError("--compare datasets decides about --text-file itself")
        if self.load and not self.sample:
            raise ValueError("--load needs --sample, the number of characters to generate")

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends asked for."""
        return ("jax", "torch") if self.backend == "both" else (self.backend,)

    @property
    def swept(self) -> list[dict[str, Any]]:
        """What the runs change of this configuration, one after the other."""
        return COMPARISONS[self.compare] if self.compare else [{}]

    def corpus(self, settings: dict[str, Any]) -> Corpus:
        """The text of a run."""
        return corpus(settings.get("dataset", self.dataset), self.text_file)

    def schedule(self, settings: dict[str, Any]) -> Schedule:
        """Epochs and sizes."""
        characters = self.batch_size * settings.get("seq_len", self.seq_len)
        steps = max(1, self.train_characters // characters)
        return Schedule(self.epochs, steps, self.batch_size, EVALUATED, test_samples=EVALUATED)

    def recipe(self, method: str, settings: dict[str, Any]) -> Recipe:
        """How a method trains under this configuration, changed by some settings.

        Raises:
          ValueError: a text that is too short.
        """
        parts = dict(METHODS[method])
        if self.project_every == 0:
            parts["retraction"] = None
        text = self.corpus(settings).text
        return Recipe(
            task=CharacterTask(text, settings.get("seq_len", self.seq_len), self.batch_size),
            hidden=settings.get("hidden", self.hidden),
            lr=self.lr,
            clip_norm=self.clip_norm,
            project_every=self.project_every or 1,
            track_every=self.track_every,
            devices=None if self.devices == "auto" else self.devices,
            **parts,
        )

    def measure(
        self, recipe: Recipe, settings: dict[str, Any]
    ) -> Callable[[Run, Weights], dict[str, Any]]:
        """What is measured when a run has been trained."""
        return partial(
            measure,
            self.corpus(settings),
            recipe,
            prompt=self.prompt,
            temperature=self.temperature,
            length=self.sample,
        )

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written: only the defaults go to char_lm."""
        values = PRESETS.get(self.compare or self.preset or "", {})
        of_no_effect = {"backend", "devices", "sample", "prompt", "load", "text_hash"}
        changed = cli.changed_fields(self, CharLMConfig(**values)) - of_no_effect
        parts = {
            self.compare or "": self.compare is not None,
            self.preset or "": self.preset is not None,
            self.backend: self.backend != "jax",
            "custom": bool(changed),
        }
        return Path("char_lm", *(part for part, is_named in parts.items() if is_named))


def jobs(config: CharLMConfig) -> Iterator[tuple[dict[str, Any], str, str]]:
    """What the runs change, the methods to train, and the backends."""
    yield from itertools.product(config.swept, config.methods, config.backends)


def train(config: CharLMConfig, session: Session) -> list[Run]:
    """Train everything that was asked for; Interrupted carries what was measured."""
    runs: list[Run] = []
    seeds = range(config.seed, config.seed + config.seeds)
    with interruptible(runs):
        for settings, method, backend in jobs(config):
            recipe, schedule = config.recipe(method, settings), config.schedule(settings)
            weights: list[Weights] | None = None
            if config.backend == "both":
                initial = load_backend("jax").initial_weights
                weights = [initial(recipe, seed) for seed in seeds]
            name = f"{label(method, settings)} ({backend})"
            with report.progress(name, schedule) as on_chunk:
                runs += train_runs(
                    method,
                    recipe,
                    schedule,
                    seeds,
                    backend,
                    weights,
                    settings,
                    session,
                    on_chunk,
                    config.measure(recipe, settings),
                )
    return runs


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
    config, folder = dataclasses.replace(config, text_hash=" ".join(hashes)), config.folder
    out, session = cli.prepare("char_lm", config, config.backends, folder)

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
    report.console.print(text, markup=False)


def generate(config: CharLMConfig) -> None:
    """Print text of the networks in a folder of checkpoints."""
    assert config.load is not None
    try:
        saved, job, states = saved_states(config.load, "char_lm")
        trained = CharLMConfig(**_fields(saved))
        source = trained.corpus(job["settings"])
        first = first_prompt(source.text, config.prompt)
        recipe = trained.recipe(job["method"], job["settings"])
    except ValueError as error:
        cli.fail(str(error))
    cli.require_backends([job["backend"]])
    library = load_backend(job["backend"])
    for seed, state in zip(job["seeds"], states, strict=True):
        weights = library.weights_of(recipe, state)
        drawn = library.sample(
            recipe, weights, first, config.sample, config.temperature, config.seed
        )
        name = label(job["method"], job["settings"])
        print_sample(f"{name}, seed {seed}", config.prompt + source.text.decode(drawn))


def _fields(saved: dict[str, Any]) -> dict[str, Any]:
    """A configuration's fields from JSON."""
    path = saved["text_file"]
    return {**saved, "methods": tuple(saved["methods"]), "text_file": path and Path(path)}


if __name__ == "__main__":
    cli.run(CharLMConfig, execute, PRESETS)
