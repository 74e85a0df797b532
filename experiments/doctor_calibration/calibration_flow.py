"""Of the networks on which thresholds were chosen, those that differ in how gradients get back.

Healthy, vanishing, exploding; the others are in calibration_set.py.
"""

import math
from functools import partial
from typing import Any

from flax import linen as nn

from experiments.doctor_calibration.networks import (
    CLASSES,
    Network,
    constant,
    gaussian,
    identity,
    part,
    scaled,
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
