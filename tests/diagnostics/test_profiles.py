"""Profiles of linear networks by hand, and shares that can be counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import LeakyCell, SequenceModel, SkipCell, TruncatedCell, VanillaCell
from jaxrnn.diagnostics import (
    LayerObservation,
    dead_share,
    decay_rate,
    gradient_norms,
    gradient_profile,
    layer_saturation,
    observe,
    saturated_share,
    update_ratios,
    usable_horizon,
    valid_steps,
)
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, T

STEPS = 40
EPS = np.finfo(np.float64).eps


def linear_profile(rng, W, recurrence=None):
    """p of a linear network whose loss is a random linear function of h_T, and ∂L/∂h_T (B, N)."""
    size = len(W)
    cell = VanillaCell(size, "identity", param_dtype=jnp.float64)
    model = SequenceModel(cell, C, last_only=True, recurrence=recurrence, param_dtype=jnp.float64)
    params = {
        "cell": {
            "i": {"kernel": jnp.ones((D, size)), "bias": jnp.zeros(size)},
            "h": {"kernel": jnp.asarray(W).T},
        },
        "readout": {"kernel": jnp.asarray(rng.standard_normal((size, C))), "bias": jnp.ones(C)},
    }
    targets = jnp.asarray(rng.standard_normal((B, C)))

    @jax.jit
    def profile(params):
        batch = (jnp.zeros((B, STEPS, D)), targets)
        seen = observe(model, {"params": params}, batch, lambda y, w: jnp.sum(y * w))
        return gradient_profile(seen.layers["cell"])

    return profile(params), np.asarray(targets @ params["readout"]["kernel"].T)


@pytest.mark.parametrize("recurrence", ["scan", "fused"])
@pytest.mark.parametrize(
    ("scale", "horizon", "direction"),
    [
        (0.5, 7, -1),  # 2^7 = 128 is the first power above 100
        (0.9, STEPS, 0),  # 0.9^40 = 1/68
        (1.0, STEPS, 0),
        (1.3, 18, 1),  # 1.3^17 = 86.5, 1.3^18 = 112
    ],
)
def test_a_scaled_rotation(scale, horizon, direction, recurrence, rng, x64):
    W = scale * reference.qr(rng.standard_normal((N, N)))
    profile, at_end = linear_profile(rng, W, recurrence)
    expected = np.linalg.norm(at_end) * scale ** np.arange(STEPS, -1, -1.0)
    # A step rounds sums of N products: N·eps of the length, T times.
    np.testing.assert_allclose(profile, expected, rtol=STEPS * N * EPS)
    # The slope of errors of that size at T + 1 points, and of the logarithms' own rounding.
    np.testing.assert_allclose(decay_rate(profile), np.log(scale), rtol=0, atol=1e-14)
    assert usable_horizon(profile) == jax.jit(usable_horizon)(profile) == (horizon, direction)


def test_a_diagonal_matrix(rng, x64):
    diagonal = rng.uniform(0.6, 1.2, N)
    profile, at_end = linear_profile(rng, np.diag(diagonal))
    powers = diagonal ** np.arange(STEPS, -1, -1.0)[:, None, None]
    expected = np.sqrt(np.sum((powers * at_end) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(profile, expected, rtol=STEPS * EPS)


def layer_of(states, cell="VanillaCell", activation="tanh", gradients=None):
    return LayerObservation(states, gradients, cell, activation)


def test_a_profile_is_over_the_batch_and_all_leaves(rng, x64):
    c, h = rng.standard_normal((T + 1, B, N)), rng.standard_normal((T + 1, B, 2, D))
    profile = gradient_profile(layer_of(None, gradients=(jnp.asarray(c), jnp.asarray(h))))
    expected = np.sqrt((c**2).sum((1, 2)) + (h**2).sum((1, 2, 3)))
    np.testing.assert_allclose(profile, expected, rtol=4 * EPS)


def test_a_profile_of_numbers_whose_squares_do_not_exist(rng):
    sizes = np.array([1e-30, 0, 1e30, 1, np.inf, np.nan])
    gradients = (sizes[:, None, None] * np.ones((6, B, N))).astype(np.float32)
    profile = gradient_profile(layer_of(None, gradients=jnp.asarray(gradients)))
    assert profile.dtype == jnp.float32
    # Sums of B·N equal numbers, exact up to a rounding of the scale and of the root.
    np.testing.assert_allclose(profile, sizes * np.sqrt(B * N), rtol=4 * 2.0**-23)
    half = gradient_profile(layer_of(None, gradients=jnp.ones((2, B, N), jnp.bfloat16)))
    assert half.dtype == jnp.float32


@pytest.mark.parametrize(
    ("profile", "factor", "expected"),
    [
        ([1, 1, 0.5, 1], 1.9, (1, -1)),
        ([9, 1, 1, 1], 8.0, (3, 1)),
        ([8, 1, 1, 1], 8.0, (3, 0)),
        ([1e-9, 9, 1, 1], 8.0, (2, 1)),
        ([np.nan, 1, 1, 1], 8.0, (3, 1)),
        ([0, 0, 1, 1], 8.0, (2, -1)),
        ([1, 1, 1, 0], 8.0, (0, 0)),
        ([1, 1, 1, np.inf], 8.0, (0, 0)),
        ([5], 8.0, (0, 0)),
    ],
)
def test_usable_horizon_by_hand(profile, factor, expected):
    assert usable_horizon(jnp.asarray(profile, jnp.float32), factor) == expected


def test_decay_rate_is_the_slope_of_what_can_be_measured(rng, x64):
    profile = rng.uniform(0.1, 1, 9)
    kept = np.array([0, 2, 3, 5, 6, 8])
    broken = np.full(9, 0.0)
    broken[[1, 4]] = np.nan, np.inf
    broken[kept] = profile[kept]
    slope = np.polyfit(8 - kept, np.log(profile[kept]), 1)[0]
    np.testing.assert_allclose(decay_rate(jnp.asarray(broken)), slope, rtol=1e-13)
    assert np.isnan(decay_rate(jnp.asarray([0.0, np.nan, 2.0])))
    assert decay_rate(jnp.ones(3, jnp.float32)).dtype == jnp.float32


def test_saturation_is_where_tanh_is_flat():
    states = jnp.asarray(
        [0.0, 0.94, 0.95, -0.95, -1.0, 0.5]
    )  # 1 − 0.94² = 0.12, 1 − 0.95² = 0.0975
    np.testing.assert_allclose(saturated_share(states), 3 / 6, rtol=1e-7)
    np.testing.assert_allclose(saturated_share(states, 0.8), 5 / 6, rtol=1e-7)


@pytest.mark.parametrize("cell", ["VanillaCell", "SimpleCell", "GRUCell", "OptimizedLSTMCell"])
def test_a_layers_saturation_leaves_out_the_initial_carry(cell, rng):
    h = rng.uniform(-1, 1, (T + 1, B, N)).astype(np.float32)
    h[0] = 1
    expected = np.mean(1 - h[1:] ** 2 < 0.1)
    states = jnp.asarray(h)
    if cell == "OptimizedLSTMCell":
        states = (jnp.arctanh(states), jnp.zeros_like(states))  # (c, h)
    measured = layer_saturation(layer_of(states, cell))
    np.testing.assert_allclose(measured, expected, rtol=1e-6)
    assert np.isnan(layer_saturation(layer_of(states, cell, "relu")))
    assert np.isnan(layer_saturation(layer_of(states, "CellOfMyOwn")))


@pytest.mark.parametrize(
    "cell",
    [
        VanillaCell(N),
        nn.OptimizedLSTMCell(N),
        nn.GRUCell(N),
        LeakyCell(VanillaCell(N), 0.9),
        TruncatedCell(SkipCell(nn.OptimizedLSTMCell(N), 2), 3),
    ],
)
def test_observe_names_what_saturation_needs(cell, rng):
    inputs = jnp.asarray(100 * rng.standard_normal((B, T, D)), jnp.float32)
    model = nn.RNN(cell)
    variables = model.init(jax.random.key(0), inputs)
    seen = jax.jit(lambda v: observe(model, v, (inputs, 0), lambda y, _: y.sum()))(variables)
    assert layer_saturation(seen.layers["cell"]) > 0  # with such inputs, and not NaN


def test_dead_units_are_counted(rng):
    states = rng.standard_normal((T + 1, B, N)).astype(np.float32)
    states[1:, :, [1, 4]] = 0
    states[1:, :, 2] = 1
    states[1:, 1, 5] = 0  # in one sequence only
    states[1, :, 6] = 0  # at one step only
    np.testing.assert_allclose(dead_share(jnp.asarray(states)), 3 / N, rtol=1e-7)


def test_padding_is_neither_saturated_nor_dead_nor_alive(rng):
    lengths = np.array([2, T, 1, *rng.integers(1, T, B)])[:B]
    inside = np.arange(T)[:, None] < lengths  # (T, B)
    h = rng.uniform(-1, 1, (T + 1, B, N)).astype(np.float32)
    h[1:, :, [0, 3]] = 0.5  # dead …
    h[1:][~inside] = rng.uniform(-1, 1, (np.count_nonzero(~inside), N))  # … except the padding
    layer = layer_of(jnp.asarray(h), "SimpleCell").replace(lengths=jnp.asarray(lengths))
    valid = valid_steps(layer)
    np.testing.assert_array_equal(valid, inside)
    expected = np.mean(1 - h[1:][inside] ** 2 < 0.1)
    np.testing.assert_allclose(layer_saturation(layer), expected, rtol=1e-6)  # float32 sums
    np.testing.assert_allclose(dead_share(layer.states, valid), 2 / N, rtol=1e-7)
    assert dead_share(layer.states) == 0
    windows = jnp.stack([layer.states] * 3, axis=2)  # (T+1, B, 3, N), as of a SkipCell
    np.testing.assert_allclose(dead_share(windows, valid), 2 / N, rtol=1e-7)
    assert valid_steps(layer.replace(lengths=None)) is None


def test_norms_and_ratios_have_the_parameters_names(rng):
    params = {"cell": {"h": {"kernel": jnp.asarray(rng.standard_normal((N, N)))}, "b": jnp.ones(N)}}
    updates = jax.tree.map(lambda leaf: -0.25 * leaf, params)
    norms, ratios = gradient_norms(params), update_ratios(updates, params)
    assert norms.keys() == ratios.keys() == {"cell/b", "cell/h/kernel"}
    np.testing.assert_allclose(norms["cell/b"], np.sqrt(N), rtol=1e-6)
    np.testing.assert_allclose(
        norms["cell/h/kernel"], np.linalg.norm(params["cell"]["h"]["kernel"]), rtol=1e-6
    )
    np.testing.assert_allclose(list(ratios.values()), [0.25, 0.25], rtol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="above 1, got 1"):
        usable_horizon(jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match="leaves of params, a, b; got a"):
        update_ratios({"a": jnp.ones(2)}, {"a": jnp.ones(2), "b": jnp.ones(2)})
