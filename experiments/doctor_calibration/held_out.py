"""The networks that jaxrnn.diagnose is judged by, frozen before any of its thresholds was chosen.

Families that calibration_set.py lacks: minimal gated units, Flax's optimised LSTM, residual cells,
stacked and bidirectional layers; rotations, permutations, matrices far from normal, latches; other
sizes and lengths. See networks.py for what a label means.
"""

import math

import jax
from flax import linen as nn

from experiments.doctor_calibration.held_out_flow import EXPLODING, HEALTHY, VANISHING
from experiments.doctor_calibration.held_out_models import (
    B_H,
    W_HH,
    W_XH,
    BothWays,
    Stacked,
    cycle,
    delay_line,
    keeping,
    model,
    negative,
    orthogonal,
    sequence,
)
from experiments.doctor_calibration.networks import (
    Network,
    both,
    check_names,
    constant,
    identity,
    part,
    planted,
    scaled,
    signs,
    unread,
)

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
