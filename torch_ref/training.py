"""Training a PyTorch model, with the same steps and measurements as jaxrnn.training.

A step whose loss or gradient is not finite is not applied, and neither is any step after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from torch_ref.checks import (
    check_function,
    check_kind,
    check_steps,
    described,
    is_whole,
)
from torch_ref.diagnostics import recurrent_diagnostics
from torch_ref.losses import Loss
from torch_ref.losses import classification_loss as classification_loss
from torch_ref.losses import regression_loss as regression_loss
from torch_ref.losses import stream_loss as stream_loss
from torch_ref.optimizers import (
    Factor,
    check_not_negative,
    clip_adaptively,
    clip_by_global_norm,
    clip_by_value,
    global_norm,
    rates_times,
    trainable,
)
from torch_ref.transforms import project_recurrent


@dataclass
class TrainState:
    """Everything that a step reads and changes in place.

    Attributes:
      model: its parameters are the ones trained.
      optimizer: over ``trainable(model)``.
      clip_norm: global norm to clip gradients to; 0: no clipping.
      clip_value: what to clip each of their entries to; 0: no clipping.
      clip_adaptive: share of the norm of each unit's weights to clip their gradient to; 0: no
        clipping; else the model is a SequenceModel.
      factor: ``step`` → what the learning rates are multiplied by; None: nothing.
      projection: applied after the optimizer, or None.
      step: steps applied so far.
      diverged: whether a loss or gradient was not finite; ``step`` then names that step.
      carry: what the streams of truncated BPTT pass on to their next batch, (B, N) each; None
        where batches have nothing to do with each other.

    Raises:
      ValueError: a model, optimizer, projection or factor that is none; a limit to clip to that is
        negative or not finite.

    Example:
      >>> model = SequenceModel(VanillaCell(9, 4), num_outputs=9)
      >>> state = TrainState(model, optimizers.adam(model, lr=1e-3), clip_norm=1.0)
      >>> state.step, state.diverged
      (0, False)
    """

    model: Any
    optimizer: torch.optim.Optimizer
    clip_norm: float = 0.0
    projection: project_recurrent | None = None
    step: int = 0
    diverged: bool = False
    carry: Any = None
    clip_value: float = 0.0
    clip_adaptive: float = 0.0
    factor: Factor | None = None

    def __post_init__(self) -> None:
        check_kind("model", self.model, nn.Module, "a torch.nn.Module")
        check_kind("optimizer", self.optimizer, torch.optim.Optimizer, "a torch.optim.Optimizer")
        if self.projection is not None:
            check_kind("projection", self.projection, project_recurrent, "a project_recurrent")
        if self.factor is not None:
            check_function("factor", self.factor)
        check_not_negative(
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            clip_adaptive=self.clip_adaptive,
        )


class Measurements(NamedTuple):
    """What a step measured; see jaxrnn.training.Measurements.

    Example:
      >>> training.Measurements._fields
      ('loss', 'accuracy', 'grad_norm', 'spectral_norm', 'orthogonality_error')
    """

    loss: Any
    accuracy: Any
    grad_norm: Any
    spectral_norm: Any
    orthogonality_error: Any


def make_train_step(loss: Loss) -> Callable[[TrainState, Any], Measurements]:
    """One step (state, batch) → measurements; the state changes in place.

    Example:
      >>> model = SequenceModel(VanillaCell(2, 4), num_outputs=1, last_only=True)
      >>> state = TrainState(model, optimizers.sgd(model, lr=0.01))
      >>> step = training.make_train_step(training.regression_loss())
      >>> batch = torch.ones(3, 5, 2), torch.ones(3)
      >>> first, second = step(state, batch), step(state, batch)
      >>> state.step, second.loss < first.loss
      (2, True)
    """

    check_function("loss", loss)

    def step(state: TrainState, batch: Any) -> Measurements:
        state.optimizer.zero_grad(set_to_none=True)
        carry = state.carry
        if carry is None:
            options = {"train": True} if hasattr(loss, "takes_train") else {}
            value, accuracy = loss(state.model, batch, **options)
        else:
            value, (accuracy, carry) = loss(state.model, batch, carry)
        value.backward()
        gradients = [param.grad for param in trainable(state.model) if param.grad is not None]
        norm = global_norm(gradients).item()
        measured = Measurements(value.item(), accuracy.item(), norm, np.nan, np.nan)
        state.diverged = state.diverged or not (np.isfinite(measured.loss) and np.isfinite(norm))
        if not state.diverged:
            _clip(state, gradients, norm)
            with rates_times(state.optimizer, state.factor(state.step) if state.factor else 1.0):
                state.optimizer.step()
            if state.projection is not None:
                state.projection.step()
            state.step += 1
            state.carry = carry
        return measured

    return step


def _clip(state: TrainState, gradients: Sequence[Tensor], norm: float) -> None:
    """Entries, then units, then all gradients together, whose norm is ``norm`` at first."""
    if state.clip_value:
        clip_by_value(gradients, state.clip_value)
    if state.clip_adaptive:
        clip_adaptively(state.model, state.clip_adaptive)
    if state.clip_norm:
        was_clipped = state.clip_value or state.clip_adaptive
        now = global_norm(gradients).item() if was_clipped else norm
        clip_by_global_norm(gradients, now, state.clip_norm)


def make_train_chunk(loss: Loss, track_every: int = 1) -> Callable[[TrainState, Any], Measurements]:
    """K steps (state, batches) → measurements, the batches and results with a leading K.

    Spectral norm and orthogonality error come at every k-th step, k = ``track_every``, the chunk's
    last always among them, and are NaN elsewhere.

    Example:
      >>> model = SequenceModel(VanillaCell(9, 4), num_outputs=9)
      >>> adam, projection = optimizers.adam(model, lr=1e-3), project_recurrent(model)
      >>> state = TrainState(model, adam, projection=projection)
      >>> tokens = torch.zeros(4, 2, 5, dtype=torch.int32)  # (K, B, T)
      >>> chunk = training.make_train_chunk(training.classification_loss(9), track_every=2)
      >>> print(chunk(state, (tokens, tokens)).spectral_norm.round(3))
      [nan  1. nan  1.]
    """
    check_function("loss", loss)
    if not (is_whole(track_every) and track_every >= 1):
        words = "a whole number, at least 1"
        raise ValueError(f"track_every must be {words}, got {described(track_every)}")
    step = make_train_step(loss)

    def chunk(state: TrainState, batches: Any) -> Measurements:
        check_kind("state", state, TrainState, "a TrainState")
        check_steps(batches)
        steps = list(zip(*(torch.as_tensor(array) for array in batches), strict=True))
        rows = []
        for index, batch in enumerate(steps):
            measured = step(state, batch)
            if (len(steps) - 1 - index) % track_every == 0:
                norm, error = recurrent_diagnostics(state.model)
                measured = measured._replace(spectral_norm=norm, orthogonality_error=error)
            rows.append(measured)
        return Measurements(*(np.asarray(column) for column in zip(*rows, strict=True)))

    return chunk
