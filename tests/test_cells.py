"""The vanilla cell against NumPy, inside flax's own nn.RNN, and next to flax's SimpleCell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import VanillaCell, initializers
from jaxrnn.activations import ACTIVATIONS
from jaxrnn.convert import from_weights
from tests import numpy_reference as reference
from tests.numpy_reference import B, D, N, T

# Rounding of T steps of sums of N + D products of size one: at most 2e-15 over 100 seeds.
FLOAT64 = {"rtol": 0, "atol": 1e-14}


def random_cell(rng, activation="tanh"):
    """A float64 cell, its variables, and the same weights in NumPy."""
    weights = reference.random_weights(rng, activation)
    cell = VanillaCell(N, activation, param_dtype=jnp.float64)
    return cell, {"params": from_weights(weights)["cell"]}, weights


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_one_step_is_the_equation(rng, x64, activation):
    cell, variables, weights = random_cell(rng, activation)
    h, x = rng.standard_normal((B, N)), rng.standard_normal((B, D))
    carry, output = cell.apply(variables, jnp.asarray(h), jnp.asarray(x))
    expected = reference.hidden_states(weights, x[:, None], activation, h)[:, 0]
    np.testing.assert_allclose(output, expected, **FLOAT64)
    np.testing.assert_array_equal(carry, output)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_inside_flax_rnn_with_lengths(rng, x64, activation):
    cell, variables, weights = random_cell(rng, activation)
    inputs, lengths = rng.standard_normal((B, T, D)), np.array([2, 5, 3])
    rnn = nn.RNN(cell, return_carry=True)
    carry, outputs = rnn.apply(
        {"params": {"cell": variables["params"]}},
        jnp.asarray(inputs),
        seq_lengths=jnp.asarray(lengths),
    )
    expected = reference.hidden_states(weights, inputs, activation)
    np.testing.assert_allclose(outputs, expected, **FLOAT64)
    np.testing.assert_allclose(carry, expected[np.arange(B), lengths - 1], **FLOAT64)


def test_no_or_several_batch_dimensions(rng, x64):
    cell, variables, weights = random_cell(rng)
    h, x = rng.standard_normal((2, B, N)), rng.standard_normal((2, B, D))
    _, outputs = cell.apply(variables, jnp.asarray(h), jnp.asarray(x))
    _, one = cell.apply(variables, jnp.asarray(h[1, 2]), jnp.asarray(x[1, 2]))
    expected = reference.hidden_states(weights, x[1][:, None], h_0=h[1])[:, 0]
    np.testing.assert_allclose(outputs[1], expected, **FLOAT64)
    np.testing.assert_allclose(one, expected[2], **FLOAT64)


def test_same_parameters_and_outputs_as_flax_simple_cell(rng):
    vanilla, simple = VanillaCell(N), nn.SimpleCell(N)
    h, x = jnp.asarray(rng.standard_normal((B, N))), jnp.asarray(rng.standard_normal((B, D)))
    variables = vanilla.init(jax.random.key(0), h, x)
    jax.tree.map(np.testing.assert_array_equal, variables, simple.init(jax.random.key(0), h, x))
    jax.tree.map(
        np.testing.assert_array_equal,
        vanilla.apply(variables, h, x),
        simple.apply(variables, h, x),
    )


def test_each_parameter_has_its_own_initialiser():
    def constant(value):
        return nn.initializers.constant(value)

    cell = VanillaCell(
        N,
        "modrelu",
        kernel_init=constant(1.0),
        recurrent_kernel_init=initializers.identity(2.0),
        bias_init=constant(3.0),
        modrelu_bias_init=constant(4.0),
        carry_init=constant(5.0),
    )
    params = cell.init(jax.random.key(0), jnp.zeros((B, N)), jnp.zeros((B, D)))["params"]
    expected = {
        "i": {"kernel": np.full((D, N), 1.0), "bias": np.full(N, 3.0)},
        "h": {"kernel": 2 * np.eye(N)},
        "modrelu_bias": np.full(N, 4.0),
    }
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    carry = cell.initialize_carry(jax.random.key(0), (2, B, D))
    np.testing.assert_array_equal(carry, np.full((2, B, N), 5.0))
    assert cell.num_feature_axes == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("activation", ["tanh", "modrelu"])
def test_half_precision_runs_under_the_scan(rng, activation, dtype):
    weights = reference.random_weights(rng, activation)
    if activation == "modrelu":  # with b > 0 it jumps at zero, and rounding decides the side
        weights["b_modrelu"] = -np.abs(weights["b_modrelu"])
    inputs = rng.standard_normal((B, T, D))
    params = jax.tree.map(jnp.float32, from_weights(weights)["cell"])
    rnn = nn.RNN(VanillaCell(N, activation, dtype=dtype), return_carry=True)
    carry, outputs = rnn.apply({"params": {"cell": params}}, jnp.asarray(inputs, jnp.float32))
    assert carry.dtype == outputs.dtype == dtype
    # Each of T steps rounds sums of size two: one of their eps a step; at most 5.3 eps of size one
    # in all over 100 seeds.
    np.testing.assert_allclose(
        outputs.astype(jnp.float32),
        reference.hidden_states(weights, inputs, activation),
        rtol=0,
        atol=2 * T * float(jnp.finfo(dtype).eps),
    )


def test_unknown_activation_is_refused_with_the_known_ones():
    known = ", ".join(ACTIVATIONS)
    with pytest.raises(ValueError, match=f"activation must be one of {known}, got 'tahn'"):
        VanillaCell(N, "tahn").init(jax.random.key(0), jnp.zeros((B, N)), jnp.zeros((B, D)))
    assert ACTIVATIONS.keys() == reference.ACTIVATIONS.keys()
