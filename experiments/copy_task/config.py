"""The options of ``python -m experiments.copy_task``, and what they decide."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from experiments.harness.command import options
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.saving.session import option
from jaxrnn.tasks import CopyMemoryTask, CopyTask

METHODS = {  # → what figures and claims call them
    "vanilla": "vanilla",
    "orthogonal_init": "orthogonal init",
    "qr": "QR",
}
PRESETS: dict[str, dict] = {
    # Arjovsky et al.'s task with the rates at which it was first solved here.
    "copy_memory": {
        "preset": "copy_memory",
        "delay": 100,
        "hidden": 190,
        "activation": "modrelu",
        "recurrent_init": "henaff",
        "lr": 3e-3,
        "recurrent_lr": 1e-3,
        "train_samples": 20 * 128,
        "val_samples": 1000,
    },
    # 100 steps without clipping: what clipping hides.
    "no_clipping": {
        "preset": "no_clipping",
        "clip_norm": 0.0,
        "epochs": 10,
        "train_samples": 10 * 128,
        "track_every": 1,
    },
    # A few seconds a method, in NumPy too.
    "small": {
        "preset": "small",
        "seq_len": 5,
        "hidden": 32,
        "lr": 3e-3,
        "train_samples": 100 * 64,
        "val_samples": 1000,
        "batch_size": 64,
    },
}
CLAIM_SEEDS = 5  # what the README's claims are measured over, in figures/copy_task/seeds


@dataclass(frozen=True)
class CopyTaskConfig(options.TrainingOptions):
    """Train vanilla, orthogonally initialised and projected RNNs on the copy task."""

    backend: Literal["jax", "torch", "numpy", "both"] = "jax"
    """Framework; numpy: from scratch; both: JAX and PyTorch from the same weights, compared."""
    methods: tuple[Annotated[str, options.one_of(METHODS)], ...] = tuple(METHODS)
    """Which methods to train."""
    preset: Literal["copy_memory", "no_clipping", "small"] | None = None
    """Other defaults: copy memory, 100 steps without clipping, or small enough for NumPy."""
    seq_len: options.Count = 10
    """Symbols to remember."""
    delay: options.Count | None = None
    """Steps of delay: the copy memory task, with its ten symbols, instead of the default one."""
    hidden: options.Count = 128
    """N, hidden units."""
    activation: Literal["tanh", "relu", "leaky_relu", "modrelu", "identity"] = "tanh"
    """phi, the activation function."""
    recurrent_init: Literal["orthogonal", "henaff", "identity"] = "orthogonal"
    """Initial W_hh of the methods orthogonal_init and qr."""
    epochs: options.Count = 20
    """Epochs, each of fresh samples."""
    train_samples: options.Count = 20_000
    """Samples per epoch, rounded up to whole batches."""
    val_samples: options.Count = 3_000
    """Samples in the validation set."""
    batch_size: options.Count = 128
    """B, sequences per step."""
    lr: options.Rate = 1e-3
    """Adam's learning rate."""
    recurrent_lr: options.Rate | None = None
    """Learning rate of W_hh, where it differs."""
    clip_norm: options.RateOrZero = 1.0
    """Largest global gradient norm; 0: no clipping."""
    project_every: options.CountOrZero = 1
    """Steps between projections of the method qr; 0: never."""
    retraction: Literal["qr", "polar", "qr_unsigned"] = "qr"
    """What the method qr projects by."""
    track_every: options.Count = 10
    """Steps between measurements of the spectral norm."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.Seeds = 1
    out: Path | None = None
    """Folder to write to; default: figures/copy_task, or a folder in it for other settings."""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_devices(self.batch_size)
        if self.backend == "numpy":
            self._check_numpy()
        length = "seq_len" if self.delay is None else "delay"
        sizes = ("train_samples", "val_samples", "batch_size", length, "hidden", "seeds")
        options.check_memory(self, self._numbers_in_memory(), *sizes)

    @property
    def without_effect(self) -> dict[str, str]:
        """The fields that change nothing under the others → what would give them an effect."""
        needed: dict[str, str] = {}
        if "qr" not in self.methods:
            needed |= dict.fromkeys(("retraction", "project_every"), "--methods qr")
        elif self.project_every == 0:
            needed["retraction"] = "--project-every of 1 or more"
        if set(self.methods) == {"vanilla"}:
            needed["recurrent_init"] = "--methods orthogonal_init or qr"
        if self.delay is not None:
            needed["seq_len"] = "the task that has no --delay"
        return needed

    def _check_numpy(self) -> None:
        """ValueError where more is asked for than the network in NumPy has."""
        allowed = {
            "recurrent_init": ("orthogonal", "identity"),
            "recurrent_lr": (None,),
            "retraction": ("qr",),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"--backend numpy has {option(name)} {' or '.join(map(str, values))}, "
                    f"got {getattr(self, name)}"
                )

    def _numbers_in_memory(self) -> int:
        """An epoch's inputs and targets, one batch's states, W_hh and what Adam keeps of it."""
        steps = 2 * self.seq_len + 1 if self.delay is None else self.delay + 20
        samples = self.schedule.steps_per_epoch * self.batch_size
        features = self.hidden + self.task.num_inputs + self.task.num_outputs
        states = max(self.batch_size, self.val_samples) * steps * features
        return states + self.seeds * (2 * samples * steps + 4 * self.hidden**2)

    @property
    def task(self) -> CopyTask | CopyMemoryTask:
        """The task asked for."""
        return CopyTask(self.seq_len) if self.delay is None else CopyMemoryTask(self.delay)

    @property
    def schedule(self) -> Schedule:
        """Epochs and sizes."""
        steps = math.ceil(self.train_samples / self.batch_size)
        return Schedule(self.epochs, steps, self.batch_size, self.val_samples)

    def recipe(self, method: str) -> Recipe:
        """How a method trains under this configuration."""
        projected = method == "qr" and self.project_every > 0
        return Recipe(
            task=self.task,
            hidden=self.hidden,
            activation=self.activation,
            recurrent_init="uniform" if method == "vanilla" else self.recurrent_init,
            lr=self.lr,
            recurrent_lr=self.recurrent_lr,
            clip_norm=self.clip_norm,
            retraction=self.retraction if projected else None,
            project_every=self.project_every or 1,
            track_every=self.track_every,
            devices=self.num_devices,
        )

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written: only the defaults go to copy_task."""
        return self.folder_of(
            *(self.preset, self.other_backend, "seeds" if self.seeds > 1 else None),
            preset=PRESETS.get(self.preset or ""),
            apart_from=("backend", "seeds") if self.seeds == CLAIM_SEEDS else ("backend",),
        )
