"""Of the held-out networks, those that differ in how gradients get back.

Healthy, vanishing, exploding; the others are in held_out.py.
"""

import math

import jax
import numpy as np
from flax import linen as nn

from experiments.doctor_calibration.held_out_models import (
    B_H,
    SMALL,
    W_HH,
    BothWays,
    Stacked,
    cycle,
    gates,
    jordan,
    keeping,
    linear,
    model,
    orthogonal,
    rank_one,
    rates,
    rotating,
    sequence,
)
from experiments.doctor_calibration.networks import (
    Network,
    both,
    constant,
    gaussian,
    identity,
    part,
    scaled,
)
from jaxrnn import initializers

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
