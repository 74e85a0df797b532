"""The options of ``python -m experiments.copy_task``, and what they decide."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.harness.command import cli
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from jaxrnn.tasks import CopyMemoryTask, CopyTask

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
class CopyTaskConfig:
    """Train vanilla, orthogonally initialised and projected RNNs on the copy task."""

    backend: Literal["jax", "torch", "numpy", "both"] = "jax"
    """Framework; numpy: from scratch; both: JAX and PyTorch from the same weights, compared."""
    methods: tuple[Literal["vanilla", "orthogonal_init", "qr"], ...] = (
        "vanilla",
        "orthogonal_init",
        "qr",
    )
    """Which methods to train."""
    preset: Literal["copy_memory", "no_clipping", "small"] | None = None
    """Other defaults: copy memory, 100 steps without clipping, or small enough for NumPy."""
    seq_len: int = 10
    """Symbols to remember."""
    delay: int | None = None
    """Steps of delay: the copy memory task, with its ten symbols, instead of the default one."""
    hidden: int = 128
    """N, hidden units."""
    activation: Literal["tanh", "relu", "leaky_relu", "modrelu", "identity"] = "tanh"
    """phi, the activation function."""
    recurrent_init: Literal["orthogonal", "henaff", "identity"] = "orthogonal"
    """Initial W_hh of the methods orthogonal_init and qr."""
    epochs: int = 20
    """Epochs, each of fresh samples."""
    train_samples: int = 20_000
    """Samples per epoch, rounded up to whole batches."""
    val_samples: int = 3_000
    """Samples in the validation set."""
    batch_size: int = 128
    """B, sequences per step."""
    lr: float = 1e-3
    """Adam's learning rate."""
    recurrent_lr: float | None = None
    """Learning rate of W_hh, where it differs."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0: no clipping."""
    project_every: int = 1
    """Steps between projections of the method qr; 0: never."""
    retraction: Literal["qr", "polar", "qr_unsigned"] = "qr"
    """What the method qr projects by."""
    track_every: int = 10
    """Steps between measurements of the spectral norm."""
    devices: int | Literal["auto"] = "auto"
    """JAX devices to share each batch; on a CPU, auto is one per core."""
    seed: int = 0
    """First seed."""
    seeds: int = 1
    """Number of seeds, counted from the first."""
    out: Path | None = None
    """Folder to write to; default: figures/copy_task, or a folder in it for other settings."""
    session: cli.SessionField = cli.DEFAULT_SESSION

    def __post_init__(self) -> None:
        cli.check_distinct(self, "methods")
        cli.check_counts(self, "seq_len", "hidden", "epochs", "train_samples", "val_samples")
        cli.check_counts(self, "batch_size", "track_every")
        cli.check_counts(self, "seeds", most=cli.MAX_SEEDS)
        cli.check_counts(self, "project_every", "seed", least=0)
        if self.delay is not None:
            cli.check_counts(self, "delay")
        cli.check_rates(self, "lr", "recurrent_lr")
        cli.check_rates(self, "clip_norm", zero=True)
        cli.check_devices(self)
        if self.devices != "auto" and "jax" not in self.backends:
            raise ValueError(f"--devices is for --backend jax or both, not {self.backend}")
        if self.backend == "numpy":
            self._check_numpy()
        length = "seq_len" if self.delay is None else "delay"
        sizes = ("train_samples", "val_samples", "batch_size", length, "hidden", "seeds")
        cli.check_memory(self, self._numbers_in_memory(), *sizes)

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
                    f"--backend numpy has {cli.option(name)} {' or '.join(map(str, values))}, "
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
    def backends(self) -> tuple[str, ...]:
        """The backends asked for."""
        return ("jax", "torch") if self.backend == "both" else (self.backend,)

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
            devices=None if self.devices == "auto" else self.devices,
        )

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written: only the defaults go to copy_task."""
        default = CopyTaskConfig(**PRESETS[self.preset]) if self.preset else CopyTaskConfig()
        changed = cli.changed_fields(self, default) - {"backend"}
        if self.seeds == CLAIM_SEEDS:
            changed -= {"seeds"}
        parts = {
            self.preset or "": self.preset is not None,
            self.backend: self.backend != "jax",
            "seeds": self.seeds > 1,
            "custom": bool(changed),
        }
        return Path("copy_task", *(part for part, is_named in parts.items() if is_named))
