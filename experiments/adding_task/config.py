"""The options of ``python -m experiments.adding_task``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from experiments.harness.command import options
from experiments.harness.method.recipe import Method, Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.saving.session import option
from jaxrnn.tasks import AddingTask

METHODS = {
    "irnn": Method("IRNN", {"activation": "relu", "recurrent_init": "identity"}),
    "vanilla": Method("tanh", {}),
    "relu": Method("ReLU, uniform init", {"activation": "relu"}),
    "relu_orthogonal": Method(
        "ReLU, orthogonal init", {"activation": "relu", "recurrent_init": "orthogonal"}
    ),
    "qr": Method("tanh, QR projection", {"recurrent_init": "orthogonal", "retraction": "qr"}),
}
SGD = {"optimizer": "sgd", "lr": 1e-2}
ADAM = {"optimizer": "adam", "lr": 1e-4, "clip_norm": 1.0}  # the defaults, too
PRESETS: dict[str, dict[str, Any]] = {
    # The budgets that were published for T = 150; --clip-norm 10 and 100 are the other two of SGD.
    "sgd": {"preset": "sgd", **SGD, "clip_norm": 1.0, "epochs": 440},
    "adam": {"preset": "adam", **ADAM, "epochs": 147},
    "sweep": {"sweep": True, "seeds": 2},
    "sweep_scale": {"sweep_scale": True, "epochs": 3, "seeds": 2},
    "sweep_clip": {"sweep_clip": True, "seeds": 2},
}
SWEEPS: dict[str, list[dict[str, Any]]] = {
    "sweep": [{"seq_len": length} for length in (150, 200, 300, 400)],
    "sweep_scale": [
        {"identity_scale": scale, **optimizer}
        for optimizer in (SGD | {"clip_norm": 100.0}, ADAM)
        for scale in (1.0, 0.1, 0.01)
    ],
    "sweep_clip": [*({**SGD, "clip_norm": clip} for clip in (1.0, 10.0, 100.0, 0.0)), ADAM],
}
# A chunk of steps has exploded when the median of its losses is this multiple of the baseline. At
# T = 150, in three seeds of each optimizer, it was 1.2 times at most where runs went on to learn,
# with single losses up to 4e11 times; and from 2e4 to 3e25 times where they exploded.
EXPLODED = 100.0
MAX_RESTARTS = 10


@dataclass(frozen=True)
class AddingTaskConfig(options.TrainingOptions):
    """Train the IRNN, and what it is compared with, on the adding problem."""

    irnn: bool = False
    """Train the IRNN alone."""
    sweep: bool = False
    """Train the IRNN at T = 150, 200, 300 and 400, from several seeds."""
    sweep_scale: bool = False
    """Train the IRNN from 1, 0.1 and 0.01 times the identity, by SGD and by Adam."""
    sweep_clip: bool = False
    """Train the IRNN by SGD with clipping at 1, 10, 100 and none, and by Adam."""
    backend: Literal["jax", "torch", "both"] = "jax"
    """Framework; both: JAX and PyTorch from the same weights."""
    methods: tuple[Annotated[str, options.one_of(METHODS)], ...] = tuple(METHODS)
    """Which methods to train, without --irnn and the sweeps."""
    preset: Literal["sgd", "adam"] | None = None
    """Published settings: SGD at 0.01 over 440 epochs, or Adam at 1e-4 over 147."""
    seq_len: Annotated[int, options.Between(2)] = 150
    """T, time steps."""
    hidden: options.Count = 100
    """N, hidden units."""
    identity_scale: options.Rate = 1.0
    """The IRNN's W_hh starts as this multiple of I."""
    input_std: options.Rate = 1e-3
    """Standard deviation of the IRNN's input weights."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Optimizer."""
    lr: options.Rate = 1e-4
    """Its learning rate."""
    clip_norm: options.RateOrZero = 1.0
    """Largest global gradient norm; 0: no clipping."""
    epochs: options.Count = 6
    """Epochs, each once through the training set."""
    train_samples: options.Count = 100_000
    """Sequences in the training set, which stays the same."""
    val_samples: options.Count = 1_000
    """Sequences in the validation set, which every epoch ends with."""
    test_samples: options.CountOrZero = 10_000
    """Sequences in the test set, which the run ends with."""
    batch_size: options.Count = 16
    """B, sequences per step."""
    project_every: options.CountOrZero = 1
    """Steps between projections of the method qr; 0: never."""
    track_every: options.Count = 500
    """Steps between measurements of the spectral norm."""
    on_divergence: Literal["restart", "stop"] = "restart"
    """When a run explodes: go back to its last good state with half the learning rate, ten times
    at most; or stop."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.Seeds = 1
    out: Path | None = None
    """Folder to write to; default: figures/adding_task, or a folder in it for other settings."""
    session: options.Session = options.DEFAULT_SESSION

    def __post_init__(self) -> None:
        self._check_modes()
        super().__post_init__()
        self.check_devices(self.batch_size)
        if self.batch_size > self.train_samples:
            raise ValueError(
                f"--batch-size must be at most --train-samples {self.train_samples}, "
                f"got {self.batch_size}"
            )
        sizes = ("train_samples", "test_samples", "batch_size", "seq_len", "hidden", "seeds")
        options.check_memory(self, self._numbers_in_memory(), *sizes)

    def _check_modes(self) -> None:
        """ValueError where options do not go together, or would have no effect."""
        flags = [option(name) for name in self.modes]
        if not flags:
            return
        if len(flags) > 1:
            raise ValueError(f"only one of --irnn and the sweeps, got {' '.join(flags)}")
        of_no_effect = {"methods"}
        if not self.irnn:
            of_no_effect |= {"preset", *(name for swept in self.sweep_settings for name in swept)}
        for name in sorted(of_no_effect & options.changed_fields(self, AddingTaskConfig())):
            raise ValueError(f"{flags[0]} decides about {option(name)} itself")

    @property
    def without_effect(self) -> dict[str, str]:
        """The fields that change nothing under the others → what would give them an effect."""
        needed: dict[str, str] = {}
        if "qr" not in self.trained_methods:
            needed["project_every"] = "--methods qr"
        if "irnn" not in self.trained_methods:
            needed |= dict.fromkeys(("identity_scale", "input_std"), "--methods irnn")
        return needed

    def _numbers_in_memory(self) -> int:
        """The data of all seeds, one batch's states, W_hh and what Adam keeps of it."""
        T = max(settings.get("seq_len", self.seq_len) for settings in self.sweep_settings)
        samples = self.train_samples + self.val_samples + self.test_samples
        states = max(self.batch_size, self.val_samples) * T * self.hidden
        return states + self.seeds * (2 * samples * T + 4 * self.hidden**2)

    @property
    def modes(self) -> list[str]:
        """--irnn or a sweep, where one is asked for; else methods are compared."""
        return [name for name in ("irnn", *SWEEPS) if getattr(self, name)]

    @property
    def trained_methods(self) -> tuple[str, ...]:
        """The IRNN alone, or the methods to compare."""
        return ("irnn",) if self.modes else self.methods

    @property
    def sweep_settings(self) -> list[dict[str, Any]]:
        """What the runs change of this configuration, one after the other."""
        return next((SWEEPS[name] for name in self.modes if name in SWEEPS), [{}])

    @property
    def schedule(self) -> Schedule:
        """Epochs, sizes and the policy on explosions."""
        return Schedule(
            self.epochs,
            self.train_samples // self.batch_size,
            self.batch_size,
            self.val_samples,
            self.train_samples,
            self.test_samples,
            max_loss=EXPLODED * AddingTask(self.seq_len).baseline,
            max_restarts=MAX_RESTARTS if self.on_divergence == "restart" else 0,
        )

    def recipe(self, method: str, settings: dict[str, Any]) -> Recipe:
        """How a method trains under this configuration, changed by some settings."""
        fields = {
            name: settings.get(name, getattr(self, name))
            for name in ("seq_len", "identity_scale", "optimizer", "lr", "clip_norm")
        }
        parts = dict(METHODS[method].parts)
        if self.project_every == 0:
            parts["retraction"] = None
        return Recipe(
            task=AddingTask(fields.pop("seq_len")),
            hidden=self.hidden,
            input_std=self.input_std if method == "irnn" else None,
            project_every=self.project_every or 1,
            track_every=self.track_every,
            devices=self.num_devices,
            **parts,
            **fields,
        )

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written: only the defaults go to adding_task."""
        presets = [name for name in (*self.modes, self.preset) if name in PRESETS]
        values = {key: value for name in presets for key, value in PRESETS[name].items()}
        modes = ("sweep_length" if name == "sweep" else name for name in self.modes)
        return self.folder_of(
            *(*modes, self.preset, self.other_backend),
            preset={**values, "irnn": self.irnn},
            apart_from=("backend", "devices"),
        )
