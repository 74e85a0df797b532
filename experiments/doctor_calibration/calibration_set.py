"""The networks on which the thresholds of jaxrnn.diagnose were chosen.

Vanilla cells with every activation, flax's SimpleCell, GRU and LSTM; see
networks.py for what a label means.
"""

import math

import jax
from flax import linen as nn

from experiments.doctor_calibration.calibration_flow import (
    B_H,
    EXPLODING,
    HEALTHY,
    VANISHING,
    W_HH,
    W_XH,
    irnn,
    model,
    sequence,
    vanilla,
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
    *(
        Network(
            f"inputs times {scale}",
            "huge inputs",
            "saturated",
            vanilla(N),
            T,
            {W_XH: scaled(scale)},
            noise=1.0,
        )
        for scale, N, T in ((100.0, 32, 20), (300.0, 64, 60), (1000.0, 16, 150))
    ),
    Network(
        "huge inputs of a SimpleCell",
        "huge inputs",
        "saturated",
        sequence(nn.SimpleCell(24)),
        30,
        {W_XH: scaled(300.0)},
        noise=1.0,
    ),
    Network(
        "biases of 20",
        "huge biases",
        "saturated",
        vanilla(32),
        40,
        {B_H: signs(20.0)},
        beside=("dead_units",),
    ),
    Network(
        "GRU of huge inputs",
        "huge inputs",
        "saturated",
        model(nn.GRUCell(32)),
        40,
        {"/in/kernel": scaled(1000.0), "iz/bias": constant(-8.0)},
        noise=1.0,
    ),
    *(
        Network(
            f"LSTM that counts {T}",  # c_t = ±t
            "counting",
            "saturated",
            model(nn.LSTMCell(N)),
            T,
            {"hi/bias": constant(9.0), "hf/bias": constant(9.0), "hg/bias": signs(9.0)},
            beside=("dead_units",),
        )
        for N, T in ((32, 60), (16, 150))
    ),
]

DEAD = [
    *(
        Network(
            f"{share:.0%} of biases -10, {N} {T}",
            "biases of ReLU",
            "dead_units",
            irnn(N),
            T,
            {B_H: part(share, -10.0)},
        )
        for share, N, T in ((1.0, 32, 20), (0.9, 64, 50), (0.8, 32, 100), (1.0, 16, 150))
    ),
    Network(
        "orthogonal ReLU, biases -20",
        "biases of ReLU",
        "dead_units",
        vanilla(48, "relu"),
        40,
        {B_H: part(0.85, -20.0)},
    ),
    Network(
        "SimpleCell of ReLU",
        "biases of ReLU",
        "dead_units",
        model(nn.SimpleCell(32, activation_fn=jax.nn.relu)),
        30,
        {B_H: constant(-10.0)},
    ),
    Network(
        "modReLU of bias -10",
        "biases of modReLU",
        "dead_units",
        vanilla(32, "modrelu"),
        30,
        {"modrelu_bias": constant(-10.0)},
    ),
]

NON_FINITE = [
    Network("NaN in W_hh", "planted", "non_finite", vanilla(16), 20, {W_HH: planted(math.nan)}),
    Network(
        "NaN in W_hy",
        "planted",
        "non_finite",
        vanilla(32),
        30,
        {"readout/kernel": planted(math.nan)},
    ),
    Network("infinite W_xh", "planted", "non_finite", irnn(16), 20, {W_XH: planted(math.inf)}),
    Network(
        "NaN in a GRU",
        "planted",
        "non_finite",
        model(nn.GRUCell(16)),
        20,
        {"hz/kernel": planted(math.nan)},
    ),
    Network(
        "infinite bias",
        "planted",
        "non_finite",
        sequence(nn.LSTMCell(16)),
        20,
        {"hf/bias": planted(-math.inf)},
    ),
    Network("4 Q", "overflow", "non_finite", vanilla(16, "identity"), 200, {W_HH: scaled(4.0)}),
    Network(
        "3 I",
        "overflow",
        "non_finite",
        irnn(32),
        150,
        {W_HH: identity(3.0), B_H: constant(1.0)},
    ),
]

SHORT = [
    # The units that are read are fresh at every step; the others keep all they hear.
    *(
        Network(
            f"blind readout {N} {T}",
            "blind",
            "short_memory",
            irnn(N, activation),
            T,
            {W_HH: both(identity(), part(0.5, 0.0)), "readout/kernel": unread(0.5)},
        )
        for activation, N, T in (("relu", 32, 30), ("tanh", 16, 100), ("identity", 48, 60))
    ),
    Network(
        "GRU of the present",
        "closed gates",
        "short_memory",
        model(nn.GRUCell(32)),
        50,
        {"iz/bias": constant(-8.0), "hn/kernel": scaled(0.2)},
    ),
    Network("0.3 Q forgets", "contraction", "short_memory", vanilla(32), 60, {W_HH: scaled(0.3)}),
    Network(
        "0.2 Q SimpleCell",
        "contraction",
        "short_memory",
        sequence(nn.SimpleCell(16)),
        40,
        {W_HH: scaled(0.2)},
    ),
]

NETWORKS = check_names([*HEALTHY, *VANISHING, *EXPLODING, *SATURATED, *DEAD, *NON_FINITE, *SHORT])
