"""The models and weights that the held-out networks are made of."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.doctor_calibration.networks import (
    CLASSES,
    Setter,
    constant,
)
from jaxrnn import SequenceModel, VanillaCell, initializers

model = partial(SequenceModel, num_outputs=CLASSES, last_only=True)
sequence = partial(SequenceModel, num_outputs=CLASSES)
W_HH, W_XH, B_H = "/h/kernel", "/i/kernel", "/i/bias"
SMALL = initializers.normal(0.05)


class Stacked(nn.Module):
    """Layers one above the other, then a readout of every step: (B, T, D) → (B, T, C)."""

    cells: Sequence[nn.RNNCellBase]

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden: Any = inputs
        for cell in self.cells:
            hidden = nn.RNN(cell)(hidden)
        return nn.Dense(CLASSES)(hidden)


class BothWays(nn.Module):
    """A layer forwards and one backwards, then a readout of every step."""

    forwards: nn.RNNCellBase
    backwards: nn.RNNCellBase

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden: Any = nn.Bidirectional(nn.RNN(self.forwards), nn.RNN(self.backwards))(inputs)
        return nn.Dense(CLASSES)(hidden)


def linear(x: jax.Array) -> jax.Array:
    """The identity, as an activation."""
    return x


def orthogonal(N: int, activation: str = "identity") -> VanillaCell:
    """W_hh = Q."""
    return VanillaCell(N, activation)


def keeping(N: int, activation: str = "relu") -> VanillaCell:
    """W_hh = I and small input weights."""
    return VanillaCell(
        N, activation, kernel_init=SMALL, recurrent_kernel_init=initializers.identity()
    )


def rotating(N: int, activation: str) -> VanillaCell:
    """W_hh of rotations by random angles in the plane."""
    return VanillaCell(N, activation, recurrent_kernel_init=initializers.henaff())


def cycle(scale: float) -> Setter:
    """Every unit hands on to the next, the last to the first."""
    return lambda rng, old: scale * np.roll(np.eye(len(old)), 1, axis=1)


def delay_line(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
    """Every unit hands on to the next, the last to none: nothing stays longer than N steps."""
    return np.eye(len(old), k=1)


def jordan(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
    """One Jordan block of eigenvalue 1, whose power T has entries binomial(T, k)."""
    return np.eye(len(old)) + np.eye(len(old), k=1)


def rates(low: float, high: float) -> Setter:
    """Units by themselves, each with a rate of its own."""
    return lambda rng, old: np.diag(rng.uniform(low, high, len(old)))


def rank_one(size: float) -> Setter:
    """One direction that is kept, by so much, in all N."""

    def change(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
        u = rng.standard_normal(len(old))
        return size * np.outer(u, u) / (u @ u)

    return change


def negative(rng: np.random.Generator, old: np.ndarray) -> np.ndarray:
    """No input is ever welcome: the classes' weights below zero, the noise's zero."""
    new = -np.abs(old)
    new[CLASSES:] = 0.0
    return new


def gates(T: int) -> dict[str, Setter]:
    """An LSTM's, open for T steps."""
    return {"hf/bias": constant(math.log(T)), "hi/bias": constant(-math.log(T))}
