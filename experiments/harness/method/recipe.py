"""How one method trains: all that a backend needs to build its model and its optimizer."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxrnn.tasks import Batch, Task
from jaxrnn.text import CharacterTask, StreamBatch

Weights = dict[str, np.ndarray]
TrainingBatch = Batch | StreamBatch
State = dict[str, np.ndarray]  # of a trainer, which names the entries


class Method(NamedTuple):
    """A method that an experiment compares with others.

    Attributes:
      label: what figures and claims call it.
      parts: what is its own in its recipe.
    """

    label: str
    parts: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A model for a task, and how it is trained.

    Attributes:
      task: what is learnt; a task with one output is a regression read out at the last step.
      hidden: N.
      cell: "vanilla", "gru" or "lstm".
      activation: phi, of the vanilla cell.
      leak: the rate α of leaky units; None: they do not leak.
      skip: k of a connection from h_{t-k} into h_t; None: there is none.
      bptt_steps: k of truncated BPTT inside a sequence; None: it is not truncated.
      recurrent_init: the initialiser of W_hh, by name; everything else is drawn from ±1/√N.
      identity_scale: W_hh starts as this multiple of I, where recurrent_init is "identity".
      input_std: W_xh ~ N(0, input_std²) instead, and all biases 0.
      optimizer: by name; see jaxrnn.optimizers.
      lr, recurrent_lr: its rate, and that of W_hh where it differs.
      clip_norm: global norm to clip gradients to; 0: none.
      clip_value: what to clip each of their entries to; 0: none.
      clip_adaptive: share of the norm of each unit's weights to clip their gradient to; 0: none.
      warmup_steps, decay_steps: of the learning rate; see jaxrnn.optimizers.schedule; 0: none.
      retraction: the projection of W_hh by name; None: never projected.
      project_every: steps between projections.
      track_every: steps between measurements of the spectral norm.
      recurrence, recompute: how JAX runs the cell over time; see jaxrnn.SequenceModel.
      devices: of JAX's, to share each batch; None: see jaxrnn.training.make_train_chunk.
    """

    task: Task
    hidden: int
    cell: Literal["vanilla", "gru", "lstm"] = "vanilla"
    activation: str = "tanh"
    leak: float | None = None
    skip: int | None = None
    bptt_steps: int | None = None
    recurrent_init: str = "uniform"
    identity_scale: float = 1.0
    input_std: float | None = None
    optimizer: Literal["adam", "sgd", "momentum", "rmsprop"] = "adam"
    lr: float = 1e-3
    recurrent_lr: float | None = None
    clip_norm: float = 0.0
    clip_value: float = 0.0
    clip_adaptive: float = 0.0
    warmup_steps: int = 0
    decay_steps: int = 0
    retraction: str | None = None
    project_every: int = 1
    track_every: int = 1
    recurrence: Literal["scan", "fused"] | None = None
    recompute: bool = False
    devices: int | None = None

    def wrapped(self, cell: Any, library: ModuleType) -> Any:
        """A cell of jaxrnn's or of torch_ref's with the leak, the skip and the truncation."""
        if self.leak is not None:
            cell = library.LeakyCell(cell, self.leak)
        if self.skip is not None:
            cell = library.SkipCell(cell, self.skip)
        if self.bptt_steps is not None:
            cell = library.TruncatedCell(cell, self.bptt_steps)
        return cell

    @property
    def is_regression(self) -> bool:
        """Whether the task asks for one real number per sequence."""
        return self.task.num_outputs == 1

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes with the steps."""
        return bool(self.warmup_steps or self.decay_steps)

    @property
    def streams(self) -> int | None:
        """B of truncated BPTT, whose batches each go on where the last one ended; else None."""
        return self.task.streams if isinstance(self.task, CharacterTask) else None
