"""The networks that jaxrnn.diagnose is judged by, frozen before any of its thresholds was chosen.

Families that calibration_set.py lacks: minimal gated units, Flax's optimised LSTM, residual cells,
stacked and bidirectional layers; rotations, permutations, matrices far from normal, latches; other
sizes and lengths. See networks.py for what a label means.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.doctor_calibration.networks import (
    CLASSES,
    Network,
    Setter,
    both,
    check_names,
    constant,
    gaussian,
    identity,
    part,
    planted,
    scaled,
    signs,
    unread,
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


HEALTHY = [
    Network("rotations, linear", "rotations", "healthy", model(rotating(24, "identity")), 75),
    Network("rotations, modReLU", "rotations", "healthy", sequence(rotating(48, "modrelu")), 150),
    Network("cycle", "permutation", "healthy", model(orthogonal(20)), 30, {W_HH: cycle(1.0)}),
    Network(
        "cycle, long",
        "permutation",
        "healthy",
        model(orthogonal(40)),
        120,
        {W_HH: cycle(1.0)},
        rate=1e-3,
    ),
    Network(
        "half of the units keep",
        "partial memory",
        "healthy",
        model(keeping(40)),
        30,
        {W_HH: both(identity(), part(0.5, 0.0))},
    ),
    Network(
        "MGU of 30",
        "MGU",
        "healthy",
        model(nn.MGUCell(24)),
        30,
        {"if/bias": constant(math.log(30))},
    ),
    Network(
        "MGU of 75",
        "MGU",
        "healthy",
        sequence(nn.MGUCell(40)),
        75,
        {"if/bias": constant(math.log(75))},
    ),
    Network("plain MGU 8", "MGU", "healthy", model(nn.MGUCell(20)), 8),
    Network(
        "optimised LSTM of 15",
        "optimised LSTM",
        "healthy",
        sequence(nn.OptimizedLSTMCell(20)),
        15,
        gates(15),
        rate=1e-2,
    ),
    Network(
        "optimised LSTM of 75",
        "optimised LSTM",
        "healthy",
        model(nn.OptimizedLSTMCell(48)),
        75,
        gates(75),
        rate=1e-2,
    ),
    Network(
        "residual tanh",
        "residual",
        "healthy",
        model(nn.SimpleCell(24, residual=True, kernel_init=SMALL)),
        30,
        {W_HH: scaled(0.01)},
    ),
    Network(
        "two orthogonal layers", "stacked", "healthy", Stacked([orthogonal(24), orthogonal(20)]), 48
    ),
    Network("two keeping layers", "stacked", "healthy", Stacked([keeping(40), keeping(24)]), 30),
    Network("two GRU layers", "stacked", "healthy", Stacked([nn.GRUCell(20), nn.GRUCell(24)]), 8),
    Network(
        "LSTM above modReLU",
        "stacked",
        "healthy",
        Stacked([orthogonal(24, "modrelu"), nn.OptimizedLSTMCell(20)]),
        48,
        gates(48),
    ),
    Network(
        "modReLU both ways",
        "both ways",
        "healthy",
        BothWays(orthogonal(24, "modrelu"), orthogonal(20, "modrelu")),
        30,
    ),
    Network(
        "SimpleCell of ReLU that keeps",
        "SimpleCell",
        "healthy",
        sequence(
            nn.SimpleCell(
                48,
                activation_fn=jax.nn.relu,
                kernel_init=SMALL,
                recurrent_kernel_init=initializers.identity(),
            )
        ),
        75,
    ),
    Network("tanh 8", "SimpleCell", "healthy", sequence(nn.SimpleCell(20)), 8),
    Network(
        "a third dead", "SimpleCell", "healthy", model(keeping(48)), 25, {B_H: part(0.33, -10.0)}
    ),
    Network("no noise", "rotations", "healthy", model(rotating(20, "identity")), 120, noise=0.0),
    Network(
        "0.97 of a cycle", "permutation", "healthy", model(orthogonal(32)), 75, {W_HH: cycle(0.97)}
    ),
]

VANISHING = [
    Network(
        "0.6 of rotations",
        "rotations",
        "vanishing",
        model(rotating(24, "modrelu")),
        75,
        {W_HH: scaled(0.6)},
    ),
    Network(
        "0.5 of a cycle",
        "permutation",
        "vanishing",
        sequence(orthogonal(20)),
        48,
        {W_HH: cycle(0.5)},
    ),
    Network(
        "rates of 0.2 to 0.7", "rates", "vanishing", model(keeping(40)), 75, {W_HH: rates(0.2, 0.7)}
    ),
    Network(
        "rank one of 0.6",
        "rank one",
        "vanishing",
        model(orthogonal(24, "tanh")),
        48,
        {W_HH: rank_one(0.6)},
    ),
    Network(
        "forgetful MGU",
        "MGU",
        "vanishing",
        model(nn.MGUCell(24)),
        75,
        {"if/bias": constant(-3.0), "hn/kernel": scaled(0.5)},
    ),
    Network(
        "plain optimised LSTM",
        "optimised LSTM",
        "vanishing",
        sequence(nn.OptimizedLSTMCell(40)),
        150,
    ),
    Network(
        "residual that pulls back",
        "residual",
        "vanishing",
        sequence(nn.SimpleCell(24, residual=True)),
        75,
        {W_HH: identity(-0.5)},
    ),
    Network(
        "two forgetful layers",
        "stacked",
        "vanishing",
        Stacked([orthogonal(24, "tanh"), orthogonal(20, "tanh")]),
        75,
        {W_HH: scaled(0.4)},
    ),
    Network(
        "both ways 0.5",
        "both ways",
        "vanishing",
        BothWays(orthogonal(20, "tanh"), orthogonal(24, "leaky_relu")),
        48,
        {W_HH: scaled(0.5)},
    ),
    Network(
        "SimpleCell of leaky ReLU",
        "SimpleCell",
        "vanishing",
        model(nn.SimpleCell(40, activation_fn=jax.nn.leaky_relu)),
        75,
        {W_HH: scaled(0.6)},
    ),
    Network(
        "0.7 without activation",
        "SimpleCell",
        "vanishing",
        sequence(nn.SimpleCell(20, activation_fn=linear)),
        75,
        {W_HH: scaled(0.7)},
    ),
]

EXPLODING = [
    Network(
        "1.6 of a cycle", "permutation", "exploding", model(orthogonal(20)), 48, {W_HH: cycle(1.6)}
    ),
    Network(
        "1.4 of rotations",
        "rotations",
        "exploding",
        sequence(rotating(40, "modrelu")),
        75,
        {W_HH: scaled(1.4)},
    ),
    Network(
        "residual that pushes on",
        "residual",
        "exploding",
        model(nn.SimpleCell(24, residual=True, activation_fn=linear)),
        48,
        {W_HH: identity(0.5)},
    ),
    # Near zero: J = 0.73 I + 0.73 (1 − 0.73) W_hn, which is 1.7 on average.
    Network(
        "MGU of large weights",
        "MGU",
        "exploding",
        model(nn.MGUCell(24)),
        30,
        {"/in/kernel": scaled(1e-10), "/if/kernel": constant(0.0), "hn/kernel": scaled(8.0)},
    ),
    # Near zero all gates are 1/2: c ← (0.5 I + 0.25 W_hg) c.
    Network(
        "optimised LSTM of large weights",
        "optimised LSTM",
        "exploding",
        sequence(nn.OptimizedLSTMCell(20)),
        40,
        {
            "/ig/kernel": scaled(1e-11),
            "/ii/kernel": constant(0.0),
            "/if/kernel": constant(0.0),
            "/io/kernel": constant(0.0),
            "hg/kernel": scaled(6.0),
        },
    ),
    Network(
        "chaos of SimpleCell.",
        "SimpleCell",
        "exploding",
        sequence(nn.SimpleCell(56)),
        75,
        {W_HH: gaussian(3.5)},
        beside=("saturated",),
    ),
    Network(
        "a Jordan block", "far from normal", "exploding", model(orthogonal(32)), 48, {W_HH: jordan}
    ),
    Network(
        "all units agree",
        "rank one",
        "exploding",
        model(keeping(24)),
        48,
        {W_HH: lambda rng, old: np.full(old.shape, 1.7 / len(old)), B_H: constant(1.0)},
    ),
    Network(
        "a lower layer that expands",
        "stacked",
        "exploding",
        Stacked([orthogonal(24), keeping(20, "identity")]),
        48,
        {"cells_0/h/kernel": scaled(1.5)},
    ),
]

SATURATED = [
    # A state of either sign feeds itself (Bengio et al. 1994).
    Network(
        "latches of 40",
        "latches",
        "saturated",
        model(orthogonal(24, "tanh")),
        48,
        {W_HH: identity(40.0)},
    ),
    Network(
        "latches of 15",
        "latches",
        "saturated",
        sequence(nn.SimpleCell(40)),
        75,
        {W_HH: identity(15.0)},
    ),
    Network(
        "MGU of huge inputs",
        "MGU",
        "saturated",
        model(nn.MGUCell(24)),
        30,
        {"/in/kernel": scaled(1000.0), "if/bias": constant(-8.0), "/if/kernel": constant(0.0)},
        noise=1.0,
    ),
    Network(
        "optimised LSTM that counts",
        "optimised LSTM",
        "saturated",
        model(nn.OptimizedLSTMCell(20)),
        75,
        {"hi/bias": constant(9.0), "hf/bias": constant(9.0), "hg/bias": signs(9.0)},
        beside=("dead_units",),
    ),
    Network(
        "a saturated upper layer",
        "stacked",
        "saturated",
        Stacked([orthogonal(24), orthogonal(20, "tanh")]),
        30,
        {"cells_1/i/kernel": scaled(300.0)},
        noise=1.0,
    ),
    Network(
        "saturated both ways",
        "both ways",
        "saturated",
        BothWays(nn.SimpleCell(20), nn.SimpleCell(24)),
        30,
        {W_XH: scaled(300.0)},
        noise=1.0,
    ),
]

DEAD = [
    Network("unwelcome inputs", "negative", "dead_units", model(keeping(24)), 30, {W_XH: negative}),
    Network(
        "unwelcome inputs, orthogonal",
        "negative",
        "dead_units",
        sequence(orthogonal(40, "relu")),
        75,
        {W_XH: negative, B_H: constant(-0.01)},
    ),
    Network(
        "MGU of dead ReLUs",
        "MGU",
        "dead_units",
        model(nn.MGUCell(24, activation_fn=jax.nn.relu)),
        30,
        {"in/bias": constant(-10.0)},
    ),
    Network(
        "GRU of dead ReLUs",
        "ReLU in gated cells",
        "dead_units",
        sequence(nn.GRUCell(20, activation_fn=jax.nn.relu)),
        48,
        {"in/bias": constant(-10.0)},
    ),
    # Below the smallest float32: h is 0, whatever c holds.
    Network(
        "closed output gates",
        "optimised LSTM",
        "dead_units",
        model(nn.OptimizedLSTMCell(24)),
        30,
        {"ho/bias": constant(-200.0)},
    ),
    Network(
        "a dead upper layer",
        "stacked",
        "dead_units",
        Stacked([orthogonal(24, "tanh"), keeping(20)]),
        30,
        {"cells_1/i/bias": part(0.9, -20.0), "cells_0/h/kernel": scaled(0.9)},
    ),
]

NON_FINITE = [
    Network(
        "NaN above",
        "planted",
        "non_finite",
        Stacked([keeping(20), keeping(24)]),
        15,
        {"cells_1/h/kernel": planted(math.nan)},
    ),
    Network(
        "infinite MGU",
        "planted",
        "non_finite",
        model(nn.MGUCell(20)),
        15,
        {"hn/kernel": planted(math.inf)},
    ),
    Network(
        "NaN in modReLU's bias",
        "planted",
        "non_finite",
        model(orthogonal(24, "modrelu")),
        30,
        {"modrelu_bias": planted(math.nan)},
    ),
    Network(
        "6 times a cycle",
        "permutation",
        "non_finite",
        sequence(orthogonal(20)),
        150,
        {W_HH: cycle(6.0)},
    ),
    Network(
        "NaN backwards",
        "both ways",
        "non_finite",
        BothWays(keeping(20), nn.GRUCell(24)),
        15,
        {"hr/kernel": planted(math.nan)},
    ),
]

SHORT = [
    Network(
        "a delay line", "delay line", "short_memory", model(orthogonal(20)), 75, {W_HH: delay_line}
    ),
    Network(
        "a delay line of ReLU",
        "delay line",
        "short_memory",
        sequence(orthogonal(16, "relu")),
        48,
        {W_HH: delay_line},
    ),
    Network(
        "no recurrence",
        "delay line",
        "short_memory",
        model(orthogonal(24, "tanh")),
        30,
        {W_HH: constant(0.0)},
    ),
    Network(
        "a blind readout of ReLU",
        "partial memory",
        "short_memory",
        sequence(keeping(48)),
        75,
        {W_HH: both(identity(), part(0.5, 0.0)), "readout/kernel": unread(0.5)},
    ),
    Network(
        "MGU of the present",
        "MGU",
        "short_memory",
        model(nn.MGUCell(20)),
        48,
        {"if/bias": constant(-8.0), "hn/kernel": scaled(0.2)},
    ),
]

NETWORKS = check_names([*HEALTHY, *VANISHING, *EXPLODING, *SATURATED, *DEAD, *NON_FINITE, *SHORT])
