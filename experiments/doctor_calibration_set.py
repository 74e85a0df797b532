"""The networks on which the thresholds of jaxrnn.diagnose were chosen.

Vanilla cells with every activation, flax's SimpleCell, GRU and LSTM; see
experiments/doctor_networks.py for what a label means.
"""

import math
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from experiments.doctor_networks import (
    CLASSES,
    Network,
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


def vanilla(N: int, activation: str = "tanh") -> SequenceModel:
    """An orthogonal W_hh, unless it is changed."""
    return model(VanillaCell(N, activation))


def irnn(N: int, activation: str = "relu") -> SequenceModel:
    """W_hh = I and small input weights (Le, Jaitly & Hinton 2015)."""
    small = initializers.normal(0.05)
    return model(
        VanillaCell(N, activation, kernel_init=small, recurrent_kernel_init=initializers.identity())
    )


def remembering(T: int) -> dict[str, Any]:
    """Gates that stay open for T steps: 1/(1 − sigmoid(b)) = T + 1 at b = ln T (Tallec 2018)."""
    return {
        "GRU": {"iz/bias": constant(math.log(T))},
        "LSTM": {"hf/bias": constant(math.log(T)), "hi/bias": constant(-math.log(T))},
    }


W_HH, W_XH, B_H = "/h/kernel", "/i/kernel", "/i/bias"

HEALTHY = [
    *(
        Network(f"orthogonal linear {N} {T}", "orthogonal", "healthy", vanilla(N, "identity"), T)
        for N, T in ((16, 10), (32, 40), (64, 60), (32, 200))
    ),
    *(
        Network(f"irnn {N} {T}", "irnn", "healthy", irnn(N), T)
        for N, T in ((32, 20), (64, 50), (32, 100))
    ),
    Network("irnn 64 200", "irnn", "healthy", irnn(64), 200, rate=1e-3),
    *(
        Network(f"modrelu {N} {T}", "orthogonal", "healthy", vanilla(N, "modrelu"), T)
        for N, T in ((32, 30), (64, 100))
    ),
    *(
        Network(f"short tanh {N} {T}", "short", "healthy", vanilla(N), T)
        for N, T in ((16, 5), (32, 10), (64, 15), (64, 30), (64, 60))
    ),
    Network("simple cell", "short", "healthy", sequence(nn.SimpleCell(24)), 10),
    Network("plain GRU 10", "short", "healthy", model(nn.GRUCell(32)), 10),
    Network("plain LSTM 10", "short", "healthy", sequence(nn.LSTMCell(32)), 10),
    Network("plain LSTM 20", "short", "healthy", sequence(nn.LSTMCell(32)), 20),
    *(
        Network(
            f"GRU of {T}", "open gates", "healthy", model(nn.GRUCell(N)), T, remembering(T)["GRU"]
        )
        for N, T in ((32, 20), (24, 60), (32, 120))
    ),
    *(
        Network(
            f"LSTM of {T}",
            "open gates",
            "healthy",
            sequence(nn.LSTMCell(N)),
            T,
            remembering(T)["LSTM"],
            rate=1e-2,
        )
        for N, T in ((32, 30), (24, 80), (32, 150))
    ),
    Network("half dead", "some dead", "healthy", irnn(64), 40, {B_H: part(0.5, -10.0)}),
    Network("leaky identity", "irnn", "healthy", irnn(32, "leaky_relu"), 50),
    Network("tanh identity", "irnn", "healthy", irnn(32, "tanh"), 50),
    *(
        Network(
            f"{scale} Q linear",
            "near",
            "healthy",
            vanilla(32, "identity"),
            T,
            {W_HH: scaled(scale)},
        )
        for scale, T in (
            (0.7, 20),
            (0.8, 40),
            (0.9, 60),
            (0.95, 60),
            (0.98, 100),
            (1.02, 50),
            (1.05, 60),
        )
    ),
]

VANISHING = [
    *(
        Network(
            f"{scale} Q {activation} {T}",
            "contraction",
            "vanishing",
            vanilla(N, activation),
            T,
            {W_HH: scaled(scale)},
        )
        for scale, activation, N, T in (
            (0.3, "tanh", 16, 30),
            (0.5, "tanh", 32, 40),
            (0.8, "tanh", 64, 120),
            (0.5, "relu", 32, 50),
            (0.6, "leaky_relu", 32, 60),
            (0.7, "modrelu", 48, 80),
            (0.6, "identity", 16, 60),
        )
    ),
    Network(
        "0.4 Q SimpleCell",
        "contraction",
        "vanishing",
        model(nn.SimpleCell(24)),
        40,
        {W_HH: scaled(0.4)},
    ),
    Network("0.05 I", "contraction", "vanishing", irnn(32), 100, {W_HH: identity(0.05)}),
    Network("uniform weights", "uniform", "vanishing", vanilla(64), 100, {W_HH: gaussian(0.577)}),
    *(
        Network(
            f"forgetful GRU {T}",
            "closed gates",
            "vanishing",
            model(nn.GRUCell(N)),
            T,
            {"iz/bias": constant(-4.0), "hn/kernel": scaled(0.5)},
        )
        for N, T in ((32, 40), (16, 100))
    ),
    Network("plain LSTM 120", "closed gates", "vanishing", sequence(nn.LSTMCell(32)), 120),
    Network("plain LSTM 40", "closed gates", "vanishing", sequence(nn.LSTMCell(32)), 40),
    Network("plain GRU 30", "closed gates", "vanishing", model(nn.GRUCell(32)), 30),
    Network("plain GRU 60", "closed gates", "vanishing", model(nn.GRUCell(32)), 60),
    Network(
        "forgetful LSTM",
        "closed gates",
        "vanishing",
        sequence(nn.LSTMCell(24)),
        60,
        {"hf/bias": constant(-2.0)},
    ),
]

EXPLODING = [
    *(
        Network(
            f"{scale} Q {activation} explodes",
            "expansion",
            "exploding",
            vanilla(N, activation),
            T,
            {W_HH: scaled(scale)},
        )
        for scale, activation, N, T in (
            (1.5, "identity", 32, 40),
            (1.2, "identity", 64, 100),
            (1.3, "modrelu", 32, 60),
            (2.0, "identity", 16, 25),
        )
    ),
    # Nothing is ever negative, so ReLU and leaky ReLU are the identity.
    *(
        Network(
            f"{scale} I {activation} explodes",
            "positive",
            "exploding",
            irnn(N, activation),
            T,
            {W_HH: identity(scale), B_H: constant(1.0)},
        )
        for scale, activation, N, T in (
            (1.5, "relu", 32, 30),
            (1.3, "leaky_relu", 64, 60),
            (1.25, "relu", 32, 100),
        )
    ),
    # Chaos (Sompolinsky, Crisanti & Sommers 1988).
    *(
        Network(
            f"gain {gain} {T}",
            "chaos",
            "exploding",
            model(cell),
            T,
            {W_HH: gaussian(gain)},
            beside=("saturated",),
        )
        for gain, cell, T in (
            (3.0, VanillaCell(64), 60),
            (4.0, VanillaCell(64), 100),
            (5.0, nn.SimpleCell(48), 80),
        )
    ),
    # Near zero all gates are 1/2: J = 0.5 I + 0.25 W_hn of a GRU; it stays there with tiny inputs.
    Network(
        "GRU of large weights",
        "small signals",
        "exploding",
        model(nn.GRUCell(32)),
        30,
        {
            "/in/kernel": scaled(1e-9),
            "hn/kernel": scaled(6.0),
            "/ir/kernel": constant(0.0),
            "/iz/kernel": constant(0.0),
        },
    ),
]

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
