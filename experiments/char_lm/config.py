"""The character language model's settings: networks, comparisons, and every option."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.harness.command import options
from experiments.harness.method.recipe import Method, Recipe, Weights
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run
from experiments.harness.saving.session import option
from experiments.harness.text import texts
from experiments.harness.text.language import Corpus, corpus, measure
from jaxrnn.text import CharacterTask

METHODS = {
    "vanilla": Method("tanh", {}),
    "orthogonal": Method("tanh, orthogonal init", {"recurrent_init": "orthogonal"}),
    "qr": Method("tanh, QR projection", {"recurrent_init": "orthogonal", "retraction": "qr"}),
    "irnn": Method("IRNN", {"recurrent_init": "identity", "activation": "relu"}),
    "gru": Method("GRU", {"cell": "gru"}),
    "lstm": Method("LSTM", {"cell": "lstm"}),
}
COMPARISONS: dict[str, list[dict[str, Any]]] = {
    "sizes": [
        {"hidden": hidden, "seq_len": seq_len}
        for hidden, seq_len in ((25, 15), (50, 25), (100, 35))
    ],
    "datasets": [{"dataset": name} for name in texts.DATASETS],
    "cells": [{}],
    "projection": [{"seq_len": seq_len} for seq_len in (10, 25, 50, 100, 200)],
}
PRESETS: dict[str, dict] = {
    # The best of the cells, larger, with a longer reach.
    "long": {"preset": "long", "methods": ("gru",), "hidden": 128, "seq_len": 64},
    "sizes": {"compare": "sizes", "seeds": 3, "epochs": 5},
    "datasets": {"compare": "datasets", "seeds": 2, "epochs": 5},
    "cells": {"compare": "cells", "methods": tuple(METHODS), "seeds": 2, "epochs": 5},
    "projection": {
        "compare": "projection",
        "methods": ("vanilla", "orthogonal", "qr"),
        "seeds": 2,
        "epochs": 5,
    },
}
EVALUATED = 50  # sequences of a split to measure a loss on: 100,000 characters


@dataclass(frozen=True)
class CharLMConfig(options.TrainingOptions):
    """Train recurrent networks to predict the next character of a text."""

    dataset: Annotated[str, options.one_of(texts.DATASETS)] = "shakespeare"
    """Text: generated sentences or counts, Python's sources or reference, or 38 plays."""
    text_file: Path | None = None
    """A file to learn instead, in UTF-8."""
    backend: Literal["jax", "torch", "numpy", "both"] = "jax"
    """Framework; numpy: from scratch; both: JAX and PyTorch from the same weights."""
    methods: tuple[Annotated[str, options.one_of(METHODS)], ...] = ("vanilla",)
    """Which networks to train."""
    compare: Literal["sizes", "datasets", "cells", "projection"] | None = None
    """A ready-made comparison: of N and T, of texts, of networks, or of projection and T."""
    preset: Literal["long"] | None = None
    """Other defaults: a larger GRU, which takes several times as long."""
    seq_len: options.Count = 35
    """T, characters that a gradient reaches back."""
    hidden: options.Count = 100
    """N, hidden units."""
    batch_size: options.Count = 32
    """B, streams."""
    epochs: options.Count = 20
    """Epochs, each ended by a validation."""
    train_characters: options.Count = 1_000_000
    """Characters that an epoch reads, rounded down to whole batches, but at least one."""
    lr: options.Rate = 3e-3
    """Adam's learning rate."""
    clip_norm: options.RateOrZero = 1.0
    """Largest global gradient norm; 0: no clipping."""
    project_every: options.CountOrZero = 1
    """Steps between projections of the method qr; 0: never."""
    track_every: options.Count = 100
    """Steps between measurements of the spectral norm."""
    sample: options.CountOrZero = 0
    """Characters of generated text to print."""
    prompt: str = ""
    """What generated text goes on from; empty: a new line."""
    temperature: options.Rate = 1.0
    """Of generated text; below 1, likely characters are favoured."""
    load: Path | None = None
    """A folder of checkpoints (--checkpoint-dir) to generate text from, without training."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.Seeds = 1
    out: Path | None = None
    """Folder to write to; default: figures/char_lm, or a folder in it for other settings."""
    text_hash: Annotated[str, tyro.conf.Suppress] = ""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_devices(self.batch_size)
        if self.backend == "numpy" and {"gru", "lstm"} & set(self.methods):
            raise ValueError("--backend numpy has no --methods gru or lstm")
        self._check_modes()
        states = self.batch_size * self.seq_len * self.hidden
        sizes = ("batch_size", "seq_len", "hidden", "seeds")
        options.check_memory(self, states + 4 * self.seeds * self.hidden**2, *sizes)

    def _check_modes(self) -> None:
        """ValueError where options would have no effect."""
        if self.text_file and self.compare == "datasets":
            raise ValueError("--compare datasets decides about --text-file itself")
        written = self.out and (self.out / "results.json").resolve()
        if self.text_file and self.text_file.resolve() == written:
            raise ValueError(f"--out {self.out} would overwrite --text-file {self.text_file}")
        if self.text_file and self.dataset != type(self).dataset:
            raise ValueError(
                f"--text-file {self.text_file} and --dataset {self.dataset}: only one of them"
            )
        for name in self.swept[0]:
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(
                    f"--compare {self.compare} decides about {option(name)} itself, "
                    f"got {getattr(self, name)}"
                )
        if self.load and not self.sample:
            raise ValueError("--load needs --sample, the number of characters to generate")
        if self.load and (self.out or self.session != options.DEFAULT_SESSION):
            raise ValueError("--load writes nothing: neither --out nor checkpoints go with it")

    @property
    def without_effect(self) -> dict[str, str]:
        """The fields that change nothing under the others → what would give them an effect."""
        return {} if "qr" in self.methods else {"project_every": "--methods qr"}

    def check_trained_as(self, trained: "CharLMConfig") -> None:
        """ValueError where --load is given options that the network was not trained with."""
        generating = {"load", "sample", "prompt", "temperature", "seed", "text_hash"}
        asked = options.changed_fields(self, CharLMConfig())
        for name in sorted(asked & options.changed_fields(self, trained) - generating):
            given, was = getattr(self, name), getattr(trained, name)
            raise ValueError(f"{self.load} was trained with {option(name)} {was}, not {given}")

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "CharLMConfig":
        """A configuration as results.json and checkpoints have it."""
        path = fields["text_file"]
        changed = {"methods": tuple(fields["methods"]), "text_file": path and Path(path)}
        return cls(**{**fields, **changed})

    @property
    def swept(self) -> list[dict[str, Any]]:
        """What the runs change of this configuration, one after the other."""
        return COMPARISONS[self.compare] if self.compare else [{}]

    def corpus(self, settings: dict[str, Any]) -> Corpus:
        """The text of a run."""
        return corpus(settings.get("dataset", self.dataset), self.text_file)

    def check_text(self, settings: dict[str, Any]) -> None:
        """ValueError unless a run's text is the one that this configuration was trained on."""
        if self.corpus(settings).hash not in self.text_hash.split():
            name = settings.get("dataset", self.text_file or self.dataset)
            raise ValueError(f"the text {name} has changed since it was trained on")

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
        parts = dict(METHODS[method].parts)
        if self.project_every == 0:
            parts["retraction"] = None
        text = self.corpus(settings).text
        try:
            task = CharacterTask(text, settings.get("seq_len", self.seq_len), self.batch_size)
        except ValueError as error:
            source = f"--text-file {self.text_file}" if self.text_file else "--dataset"
            raise ValueError(f"{source} with --batch-size and --seq-len: {error}") from None
        return Recipe(
            task=task,
            hidden=settings.get("hidden", self.hidden),
            lr=self.lr,
            clip_norm=self.clip_norm,
            project_every=self.project_every or 1,
            track_every=self.track_every,
            devices=self.num_devices,
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
        return self.folder_of(
            *(self.compare, self.preset, self.other_backend),
            preset=PRESETS.get(self.compare or self.preset or ""),
            apart_from=("backend", "devices", "sample", "prompt", "load", "text_hash"),
        )
